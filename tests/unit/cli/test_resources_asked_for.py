"""What is asked of the API server, and what a person is told when it does not answer so."""

from __future__ import annotations

import queue

import pytest

from rotated_secrets.cli import watching
from rotated_secrets.cli.events import Changed, CutOff, Deleted, Event, Failed
from rotated_secrets.cli.problem import Problem
from rotated_secrets.cli.resources import Resources
from rotated_secrets.cli.seen import read
from tests.unit.cli.objects import object_of
from tests.unit.cli.scripted_api import Answer, ScriptedApi, events, listed, refusal, scripted_api

PLACE = "/apis/rotatedsecrets.io/v1alpha1/namespaces/shop/rotatedsecrets"
EVERYWHERE = "/apis/rotatedsecrets.io/v1alpha1/rotatedsecrets"
MISSING = refusal(404, 'rotatedsecrets "orders-d" not found', name="orders-d", kind="rotatedsecrets")


def test_a_list_comes_in_chunks_and_from_the_start_where_it_grows_too_old() -> None:
    one, two = object_of(name="one"), object_of(name="two")
    with scripted_api(listed(one, going_on="more"), listed(two)) as api:
        assert api.resources().listed(selector="app=shop") == [one, two]
        assert api.asked[1] == f"{PLACE} {{'labelSelector': 'app=shop', 'continue': 'more'}}"
    with scripted_api(listed(one, going_on="more"), refusal(410), listed(one, two)) as api:
        assert api.resources().listed(everywhere=True) == [one, two]
        assert api.asked[2] == EVERYWHERE


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (
            [MISSING, listed(object_of(name="orders-db"), object_of(name="prices"))],
            "there is no RotatedSecret orders-d in namespace shop; did you mean orders-db?",
        ),
        (
            [MISSING, listed(object_of(name="x")), listed(object_of(name="orders-d", namespace="billing"))],
            "there is no RotatedSecret orders-d in namespace shop; there is one in billing: name the namespace by -n",
        ),
        (
            [MISSING, listed(object_of(name="x")), listed()],
            "there is no RotatedSecret orders-d in namespace shop; there is x",
        ),
        ([MISSING, listed(), listed()], "there is no RotatedSecret orders-d in namespace shop; it has none at all"),
        ([MISSING, refusal(403)], "there is no RotatedSecret orders-d in namespace shop; name another by -n"),
        (
            [Answer(404, {"message": "404 page not found"})],
            "knows no rotatedsecrets.rotatedsecrets.io: the operator is not installed there; install its chart, "
            "or name another cluster by --context",
        ),
        ([refusal(401, "Unauthorized")], "does not know you; log in again (Unauthorized)"),
        ([refusal(403, "User jane cannot")], "you may not get rotatedsecrets in namespace shop, or ask for the verbs"),
        ([refusal(422, "name is too long")], "name is too long"),
        ([refusal(503, "starting"), refusal(503, "starting")], "could not be reached: starting; check --context"),
    ],
)
def test_what_goes_wrong_is_told_with_what_to_do(answers: list[Answer], told: str) -> None:
    with scripted_api(*answers) as api, pytest.raises(Problem) as raised:
        api.resources().get("orders-d")
    assert told in str(raised.value)


def test_who_may_not_list_all_namespaces_is_told_to_name_one() -> None:
    with scripted_api(refusal(403)) as api, pytest.raises(Problem, match="in all namespaces; name one namespace by -n"):
        api.resources().listed(everywhere=True)


def test_an_api_server_that_is_not_there_is_named() -> None:
    with scripted_api() as api:
        resources = api.resources()
    told = f"the API server at {api.url} [(]context test[)] could not be reached: Connection refused; check --context"
    with pytest.raises(Problem, match=told):
        resources.get("orders-db")


def test_a_patch_merges_and_returns_what_came_of_it() -> None:
    after = object_of(suspend=True)
    with scripted_api(Answer(body=after)) as api:
        assert api.resources().patch("orders-db", {"spec": {"rotation": {"suspend": True}}}) == after
        assert api.asked == [f"{PLACE}/orders-db"]
        assert api.bodies == [{"spec": {"rotation": {"suspend": True}}}]


# ---- watching


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PAUSE", 0.01)


def at(version: str, name: str = "orders-db", **fields: object) -> dict[str, object]:
    return object_of(name=name, metadata={"resourceVersion": version, **fields})


def watched(api: ScriptedApi, many: int) -> list[Event]:
    """The first events that follow the version 7."""
    found: queue.SimpleQueue[Event] = queue.SimpleQueue()
    resources: Resources = api.resources()
    watch = resources.watch(read(object_of()), "7", found)
    watch.start()
    try:
        return [found.get(timeout=10) for _ in range(many)]
    finally:
        watch.stop()
        watch.join(timeout=10)
        assert not watch.is_alive()


def versions_asked(api: ScriptedApi) -> list[str]:
    return [each.partition("'resourceVersion': '")[2].partition("'")[0] for each in api.asked]


def test_a_watch_that_ends_goes_on_from_where_it_was() -> None:
    first, second = events(("MODIFIED", at("8")), ("BOOKMARK", at("9"))), events(("MODIFIED", at("11")))
    with scripted_api(first, second) as api:
        found = watched(api, 2)
        assert found == [Changed(read(at("8"))), Changed(read(at("11")))]
        assert versions_asked(api)[:2] == ["7", "9"]
        assert "'fieldSelector': 'metadata.name=orders-db'" in api.asked[0]


@pytest.mark.parametrize("too_old", [refusal(410), events(("ERROR", {"kind": "Status", "code": 410}))])
def test_a_watch_that_is_too_old_looks_anew(too_old: Answer) -> None:
    with scripted_api(too_old, listed(at("20"), version="21"), events(("MODIFIED", at("22")))) as api:
        assert watched(api, 2) == [Changed(read(at("20"))), Changed(read(at("22")))]
        assert versions_asked(api)[:3] == ["7", "", "21"]


def test_a_watch_that_is_cut_off_says_so_and_goes_on() -> None:
    with scripted_api(events(("MODIFIED", at("8")), cut=True), refusal(503), events(("MODIFIED", at("9")))) as api:
        found = watched(api, 5)
        assert [type(each) for each in found] == [Changed, CutOff, CutOff, CutOff, Changed]
        told = [each.message for each in found if isinstance(each, CutOff)]
        assert "could not be reached" in told[0]
        assert told[-1] == ""
        assert versions_asked(api)[:3] == ["7", "8", "8"]


@pytest.mark.parametrize(
    "gone",
    [
        [events(("DELETED", at("8")))],
        [events(("ADDED", at("8", uid="another")))],
        [refusal(410), listed()],
        [refusal(410), listed(at("8", uid="another"))],
    ],
)
def test_what_is_deleted_or_made_anew_is_gone(gone: list[Answer]) -> None:
    with scripted_api(*gone) as api:
        assert watched(api, 1) == [Deleted("orders-db")]


def test_who_may_not_watch_is_told_so_once() -> None:
    with scripted_api(refusal(403, "jane cannot watch")) as api:
        (found,) = watched(api, 1)
    assert isinstance(found, Failed)
    assert "you may not watch rotatedsecrets in namespace shop" in str(found.problem)
