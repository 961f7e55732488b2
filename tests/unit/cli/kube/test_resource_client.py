"""Requests to the API server, and the sentences for a person when one fails."""

from __future__ import annotations

import pytest

from rotated_secrets.cli.errors import CommandError
from tests.support.cli.resource_builders import object_of
from tests.support.cli.scripted_api import Answer, list_of, refusal, scripted_api

PATH = "/apis/rotatedsecrets.io/v1alpha1/namespaces/shop/rotatedsecrets"
PATH_OF_ALL = "/apis/rotatedsecrets.io/v1alpha1/rotatedsecrets"
MISSING = refusal(404, 'rotatedsecrets "orders-d" not found', name="orders-d", kind="rotatedsecrets")


def test_a_list_comes_in_chunks_and_starts_again_when_it_expires() -> None:
    one, two = object_of(name="one"), object_of(name="two")
    with scripted_api(list_of(one, continue_token="more"), list_of(two)) as api:
        assert api.resources().list_all(selector="app=shop") == [one, two]
        assert api.asked[1] == f"{PATH} {{'labelSelector': 'app=shop', 'continue': 'more'}}"
    with scripted_api(list_of(one, continue_token="more"), refusal(410), list_of(one, two)) as api:
        assert api.resources().list_all(everywhere=True) == [one, two]
        assert api.asked[2] == PATH_OF_ALL


@pytest.mark.parametrize(
    ("answers", "output"),
    [
        (
            [MISSING, list_of(object_of(name="orders-db"), object_of(name="prices"))],
            "there is no RotatedSecret orders-d in namespace shop; did you mean orders-db?",
        ),
        (
            [MISSING, list_of(object_of(name="x")), list_of(object_of(name="orders-d", namespace="billing"))],
            "there is no RotatedSecret orders-d in namespace shop; "
            "there is one in billing: choose the namespace with -n",
        ),
        (
            [MISSING, list_of(object_of(name="x")), list_of()],
            "there is no RotatedSecret orders-d in namespace shop; the namespace has x",
        ),
        (
            [MISSING, list_of(), list_of()],
            "there is no RotatedSecret orders-d in namespace shop; the namespace has none",
        ),
        (
            [MISSING, refusal(403)],
            "there is no RotatedSecret orders-d in namespace shop; choose another namespace with -n",
        ),
        (
            [Answer(404, {"message": "404 page not found"})],
            "has no rotatedsecrets.rotatedsecrets.io: the operator is not installed there; install its chart, "
            "or choose another cluster with --context",
        ),
        ([refusal(401, "Unauthorized")], "rejects your credentials; log in again (Unauthorized)"),
        ([refusal(403, "User jane cannot")], "you may not get rotatedsecrets in namespace shop; ask for the verbs"),
        ([refusal(422, "name is too long")], "name is too long"),
        ([refusal(503, "starting"), refusal(503, "starting")], "could not be reached: starting; check --context"),
    ],
)
def test_errors_say_what_to_do(answers: list[Answer], output: str) -> None:
    with scripted_api(*answers) as api, pytest.raises(CommandError) as raised:
        api.resources().get("orders-d")
    assert output in str(raised.value)


def test_without_the_right_to_list_all_namespaces_the_error_says_to_choose_one() -> None:
    with (
        scripted_api(refusal(403)) as api,
        pytest.raises(CommandError, match="in all namespaces; choose one namespace with -n"),
    ):
        api.resources().list_all(everywhere=True)


def test_an_unreachable_api_server_is_named() -> None:
    with scripted_api() as api:
        resources = api.resources()
    output = f"the API server at {api.url} [(]context test[)] could not be reached: Connection refused; check --context"
    with pytest.raises(CommandError, match=output):
        resources.get("orders-db")


def test_a_patch_merges_and_returns_the_result() -> None:
    after = object_of(suspend=True)
    with scripted_api(Answer(body=after)) as api:
        assert api.resources().patch("orders-db", {"spec": {"rotation": {"suspend": True}}}) == after
        assert api.asked == [f"{PATH}/orders-db"]
        assert api.bodies == [{"spec": {"rotation": {"suspend": True}}}]
