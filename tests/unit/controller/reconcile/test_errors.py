"""What comes of each kind of error in a run: it is told on the resource, tried again, and never half done."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

import pytest

from rotated_secrets.controller.work.queue import RetryLater
from rotated_secrets.databases.base import Unavailable
from rotated_secrets.rotation.observation import with_stage_moved
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
    assert operator.condition()[0] == "True"
    return operator


def fails(operator: FakeOperator, operation: str, error: StoreError) -> Callable[[], None]:
    """Returns what ends it."""

    def fail(called: str, asked: str) -> None:
        if called == operation:
            raise error

    def mend() -> None:
        operator.aws.before_call = lambda called, asked: None

    operator.aws.before_call = fail
    return mend


@pytest.mark.parametrize("operation", ["DescribeSecret", "GetSecretValue"])
@pytest.mark.parametrize("error", [StoreUnavailable("AWS is away"), StoreThrottled("AWS is busy")])
def test_store_that_is_away_is_told_on_a_new_resource_and_tried_again(
    operator: FakeOperator, operation: str, error: StoreError
) -> None:
    with_admin(operator).apply(SPEC)
    mend = fails(operator, operation, error)
    with pytest.raises(RetryLater, match="AWS is"):
        operator.reconcile()
    assert operator.condition()[0] == "False"
    mend()
    operator.settle()
    assert operator.condition()[0] == "True"


def test_step_that_fails_is_told_and_written(ready: FakeOperator) -> None:
    """Its beginning was not written: nothing depends on it."""
    mend = fails(ready, "UpdateSecretVersionStage", StoreUnavailable("AWS is away"))
    ready.ask("now")
    with pytest.raises(RetryLater, match="AWS is away"):
        ready.reconcile()
    assert ready.condition("Rotated")[:2] == ("False", "FinishFailed")
    assert ready.status()["rotation"]["step"] == "FinishSecret"
    mend()
    ready.settle()
    assert ready.condition("Rotated")[0] == "True"


@pytest.mark.parametrize("operation", ["DescribeSecret", "GetSecretValue"])
def test_ready_is_unknown_while_the_store_cannot_be_looked_at(ready: FakeOperator, operation: str) -> None:
    mend = fails(ready, operation, StoreUnavailable("what answered is not AWS"))
    ready.ask("look")
    for _ in range(2):
        with pytest.raises(RetryLater):
            ready.reconcile()
        assert ready.condition() == ("Unknown", "StoreUnavailable", "what answered is not AWS")
    mend()
    ready.settle()
    assert ready.condition()[0] == "True"


@pytest.mark.parametrize("error", [StoreUnavailable("AWS is away"), StoreRefused("DecryptionFailure: no such key")])
def test_value_that_cannot_be_read_leaves_nothing_true(ready: FakeOperator, error: StoreError) -> None:
    mend = fails(ready, "GetSecretValue", error)
    ready.ask("look")
    for _ in range(3):
        with pytest.raises(RetryLater):
            ready.reconcile()
        for condition in ("Ready", "Synced"):
            assert ready.condition(condition) == ("Unknown", "StoreUnavailable", str(error))
    assert ready.events.recorded.count(("StoreUnavailable", str(error))) == 1
    mend()
    ready.settle()
    assert (ready.condition("Ready")[0], ready.condition("Synced")[0]) == ("True", "True")


def test_secret_that_is_denied_leaves_nothing_true(ready: FakeOperator) -> None:
    mend = fails(ready, "DescribeSecret", AccessDenied("allow secretsmanager:DescribeSecret"))
    ready.ask("look")
    for _ in range(2):
        with pytest.raises(RetryLater):
            ready.reconcile()
        assert ready.condition("Ready")[:2] == ("False", "AccessDenied")
        assert ready.condition("Synced")[:2] == ("Unknown", "AccessDenied")
    mend()
    ready.settle()
    assert (ready.condition("Ready")[0], ready.condition("Synced")[0]) == ("True", "True")


def test_secret_that_is_gone_is_told_by_one_event(ready: FakeOperator) -> None:
    mend = fails(ready, "DescribeSecret", SecretNotFound("AWS finds no secret; create it"))
    ready.ask("look")
    for _ in range(3):
        with pytest.raises(RetryLater):
            ready.reconcile()
    assert ready.condition()[:2] == ("False", "SecretNotFound")
    assert ready.events.recorded.count(("SecretNotFound", "AWS finds no secret; create it")) == 1
    mend()
    ready.settle()
    assert ready.condition()[0] == "True"


@pytest.mark.parametrize("error", [StoreUnavailable("AWS is away"), StoreThrottled("AWS is busy")])
def test_step_that_aws_does_not_do_is_told_by_one_event(ready: FakeOperator, error: StoreError) -> None:
    fails(ready, "PutSecretValue", error)
    ready.ask("now")
    for _ in range(3):
        with pytest.raises(RetryLater):
            ready.reconcile()
    assert ready.events.recorded.count(("RotationFailed", f"{error}; it is tried again")) == 1
    assert ready.condition()[0] == "True"


@pytest.mark.parametrize("operation", ["DescribeSecret", "GetSecretValue"])
def test_ready_is_unknown_once_the_store_throttles_look_after_look(ready: FakeOperator, operation: str) -> None:
    mend = fails(ready, operation, StoreThrottled("AWS is busy"))
    ready.ask("look")
    for expected in ("True", "True", "Unknown", "Unknown"):
        with pytest.raises(RetryLater):
            ready.reconcile()
        assert (ready.condition("Ready")[0], ready.condition("Synced")[0]) == (expected, expected)
    mend()
    ready.settle()
    assert ready.condition()[0] == "True"
    fails(ready, operation, StoreThrottled("AWS is busy"))
    ready.ask("look again")
    with pytest.raises(RetryLater):
        ready.reconcile()
    assert ready.condition()[0] == "True", "it counts from the last look that came to an end"


def test_identity_of_the_operator_that_is_lost_is_told_on_each_resource(
    ready: FakeOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_: object) -> str:
        raise AccessDenied("the operator's AWS credentials cannot be loaded: /token: No such file")

    monkeypatch.setattr("tests.support.fake_aws.FakeStores.account", lost)
    ready.ask("look")
    for _ in range(2):
        with pytest.raises(RetryLater, match="/token"):
            ready.reconcile()
    assert ready.condition()[:2] == ("False", "AccessDenied")
    assert ready.events.reasons.count("AccessDenied") == 1
    gauge = ready.services.metrics.registry.get_sample_value
    assert gauge("rotatedsecrets_ready", {"namespace": "shop", "name": "orders"}) == 0


def test_denial_anywhere_in_a_look_is_told(ready: FakeOperator, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise AccessDenied("allow sts:GetCallerIdentity")

    with monkeypatch.context() as patch:
        patch.setattr(ready.services.feeds, "track", denied)
        ready.ask("look")
        with pytest.raises(RetryLater, match="allow sts"):
            ready.reconcile()
    assert ready.condition() == ("False", "AccessDenied", "allow sts:GetCallerIdentity")
    assert "AccessDenied" in ready.events.reasons
    ready.settle()
    assert ready.condition()[0] == "True"


def test_ready_stays_while_the_store_only_asks_for_fewer_requests(ready: FakeOperator) -> None:
    fails(ready, "DescribeSecret", StoreThrottled("AWS is busy"))
    ready.ask("look")
    with pytest.raises(RetryLater):
        ready.reconcile()
    assert ready.condition()[0] == "True"


def test_ready_stays_false_while_the_store_cannot_be_looked_at(operator: FakeOperator) -> None:
    operator.secret(value="no json")
    operator.apply(SPEC)
    with pytest.raises(RetryLater):
        operator.reconcile()
    before = operator.condition()
    assert before[:2] == ("False", "InvalidSecretValue")
    fails(operator, "DescribeSecret", StoreUnavailable("AWS is away"))
    with pytest.raises(RetryLater):
        operator.reconcile()
    assert operator.condition() == before


@pytest.mark.parametrize("operation", ["PutSecretValue", "UpdateSecretVersionStage"])
def test_store_that_denies_a_step_is_told_as_denied_and_as_that_step(ready: FakeOperator, operation: str) -> None:
    mend = fails(ready, operation, AccessDenied(f"allow secretsmanager:{operation}"))
    ready.ask("now")
    with pytest.raises(RetryLater, match=operation):
        ready.reconcile()
    step = {"PutSecretValue": "CreateFailed", "UpdateSecretVersionStage": "FinishFailed"}[operation]
    assert ready.condition("Rotated")[:2] == ("False", step)
    assert "it is tried again" in ready.condition("Rotated")[2]
    assert "AccessDenied" in ready.events.reasons
    mend()
    ready.settle()
    assert ready.condition("Rotated")[0] == "True"


REFUSALS = [
    AccessDenied("allow secretsmanager:UpdateSecretVersionStage"),
    StoreRefused("LimitExceededException"),
    StoreThrottled("AWS is busy"),
    StoreUnavailable("what answered is not AWS"),
]


@pytest.mark.parametrize("error", REFUSALS)
def test_password_that_is_set_and_not_yet_current_is_told_and_finished_later(
    ready: FakeOperator, error: StoreError
) -> None:
    mend = fails(ready, "UpdateSecretVersionStage", error)
    ready.ask("now")
    for _ in range(3):
        with pytest.raises(RetryLater, match=str(error)):
            ready.reconcile()
        assert ready.condition("Rotated")[:2] == ("False", "FinishFailed")
        status, reason, message = ready.condition("Ready")
        assert (status, reason) == ("False", "LoginFailed")
        assert message.startswith("what is delivered does not log in: ")
        assert str(error) in message
    assert ready.events.recorded.count(("RotationFailed", f"{error}; it is tried again")) == 1
    assert ready.events.recorded.count(("AccessDenied", str(error))) == isinstance(error, AccessDenied)
    mend()
    ready.settle()
    assert (ready.condition("Rotated")[0], ready.condition("Ready")[0]) == ("True", "True")


@pytest.mark.parametrize("error", REFUSALS)
def test_finish_that_is_refused_takes_nothing_from_a_user_that_was_not_changed(
    operator: FakeOperator, error: StoreError
) -> None:
    with_admin(operator).apply(changed(SPEC, rotation={"strategy": "AlternatingUsers"}))
    operator.settle()
    fails(operator, "UpdateSecretVersionStage", error)
    operator.ask("now")
    with pytest.raises(RetryLater):
        operator.reconcile()
    assert operator.condition("Rotated")[:2] == ("False", "FinishFailed")
    assert operator.condition("Ready")[0] == "True"


def test_finish_that_is_refused_after_the_stage_has_moved_is_looked_at_again(ready: FakeOperator) -> None:
    """The answer to the first request was lost, and the second one is refused."""
    secret = ready.aws.find("shop/orders")

    def moved(operation: str, asked: str) -> None:
        if operation == "UpdateSecretVersionStage":
            pending, current = (
                next(version for version, labels in secret.stages.items() if stage in labels)
                for stage in (Stage.PENDING, Stage.CURRENT)
            )
            secret.stages = with_stage_moved(secret.stages, Stage.CURRENT, to=pending, remove_from=current)
            ready.aws.before_call = lambda operation, asked: None
            raise StoreRefused("it is not on that version")

    ready.aws.before_call = moved
    ready.ask("now")
    with pytest.raises(RetryLater, match="moved meanwhile"):
        ready.reconcile()
    assert ready.condition("Ready")[0] == "True"
    ready.settle()
    assert ready.condition("Rotated")[0] == "True"


def test_pending_version_that_cannot_be_read_is_told(ready: FakeOperator) -> None:
    following = killed_at(ready, "UpdateSecretVersionStage")
    reads: list[str] = []

    def fail(operation: str, asked: str) -> None:
        if operation == "GetSecretValue":
            reads.append(asked)
            if len(reads) == 2:
                raise StoreRefused("DecryptionFailure")

    following.aws.before_call = fail
    with pytest.raises(RetryLater, match="DecryptionFailure"):
        following.reconcile()
    assert following.condition("Rotated")[:2] == ("False", "SetFailed")
    assert ("RotationFailed", "DecryptionFailure; it is tried again") in following.events.recorded
    following.settle()
    assert following.condition("Rotated")[0] == "True"


def test_server_that_is_down_holds_nothing_up_but_the_rotation(ready: FakeOperator) -> None:
    ready.server().down = True
    ready.ask("now")
    with pytest.raises(RetryLater, match="does not answer"):
        ready.reconcile()
    assert ready.condition("Rotated")[:2] == ("False", "CreateFailed")
    ready.server().down = False
    ready.settle()
    assert ready.condition("Rotated")[0] == "True"


def test_server_that_is_down_does_not_keep_a_version_from_its_pods(operator: FakeOperator) -> None:
    with_admin(operator)
    operator.server().down = True
    operator.apply(SPEC)
    with pytest.raises(RetryLater):
        operator.reconcile()
    assert operator.target() is not None
    assert operator.condition("Synced")[0] == "True"
    assert operator.condition("Ready")[:2] == ("False", "LoginFailed")


def test_server_that_stays_down_is_left_alone_and_its_resource_goes_on_without_it(operator: FakeOperator) -> None:
    with_admin(operator)
    operator.server().down = True
    operator.apply(SPEC)
    for _ in range(4):
        with pytest.raises(RetryLater) as caught:
            operator.reconcile()
    assert "does not try it for a while" in str(caught.value)
    assert caught.value.not_before > 1
    secret = next(iter(operator.aws.secrets.values()))
    secret.put(operator.credential(password="by-hand"), "by-hand")
    with pytest.raises(RetryLater):
        operator.reconcile()
    assert base64.b64decode((operator.target() or {})["data"]["password"]) == b"by-hand"


def test_server_that_goes_in_the_middle_leaves_the_claim_and_is_gone_on_with(ready: FakeOperator) -> None:
    def goes(statement: str) -> None:
        ready.server().before_statement = lambda _: None
        raise Unavailable("the server went")

    ready.server().before_statement = goes
    ready.ask("now")
    with pytest.raises(RetryLater, match="the server went"):
        ready.reconcile()
    assert ready.status()["rotation"]["step"] == "SetSecret"
    assert ready.condition("Rotated")[:2] == ("False", "SetFailed")
    assert not ready.server().holders, "the lock is still held"
    ready.settle()
    assert ready.condition("Rotated")[0] == "True"


def test_lock_is_freed_at_the_end_of_a_run(ready: FakeOperator) -> None:
    ready.ask("now")
    ready.reconcile()
    assert not ready.server().holders


def test_lock_that_another_operator_holds_is_waited_for(ready: FakeOperator) -> None:
    other = object()
    ready.server().holders.add(other)
    ready.ask("now")
    with pytest.raises(RetryLater, match="the lock of user app is taken"):
        ready.reconcile()
    assert "PutSecretValue" not in ready.aws.operations()
    ready.server().holders.clear()
    ready.settle()
    assert ready.condition("Rotated")[0] == "True"


def test_cluster_that_refuses_the_target_secret_is_told_and_tried_again(operator: FakeOperator) -> None:
    operator.cluster.forbidden.add(("POST", "/api/v1/namespaces/shop/secrets"))
    with_admin(operator).apply(SPEC)
    with pytest.raises(RetryLater):
        operator.reconcile()
    assert operator.condition()[:2] == ("False", "SyncFailed")
    text = operator.services.metrics.registry.get_sample_value("rotatedsecrets_sync_total", {"outcome": "failed"})
    assert text == 1
    operator.cluster.forbidden.clear()
    operator.settle()
    assert operator.condition()[0] == "True"


def test_cluster_that_does_not_let_the_target_secret_be_read_is_told(operator: FakeOperator) -> None:
    operator.cluster.forbidden.add(("GET", SECRET))
    with_admin(operator).apply(SPEC)
    with pytest.raises(RetryLater, match="may not get Secrets in namespace shop"):
        operator.reconcile()
    assert operator.condition()[0] == "False"
    assert "PutSecretValue" not in operator.aws.operations()


def test_look_that_fails_at_aws_has_not_read_the_target_secret(operator: FakeOperator) -> None:
    """It may have a megabyte, and such a look comes again and again."""
    operator.apply(SPEC)
    for _ in range(3):
        with pytest.raises(RetryLater, match="there is no secret"):
            operator.reconcile()
    assert ("GET", SECRET) not in operator.cluster.requests


def test_look_at_what_has_not_changed_reads_only_the_metadata_of_the_target_secret(ready: FakeOperator) -> None:
    ready.cluster.requests.clear()
    ready.cluster.metadata_only.clear()
    ready.reconcile()
    assert ready.cluster.requests.count(("GET", SECRET)) == 1
    assert ready.cluster.metadata_only == [SECRET]


JOURNAL = "/api/v1/namespaces/here/configmaps"


def test_cluster_that_refuses_the_journal_is_told_and_no_rotation_begins(ready: FakeOperator) -> None:
    ready.cluster.forbidden.add(("POST", JOURNAL))
    ready.ask("now")
    for _ in range(3):
        with pytest.raises(RetryLater, match="configmaps: the API server answered 403"):
            ready.reconcile()
    assert ready.condition("Rotated")[:2] == ("False", "CreateFailed")
    assert f"has to write for a rotation: POST {JOURNAL}: the API server" in ready.condition("Rotated")[2]
    assert ready.condition("Ready")[0] == "True"
    assert ready.events.reasons.count("RotationFailed") == 1
    assert "PutSecretValue" not in ready.aws.operations()
    ready.cluster.forbidden.clear()
    ready.settle()
    assert ready.condition("Rotated")[0] == "True"


def test_cluster_that_refuses_the_journal_of_a_new_resource_is_told(operator: FakeOperator) -> None:
    operator.cluster.forbidden.add(("POST", JOURNAL))
    with_admin(operator).apply(changed(SPEC, rotation={"rotateImmediately": True}))
    with pytest.raises(RetryLater):
        operator.reconcile()
    assert operator.condition("Ready")[:2] == ("False", "SyncFailed")
    assert operator.condition("Rotated")[:2] == ("False", "CreateFailed")


def test_journal_that_cannot_be_cleared_is_tried_again_and_changes_no_condition(ready: FakeOperator) -> None:
    ready.cluster.forbidden.add(("DELETE", JOURNAL))
    ready.ask("now")
    for _ in range(2):
        with pytest.raises(RetryLater, match=f"entry in the journal cannot be removed: DELETE {JOURNAL}"):
            ready.reconcile()
    assert ready.condition("Rotated")[0] == "True"
    assert "RotationFailed" not in ready.events.reasons
    ready.cluster.forbidden.clear()
    ready.settle()
    assert not [path for path in ready.cluster.objects if path.startswith(JOURNAL)]


def test_cluster_that_refuses_the_status_is_told_by_an_event(ready: FakeOperator) -> None:
    ready.cluster.forbidden.add(("PATCH", path_of(KEY)))
    ready.ask("now")
    with pytest.raises(RetryLater, match="status: the API server answered 403"):
        ready.reconcile()
    assert "RotationFailed" in ready.events.reasons
    assert "PutSecretValue" not in ready.aws.operations()
    ready.cluster.forbidden.clear()
    ready.settle()
    assert ready.condition("Rotated")[0] == "True"


def test_journal_of_a_deleted_resource_that_cannot_be_cleared_is_told_and_tried_again(ready: FakeOperator) -> None:
    ready.cluster.after_write = lambda method, path: ready.cluster.forbidden.add(("PATCH", path_of(KEY)))
    ready.ask("now")
    with pytest.raises(RetryLater):
        ready.reconcile()
    ready.cluster.forbidden = {("DELETE", JOURNAL)}
    ready.cluster.after_write = lambda method, path: None
    del ready.cluster.objects[path_of(KEY)]
    with pytest.raises(RetryLater, match="DELETE"):
        ready.reconcile()
    assert any(f"DELETE {JOURNAL}" in message for _, message in ready.events.recorded)


def test_status_of_another_operator_is_not_overwritten(ready: FakeOperator) -> None:
    """The other one has claimed the same rotation between our read and our write."""
    path, claims = path_of(KEY), list[object]()

    def claims_first(operation: str, asked: str) -> None:
        if operation == "GetSecretValue" and not claims:
            obj = ready.cluster.objects[path]
            claim = {
                "trigger": "Annotation",
                "request": "now",
                "fromVersionId": obj["status"]["currentVersionId"],
                "versionId": "of-the-other",
                "startedAt": "2026-11-29T00:00:00Z",
            }
            claims.append(claim)
            ready.cluster.put(path, obj | {"status": obj["status"] | {"rotation": claim}})

    ready.aws.before_call = claims_first
    ready.ask("now")
    with pytest.raises(RetryLater, match="another operator wrote the status"):
        ready.reconcile()
    assert ready.status()["rotation"]["versionId"] == "of-the-other"
    assert "PutSecretValue" not in ready.aws.operations()


def test_host_that_is_never_connected_to_is_told_as_a_wrong_value(operator: FakeOperator) -> None:
    with_admin(operator)
    secret = next(iter(operator.aws.secrets.values()))
    secret.put(operator.credential(host="127.0.0.1"), "loopback")
    operator.apply(SPEC)
    with pytest.raises(RetryLater):
        operator.reconcile()
    assert operator.condition()[:2] == ("False", "InvalidSecretValue")
    assert "127.0.0.1" in operator.condition()[2]


def test_check_that_fails_rolls_back_and_is_told(ready: FakeOperator) -> None:
    ready.apply(changed(SPEC, rotation={"verifyQueries": ["SELECT 1"]}))
    ready.settle()

    def spoils(statement: str) -> None:
        ready.server().failing_queries = True
        ready.server().before_statement = lambda _: None

    ready.server().before_statement = spoils
    ready.ask("now")
    ready.reconcile()
    assert ready.condition("Rotated")[:2] == ("False", "RolledBack")
    assert ready.server().passwords["app"] == "first"
    assert "RolledBack" in ready.events.reasons


def test_old_look_at_the_target_is_taken_again_before_a_rotation_goes_on(
    ready: FakeOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run may wait long for its database: what pods hold is read again before the password changes."""
    clock, waited = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock() + waited[0])

    def edited_meanwhile(method: str, path: str) -> None:
        if path.endswith("/status") and not waited[0]:
            waited[0] = 100.0
            ready.cluster.put(SECRET, ready.cluster.objects[SECRET] | {"data": {"password": "eHh4"}})

    ready.cluster.after_write = edited_meanwhile
    ready.ask("now")
    ready.reconcile()
    assert ready.condition("Rotated")[0] == "True"
    reasons = ready.events.reasons
    assert reasons.index("SecretDriftRepaired") < reasons.index("RotationSucceeded")
