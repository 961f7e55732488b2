"""A watch of one resource continues after each interruption, and says when it cannot."""

from __future__ import annotations

import queue

import pytest

from rotated_secrets.cli.kube import watch
from rotated_secrets.cli.kube.client import RotatedSecretClient
from rotated_secrets.cli.kube.rotated_secret import read
from rotated_secrets.cli.kube.watch_events import Changed, Deleted, Disconnected, WatchEvent, WatchFailed
from tests.support.cli.resource_builders import object_of
from tests.support.cli.scripted_api import Answer, ScriptedApi, events, list_of, refusal, scripted_api


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAUSE", 0.01)


def at(version: str, name: str = "orders-db", **fields: object) -> dict[str, object]:
    return object_of(name=name, metadata={"resourceVersion": version, **fields})


def watched(api: ScriptedApi, many: int) -> list[WatchEvent]:
    """The first events after version 7."""
    found: queue.SimpleQueue[WatchEvent] = queue.SimpleQueue()
    resources: RotatedSecretClient = api.resources()
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


def test_a_watch_that_ends_continues_from_its_last_version() -> None:
    first, second = events(("MODIFIED", at("8")), ("BOOKMARK", at("9"))), events(("MODIFIED", at("11")))
    with scripted_api(first, second) as api:
        found = watched(api, 2)
        assert found == [Changed(read(at("8"))), Changed(read(at("11")))]
        assert versions_asked(api)[:2] == ["7", "9"]
        assert "'fieldSelector': 'metadata.name=orders-db'" in api.asked[0]


@pytest.mark.parametrize("too_old", [refusal(410), events(("ERROR", {"kind": "Status", "code": 410}))])
def test_a_watch_whose_version_is_too_old_reads_the_resource_again(too_old: Answer) -> None:
    with scripted_api(too_old, list_of(at("20"), version="21"), events(("MODIFIED", at("22")))) as api:
        assert watched(api, 2) == [Changed(read(at("20"))), Changed(read(at("22")))]
        assert versions_asked(api)[:3] == ["7", "", "21"]


def test_a_disconnected_watch_says_so_and_continues() -> None:
    with scripted_api(events(("MODIFIED", at("8")), cut=True), refusal(503), events(("MODIFIED", at("9")))) as api:
        found = watched(api, 5)
        assert [type(each) for each in found] == [Changed, Disconnected, Disconnected, Disconnected, Changed]
        output = [each.message for each in found if isinstance(each, Disconnected)]
        assert "could not be reached" in output[0]
        assert output[-1] == ""
        assert versions_asked(api)[:3] == ["7", "8", "8"]


@pytest.mark.parametrize(
    "gone",
    [
        [events(("DELETED", at("8")))],
        [events(("ADDED", at("8", uid="another")))],
        [refusal(410), list_of()],
        [refusal(410), list_of(at("8", uid="another"))],
    ],
)
def test_a_deleted_or_recreated_resource_is_reported_as_deleted(gone: list[Answer]) -> None:
    with scripted_api(*gone) as api:
        assert watched(api, 1) == [Deleted("orders-db")]


def test_a_forbidden_watch_is_reported_once() -> None:
    with scripted_api(refusal(403, "jane cannot watch")) as api:
        (found,) = watched(api, 1)
    assert isinstance(found, WatchFailed)
    assert "you may not watch rotatedsecrets in namespace shop" in str(found.error)
