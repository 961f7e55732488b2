"""Each request is acknowledged at the end of the look that sees it, whatever comes of the look."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from rotated_secrets.api.names import RESYNC_ANNOTATION, ROTATE_ANNOTATION
from rotated_secrets.controller.work.queue import RetryLater
from rotated_secrets.secretstores.base import AccessDenied, SecretNotFound, StoreError, StoreThrottled, StoreUnavailable
from tests.support.fake_operator import KEY, SPEC, FakeOperator, changed, path_of, with_admin

SECRET = "/api/v1/namespaces/shop/secrets/orders"


def failing(operation: str, error: StoreError) -> Callable[[FakeOperator], None]:
    def fail(called: str, asked: str) -> None:
        if called == operation:
            raise error

    def arrange(operator: FakeOperator) -> None:
        operator.aws.before_call = fail

    return arrange


def with_spec(**rooms: dict[str, object]) -> Callable[[FakeOperator], None]:
    def arrange(operator: FakeOperator) -> None:
        operator.apply(changed(SPEC, **rooms))

    return arrange


def down(operator: FakeOperator) -> None:
    operator.server().down = True


def password_changed(operator: FakeOperator) -> None:
    operator.server().passwords["app"] = "changed by a person"


def unreadable(operator: FakeOperator) -> None:
    obj = operator.cluster.objects[path_of(KEY)]
    operator.cluster.put(path_of(KEY), {**obj, "spec": {**obj["spec"], "rotation": {"strategy": "Sometimes"}}})


def too_large(operator: FakeOperator) -> None:
    operator.apply(SPEC, labels={"filling": "x" * (512 << 10)})


def taken_by_another(operator: FakeOperator) -> None:
    operator.cluster.objects[SECRET]["metadata"]["annotations"]["rotatedsecrets.io/owner"] = "shop/other"


def not_written(operator: FakeOperator) -> None:
    operator.cluster.forbidden.add(("POST", "/api/v1/namespaces/here/configmaps"))


ENDINGS: dict[str, Callable[[FakeOperator], None]] = {
    "all is well": lambda operator: None,
    "no secret": failing("DescribeSecret", SecretNotFound("create it")),
    "denied": failing("DescribeSecret", AccessDenied("allow it")),
    "away": failing("GetSecretValue", StoreUnavailable("AWS is away")),
    "throttled": failing("DescribeSecret", StoreThrottled("AWS is busy")),
    "denied to write": failing("PutSecretValue", AccessDenied("allow it")),
    "suspended": with_spec(rotation={"suspend": True}),
    "no such clone": with_spec(rotation={"strategy": "AlternatingUsers", "cloneSuffix": "_other"}),
    "template": with_spec(target={"template": {"URL": "{{ missing }}"}}),
    "not in the schema": unreadable,
    "too large": too_large,
    "not ours": taken_by_another,
    "journal": not_written,
    "database down": down,
    "login rejected": password_changed,
}


def look(operator: FakeOperator) -> None:
    with contextlib.suppress(RetryLater):
        operator.reconcile()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("annotation", [ROTATE_ANNOTATION, RESYNC_ANNOTATION])
def test_a_request_is_acknowledged_however_the_look_ends(operator: FakeOperator, ending: str, annotation: str) -> None:
    """Also where the conditions say the same as before: that alone is no answer to who asked."""
    with_admin(operator).apply(SPEC)
    operator.settle()
    ENDINGS[ending](operator)
    look(operator)
    for value in ("first", "second"):
        obj = operator.cluster.objects[path_of(KEY)]
        annotations = {**obj["metadata"].get("annotations", {}), annotation: value}
        operator.cluster.put(path_of(KEY), {**obj, "metadata": {**obj["metadata"], "annotations": annotations}})
        look(operator)
        assert operator.status()["observedRequests"] == {annotation.rpartition("/")[2]: value}


def test_nothing_is_written_about_requests_where_none_was_made(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()
    assert "observedRequests" not in operator.status()
    failing("DescribeSecret", StoreThrottled("AWS is busy"))(operator)
    before = len(operator.cluster.writes)
    operator.services.observed.invalidate(KEY)
    look(operator)
    assert len(operator.cluster.writes) == before


def test_a_request_tries_a_host_that_is_left_alone(operator: FakeOperator) -> None:
    """Who asks may have repaired it; the pause may have minutes left."""
    with_admin(operator).apply(SPEC)
    operator.settle()
    operator.server().down = True
    operator.ask("first")
    for _ in range(5):
        look(operator)
    operator.server().down = False
    look(operator)
    assert "does not try it for a while" in operator.condition("Rotated")[2], "it is left alone"
    operator.ask("second")
    operator.settle()
    assert operator.status()["handledRequests"]["rotate"] == "second"
    assert operator.condition("Rotated")[0] == "True"
