"""Ready and Synced say what is so now: what a look did not find out is unknown, and what failed is not true."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rotated_secrets.api.names import RESYNC_ANNOTATION
from rotated_secrets.cluster import Conflict, Forbidden, Json, Rejected, Unreachable
from rotated_secrets.controller.work.queue import RetryLater
from rotated_secrets.databases.base import Unavailable
from rotated_secrets.delivery.errors import DeliveryUnavailable
from rotated_secrets.secretstores.base import (
    AccessDenied,
    SecretNotFound,
    StoreError,
    StoreRefused,
    StoreThrottled,
    StoreUnavailable,
)
from rotated_secrets.values import Stage
from tests.support.fake_operator import KEY, SPEC, FakeOperator, changed, killed_at, path_of, with_admin

SECRET = "/api/v1/namespaces/shop/secrets/orders"


@pytest.fixture
def ready(operator: FakeOperator) -> FakeOperator:
    with_admin(operator).apply(SPEC)
    operator.settle()
    assert conditions(operator) == ("True", "True")
    return operator


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Has requests of one method and path prefix fail; without an error, none."""
    failing: dict[tuple[str, str], Exception] = {}

    def set_up(operator: FakeOperator, method: str = "", path: str = "", error: Exception | None = None) -> None:
        failing.clear()
        if error is None:
            return
        failing[method, path] = error
        request = operator.cluster.request

        def answer(asked: str, where: str, **options: Any) -> Json:
            found = [each for (verb, prefix), each in failing.items() if verb == asked and where.startswith(prefix)]
            if found:
                raise found[0]
            return request(asked, where, **options)

        monkeypatch.setattr(operator.cluster, "request", answer)

    yield set_up
    failing.clear()


def conditions(operator: FakeOperator) -> tuple[str, str]:
    return operator.condition("Ready")[0], operator.condition("Synced")[0]


def ready_metric(operator: FakeOperator) -> float | None:
    series = operator.services.metrics.registry.get_sample_value
    return series("rotatedsecrets_ready", {"namespace": "shop", "name": "orders"})


def look(operator: FakeOperator) -> None:
    with pytest.raises(RetryLater):
        operator.reconcile()


NOT_WRITTEN = {
    "a policy": Rejected("no", 422, {"message": "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"}),
    "a role": Forbidden("no", 403, {"message": 'secrets is forbidden: User "x" cannot create resource "secrets"'}),
    "a quota": Forbidden("no", 403, {"message": 'secrets "orders" is forbidden: exceeded quota: small, requested: 1'}),
    "a webhook that is down": Unreachable("no", 500, {"message": 'failed calling webhook "a.example.org": no'}),
    "an API server that is busy": Unreachable("no", 429),
    "someone who is faster": Conflict("no", 409),
}


@pytest.mark.parametrize("error", NOT_WRITTEN.values(), ids=NOT_WRITTEN)
def test_secret_that_is_absent_and_not_written_is_not_ready(
    ready: FakeOperator, fails: Callable[..., None], error: Exception
) -> None:
    del ready.cluster.objects[SECRET]
    fails(ready, "POST", SECRET.rpartition("/")[0], error)
    for _ in range(2):
        look(ready)
        assert conditions(ready) == ("False", "False")
        assert ready.condition("Ready")[1] == "SyncFailed"
        assert ready_metric(ready) == 0
    fails(ready)
    ready.settle()
    assert conditions(ready) == ("True", "True")


@pytest.mark.parametrize("error", NOT_WRITTEN.values(), ids=NOT_WRITTEN)
def test_secret_that_keeps_the_password_before_a_rotation_is_not_ready(
    ready: FakeOperator, fails: Callable[..., None], error: Exception
) -> None:
    fails(ready, "PUT", SECRET, error)
    ready.ask("now")
    look(ready)
    assert conditions(ready) == ("False", "False")
    fails(ready)
    ready.settle()
    assert conditions(ready) == ("True", "True")
    assert ready.condition("Rotated")[0] == "True"


@pytest.mark.parametrize("error", NOT_WRITTEN.values(), ids=NOT_WRITTEN)
def test_secret_that_cannot_be_read_is_not_known(
    ready: FakeOperator, fails: Callable[..., None], error: Exception
) -> None:
    fails(ready, "GET", SECRET, error)
    ready.ask("look", annotation=RESYNC_ANNOTATION)
    with contextlib.suppress(RetryLater):
        ready.reconcile()
    assert "True" not in conditions(ready)
    assert ready_metric(ready) == 0
    fails(ready)
    ready.settle()
    assert conditions(ready) == ("True", "True")


AWS_ERRORS: list[StoreError] = [
    StoreUnavailable("AWS is away"),
    StoreThrottled("AWS is busy"),
    StoreRefused("KMS: the key is disabled"),
    AccessDenied("allow it"),
    SecretNotFound("there is none"),
]


def aws_fails(operator: FakeOperator, operation: str, error: StoreError | None) -> None:
    def fail(called: str, asked: str) -> None:
        if error is not None and called == operation:
            raise error

    operator.aws.before_call = fail


@pytest.mark.parametrize("operation", ["DescribeSecret", "GetSecretValue"])
@pytest.mark.parametrize("error", AWS_ERRORS, ids=lambda each: type(each).__name__)
def test_secret_that_is_deleted_while_aws_does_not_answer_is_not_ready(
    ready: FakeOperator, operation: str, error: StoreError
) -> None:
    aws_fails(ready, operation, error)
    del ready.cluster.objects[SECRET]
    for _ in range(2):
        look(ready)
        assert "True" not in conditions(ready)
        assert ready_metric(ready) == 0
    aws_fails(ready, operation, None)
    ready.settle()
    assert conditions(ready) == ("True", "True")


@pytest.mark.parametrize("looks_before", [0, 1])
def test_secret_that_is_changed_while_aws_throttles_is_not_known(ready: FakeOperator, looks_before: int) -> None:
    aws_fails(ready, "DescribeSecret", StoreThrottled("AWS is busy"))
    ready.ask("look", annotation=RESYNC_ANNOTATION)
    for _ in range(looks_before):
        look(ready)
        assert conditions(ready) == ("True", "True")
    ready.cluster.put(SECRET, ready.cluster.objects[SECRET] | {"data": {"password": "eHh4"}})
    look(ready)
    assert conditions(ready) == ("Unknown", "Unknown")


def test_secret_that_is_absent_is_told_as_absent_while_aws_is_away(ready: FakeOperator) -> None:
    aws_fails(ready, "DescribeSecret", StoreUnavailable("AWS is away"))
    del ready.cluster.objects[SECRET]
    look(ready)
    for kind in ("Ready", "Synced"):
        status, reason, message = ready.condition(kind)
        assert (status, reason) == ("False", "StoreUnavailable")
        assert "does not exist" in message and "AWS is away" in message


def test_secret_that_someone_else_has_to_create_is_not_promised(operator: FakeOperator) -> None:
    with_admin(operator).apply(changed(SPEC, target={"creationPolicy": "Merge", "deletionPolicy": "Retain"}))
    aws_fails(operator, "DescribeSecret", StoreUnavailable("AWS is away"))
    look(operator)
    status, _, message = operator.condition("Synced")
    assert status == "False"
    assert "does not exist, and creationPolicy: Merge creates none, so create it: AWS is away" in message


def test_resource_that_delivers_nothing_has_no_secret_to_miss(operator: FakeOperator) -> None:
    with_admin(operator).apply(changed(SPEC, target={"creationPolicy": "None"}))
    operator.settle()
    aws_fails(operator, "DescribeSecret", StoreThrottled("AWS is busy"))
    operator.ask("look", annotation=RESYNC_ANNOTATION)
    look(operator)
    assert conditions(operator) == ("True", "True")


@pytest.mark.parametrize("error", [AccessDenied("allow it"), StoreUnavailable("AWS is away")])
def test_new_resource_knows_nothing_of_its_secret(operator: FakeOperator, error: StoreError) -> None:
    aws_fails(operator, "DescribeSecret", error)
    with_admin(operator).apply(SPEC)
    look(operator)
    assert conditions(operator)[0] == "False"
    assert conditions(operator)[1] in ("Unknown", "False")


@pytest.mark.parametrize("spec", [{"source": {}}, changed(SPEC, rotation={"strategy": "Unheard"})])
def test_spec_that_does_not_parse_leaves_nothing_true(ready: FakeOperator, spec: dict[str, Any]) -> None:
    ready.apply(spec)
    ready.reconcile()
    assert ready.condition("Ready")[:2] == ("False", "InvalidSpec")
    assert ready.condition("Synced")[:2] == ("Unknown", "InvalidSpec")


def test_value_with_a_host_that_is_never_connected_to_was_not_delivered(ready: FakeOperator) -> None:
    ready.aws.find("shop/orders").put(ready.credential(host="127.0.0.1"), "loopback")
    ready.services.look_again([KEY])
    look(ready)
    assert ready.condition("Ready")[:2] == ("False", "InvalidSecretValue")
    assert ready.condition("Synced")[:2] == ("False", "InvalidSecretValue")


def test_look_that_came_to_the_secret_ends_what_was_unknown_although_the_rotation_fails(ready: FakeOperator) -> None:
    """What AWS did not tell then is known now."""
    aws_fails(ready, "DescribeSecret", StoreUnavailable("AWS is away"))
    ready.ask("now")
    look(ready)
    assert conditions(ready) == ("Unknown", "Unknown")
    aws_fails(ready, "PutSecretValue", AccessDenied("allow secretsmanager:PutSecretValue"))
    look(ready)
    assert conditions(ready) == ("True", "True")
    assert ready.condition("Rotated")[:2] == ("False", "CreateFailed")


def test_password_that_may_be_set_already_is_not_known_to_work(ready: FakeOperator) -> None:
    following = killed_at(ready, "UpdateSecretVersionStage")
    reads: list[str] = []

    def fail(operation: str, asked: str) -> None:
        if operation == "GetSecretValue":
            reads.append(asked)
            if len(reads) == 2:
                raise StoreRefused("DecryptionFailure")

    following.aws.before_call = fail
    look(following)
    status, reason, message = following.condition("Ready")
    assert (status, reason) == ("Unknown", "LoginFailed")
    assert "may have the password of version" in message
    following.settle()
    assert conditions(following) == ("True", "True")


def test_database_that_does_not_answer_leaves_it_unknown_whether_the_login_works(ready: FakeOperator) -> None:
    ready.server().down = True
    ready.ask("look", annotation=RESYNC_ANNOTATION)
    for _ in range(5):
        look(ready)
        assert ready.condition("Ready")[:2] == ("Unknown", "LoginFailed")
        assert ready.condition("Synced")[0] == "True"
    ready.server().down = False
    ready.services.limits._breakers.clear()
    logins = len(ready.server().logins)
    ready.settle()
    assert conditions(ready) == ("True", "True")
    assert len(ready.server().logins) > logins, "nothing but a login shows that it works"


@pytest.mark.parametrize("stage", ["describe", "deliver"])
def test_fault_of_the_operator_leaves_nothing_true_and_shows_nothing_of_its_text(
    ready: FakeOperator, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def fault(*_: object, **__: object) -> None:
        raise KeyError("hunter2")

    where = {
        "describe": "tests.support.fake_aws.FakeStore.describe",
        "deliver": "rotated_secrets.controller.reconcile.target_secret.DeliveredSecret.look",
    }[stage]
    with monkeypatch.context() as patch:
        patch.setattr(where, fault)
        ready.ask("look", annotation=RESYNC_ANNOTATION)
        with pytest.raises(KeyError):
            ready.reconcile()
    assert conditions(ready) == ("Unknown", "Unknown")
    assert "KeyError" in ready.condition("Ready")[2]
    assert "hunter2" not in str(ready.status())
    assert ready_metric(ready) == 0
    ready.settle()
    assert conditions(ready) == ("True", "True")


def test_metric_follows_also_where_the_status_cannot_be_written(
    ready: FakeOperator, fails: Callable[..., None]
) -> None:
    aws_fails(ready, "DescribeSecret", AccessDenied("allow it"))
    fails(ready, "PATCH", path_of(KEY), Forbidden("no", 403))
    ready.ask("look", annotation=RESYNC_ANNOTATION)
    with pytest.raises(Forbidden):
        ready.reconcile()
    assert ready_metric(ready) == 0


def test_rendering_that_does_not_come_to_an_end_is_not_known(
    ready: FakeOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise DeliveryUnavailable("rendering the templates took too long")

    with monkeypatch.context() as patch:
        patch.setattr(ready.services.renderer, "render", away)
        ready.ask("look", annotation=RESYNC_ANNOTATION)
        look(ready)
    assert conditions(ready) == ("Unknown", "Unknown")
    ready.settle()
    assert conditions(ready) == ("True", "True")


def test_admin_that_cannot_be_reached_takes_nothing_from_what_works(ready: FakeOperator) -> None:
    def away(statement: str) -> None:
        raise Unavailable("the server went")

    ready.server().before_statement = away
    ready.apply(changed(SPEC, rotation={"strategy": "AlternatingUsers"}))
    ready.ask("now")
    look(ready)
    assert conditions(ready) == ("True", "True")
    assert ready.condition("Rotated")[0] == "False"


@pytest.mark.parametrize("strategy", ["SingleUser", "AlternatingUsers"])
@pytest.mark.parametrize("error", [AccessDenied("no"), StoreThrottled("no"), StoreRefused("no")], ids=str)
def test_label_that_cannot_be_removed_takes_nothing_from_what_works(
    operator: FakeOperator, strategy: str, error: StoreError
) -> None:
    """Such as by a policy that allows UpdateSecretVersionStage of AWSCURRENT alone."""
    with_admin(operator).apply(changed(SPEC, rotation={"strategy": strategy}))
    operator.settle()
    secret = operator.aws.find("shop/orders")

    def refuse(operation: str, asked: str) -> None:
        current = next(stages for stages in secret.stages.values() if Stage.CURRENT in stages)
        if operation == "UpdateSecretVersionStage" and Stage.PENDING in current:
            raise error

    operator.aws.before_call = refuse
    operator.ask("now")
    for _ in range(3):
        look(operator)
        assert Stage.PENDING in next(stages for stages in secret.stages.values() if Stage.CURRENT in stages)
        assert conditions(operator) == ("True", "True"), operator.condition("Ready")
        assert operator.condition("Rotated")[:2] == ("False", "FinishFailed")
    operator.aws.before_call = lambda operation, asked: None
    operator.settle()
    assert operator.condition("Rotated")[0] == "True"


@pytest.mark.parametrize("finalizer", ["foregroundDeletion", "example.org/hold"])
def test_what_waits_in_its_deletion_is_not_known_to_work(ready: FakeOperator, finalizer: str) -> None:
    """The garbage collector takes its Secret meanwhile, and AWSCURRENT may move."""
    deletion: dict[str, Any] = {"deletionTimestamp": "2026-01-02T00:00:00Z", "finalizers": [finalizer]}
    ready.apply(SPEC, **deletion)
    before = list(ready.events.reasons)
    ready.settle()
    assert conditions(ready) == ("Unknown", "Unknown")
    assert "is being deleted" in ready.condition("Ready")[2]
    assert ready_metric(ready) is None
    assert ready.events.reasons == before
    writes = len(ready.cluster.writes)
    del ready.cluster.objects[SECRET]
    ready.reconcile()
    assert len(ready.cluster.writes) == writes, "nothing is delivered, and it is said once"
    ready.ask("now")
    ready.settle()
    assert ready.status()["observedRequests"]["rotate"] == "now"
    assert ready.status().get("history", []) == []


def test_deletion_that_ends_while_it_is_reported_is_no_trouble(ready: FakeOperator) -> None:
    ready.apply(SPEC, deletionTimestamp="2026-01-02T00:00:00Z")
    request = ready.cluster.request

    def goes(method: str, path: str, **options: Any) -> Json:
        if method == "PATCH":
            ready.cluster.objects.pop(path.removesuffix("/status"))
        return request(method, path, **options)

    ready.cluster.request = goes  # type: ignore[method-assign]
    ready.reconcile()
    assert path_of(KEY) not in ready.cluster.objects
