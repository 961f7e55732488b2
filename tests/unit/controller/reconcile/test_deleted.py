"""A RotatedSecret is deleted in the middle of its rotation: the rotation is ended, and nobody is locked out."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from rotated_secrets.api.key import Key
from rotated_secrets.cluster import Unreachable
from rotated_secrets.controller.process.leader import LeadershipLost
from rotated_secrets.controller.reconcile import deleted
from rotated_secrets.controller.reconcile.wake_ups import RECHECK
from rotated_secrets.controller.work.queue import RetryLater
from rotated_secrets.controller.work.scheduler import utc_now
from rotated_secrets.rotation.policies import MOST_UNFINISHED
from rotated_secrets.secretstores.base import AccessDenied, SecretNotFound
from rotated_secrets.values import Stage
from tests.support.fake_operator import KEY, SPEC, FakeOperator, changed, killed_at, path_of, with_admin

JOURNAL = "/api/v1/namespaces/here/configmaps"
ENTRY = f"{JOURNAL}/rotated-secrets-uid-of-orders"
SECRET = "/api/v1/namespaces/shop/secrets/orders"
STATUS = f"{path_of(KEY)}/status"


@pytest.fixture
def ready(operator: FakeOperator) -> FakeOperator:
    with_admin(operator).apply(SPEC)
    operator.settle()
    assert operator.condition()[0] == "True"
    return operator


def pending(operator: FakeOperator) -> list[str]:
    stages = operator.aws.find("shop/orders").stages
    return [version for version, labels in stages.items() if Stage.PENDING in labels]


def journal(operator: FakeOperator) -> list[str]:
    return [path for path in operator.cluster.objects if path.startswith(JOURNAL)]


def value(operator: FakeOperator) -> dict[str, Any]:
    return dict(operator.aws.find("shop/orders").current.value.fields or {})


def logs_in(operator: FakeOperator, credential: Mapping[str, Any]) -> bool:
    return operator.server().passwords[credential["username"]] == str(credential["password"])


def delivered(operator: FakeOperator) -> dict[str, str]:
    target = operator.target()
    assert target is not None
    return {key: base64.b64decode(text).decode() for key, text in target["data"].items()}


def in_order(operator: FakeOperator) -> None:
    assert pending(operator) == []
    assert journal(operator) == []
    assert logs_in(operator, value(operator))
    if operator.target() is not None:
        assert logs_in(operator, delivered(operator))


def test_entry_is_there_before_the_first_side_effect_and_gone_after_the_last(ready: FakeOperator) -> None:
    at: list[tuple[str, list[str]]] = []
    ready.aws.before_call = lambda called, asked: at.append((called, journal(ready)))
    before = len(ready.cluster.requests)
    ready.ask("now")
    ready.reconcile()
    seen = dict(at)
    assert seen["PutSecretValue"] == [ENTRY]
    assert seen["UpdateSecretVersionStage"] == [ENTRY]
    writes = [(method, path) for method, path in ready.cluster.requests[before:] if method != "GET"]
    assert writes.index(("POST", JOURNAL)) < writes.index(("PATCH", STATUS))
    assert writes[-2:] == [("PATCH", STATUS), ("DELETE", ENTRY)], "the claim has ended before"
    in_order(ready)


def test_only_what_a_rotation_depends_on_is_written_before_its_end(ready: FakeOperator) -> None:
    """The claim, the intent to set, and the end: a step that only people would read has no request of its own."""
    before = len(ready.cluster.writes)
    ready.ask("now")
    ready.reconcile()
    writes = [(method, path) for method, path in ready.cluster.writes[before:] if "/events" not in path]
    assert writes == [
        ("POST", JOURNAL),
        ("PATCH", STATUS),
        ("PATCH", STATUS),
        ("PUT", SECRET),
        ("PATCH", STATUS),
        ("DELETE", ENTRY),
    ]


def test_password_is_not_changed_while_the_entry_cannot_be_written(ready: FakeOperator) -> None:
    ready.cluster.forbidden.add(("POST", JOURNAL))
    ready.ask("now")
    before = value(ready)
    with pytest.raises(Exception, match="403"):
        ready.reconcile()
    assert logs_in(ready, before) and pending(ready) == []


@pytest.mark.parametrize("strategy", ["SingleUser", "AlternatingUsers", "DualPassword"])
@pytest.mark.parametrize("operation", ["PutSecretValue", "UpdateSecretVersionStage"])
def test_deleted_while_no_operator_runs(operator: FakeOperator, strategy: str, operation: str) -> None:
    with_admin(operator).apply(changed(SPEC, rotation={"strategy": strategy}))
    operator.settle()
    before = value(operator)
    later = killed_at(operator, operation)
    later.delete()
    later.reconcile()
    in_order(later)
    assert value(later) == before, "what pods hold is what it was"


def test_deleted_after_its_password_was_set_and_before_any_call_is_answered(ready: FakeOperator) -> None:
    """The status says that the password is being set; the database has it."""
    later = killed_at(ready, "UpdateSecretVersionStage")
    assert not logs_in(later, value(later)), "the application is locked out"
    assert len(pending(later)) == 1
    later.delete()
    later.reconcile()
    in_order(later)
    assert "RolledBack" in later.events.reasons


def test_deleted_after_awscurrent_has_moved_delivers_what_logs_in(ready: FakeOperator) -> None:
    later = killed_before_put(ready)
    assert not logs_in(later, delivered(later))
    later.delete()
    later.reconcile()
    in_order(later)


@pytest.mark.parametrize("references", [[], [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "uid-of-x"}]])
def test_secret_that_was_orphaned_is_not_tied_to_what_is_gone(
    ready: FakeOperator, references: list[dict[str, str]]
) -> None:
    """``kubectl delete --cascade=orphan``: the garbage collector would delete a Secret whose owner does not exist."""
    later = killed_before_put(ready)
    later.delete()
    later.cluster.objects[SECRET]["metadata"]["ownerReferences"] = references
    later.reconcile()
    in_order(later)
    assert later.cluster.objects[SECRET]["metadata"]["ownerReferences"] == references


def test_secret_goes_with_what_was_deleted_and_not_orphaned(ready: FakeOperator) -> None:
    later = killed_before_put(ready)
    later.delete()
    before = later.cluster.objects[SECRET]["metadata"]["ownerReferences"]
    later.reconcile()
    assert [each["uid"] for each in before] == ["uid-of-orders"]
    assert later.cluster.objects[SECRET]["metadata"]["ownerReferences"] == before


def killed_before_put(operator: FakeOperator) -> FakeOperator:
    """Kill the operator once AWSCURRENT has moved, before the target Secret is written."""
    operator.cluster.forbidden.add(("PUT", SECRET))
    operator.ask("now")
    with pytest.raises(RetryLater):
        operator.reconcile()
    operator.cluster.forbidden.clear()
    return operator.restarted()


def test_deleted_while_the_operator_works(ready: FakeOperator) -> None:
    """Its run goes on until it has to write the status of what is gone."""

    def delete(statement: str) -> None:
        ready.server().before_statement = lambda statement: None
        ready.delete()

    ready.server().before_statement = delete
    ready.ask("now")
    with pytest.raises(RetryLater, match="is gone"):
        ready.reconcile()
    ready.reconcile()
    in_order(ready)


def test_target_secret_that_is_gone_is_not_created_again(ready: FakeOperator) -> None:
    """As in a namespace that is being deleted: the API server refuses to create anything there."""
    later = killed_before_put(ready)
    later.delete()
    del later.cluster.objects[SECRET]
    later.reconcile()
    assert later.target() is None
    in_order(later)


def test_deletion_that_waits_for_others_does_not_delay_the_end(ready: FakeOperator) -> None:
    """With a finalizer of another controller, or in the foreground."""
    later = killed_at(ready, "UpdateSecretVersionStage")
    obj = later.cluster.objects[path_of(KEY)]
    obj["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"
    later.reconcile()
    in_order(later)


def test_created_again_under_the_same_name_with_another_strategy(ready: FakeOperator) -> None:
    """The rotation of the one before is ended by the settings that it began with."""
    later = killed_at(ready, "UpdateSecretVersionStage")
    later.delete()
    later.apply(changed(SPEC, rotation={"strategy": "AlternatingUsers"}), uid="another")
    later.settle()
    in_order(later)
    assert later.condition()[0] == "True"
    assert set(later.server().passwords) == {"app", "admin"}


def test_successor_is_looked_at_although_the_rotation_before_cannot_be_ended(ready: FakeOperator) -> None:
    later = killed_at(ready, "UpdateSecretVersionStage")
    later.delete()
    entry = later.cluster.objects[ENTRY]["data"]
    kept = json.loads(entry["rotatedSecret"])
    kept["spec"]["rotation"]["adminSecretId"] = "shop/admin/no-longer-there"
    entry["rotatedSecret"] = json.dumps(kept)
    later.apply(SPEC, uid="another")
    again = later.reconcile()
    assert again is not None
    assert later.condition()[0] == "True"
    assert pending(later) == [] and logs_in(later, value(later))
    later.reconcile()
    in_order(later)


@pytest.mark.parametrize("moved", [False, True])
def test_another_rotated_secret_on_the_same_secret_does_not_stop_it(ready: FakeOperator, moved: bool) -> None:
    later = killed_before_put(ready) if moved else killed_at(ready, "UpdateSecretVersionStage")
    later.apply(SPEC, key=type(KEY)("shop", "other"), creationTimestamp="2026-01-03T00:00:00Z")
    later.delete()
    later.reconcile()
    in_order(later)


def test_replica_that_lost_the_lead_does_not_tell_that_it_gave_up(
    ready: FakeOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = killed_at(ready, "UpdateSecretVersionStage")
    later.delete()
    denied(later)
    monkeypatch.setattr(deleted, "GIVE_UP_AFTER", timedelta())
    monkeypatch.setattr(deleted, "TRY_FOR", 0.0)
    before = len(later.events.recorded)
    later.leader.leads = False
    with pytest.raises(LeadershipLost):
        later.reconcile()
    assert journal(later) == [ENTRY]
    assert len(later.events.recorded) == before


def test_secret_that_is_gone_too_leaves_nothing_to_end(ready: FakeOperator) -> None:
    later = killed_at(ready, "UpdateSecretVersionStage")
    later.delete()

    def gone(called: str, asked: str) -> None:
        raise SecretNotFound(f"{asked} does not exist")

    later.aws.before_call = gone
    later.reconcile()
    assert journal(later) == []


def denied(operator: FakeOperator) -> Callable[[], None]:
    def deny(called: str, asked: str) -> None:
        raise AccessDenied(f"allow secretsmanager:{called}")

    operator.aws.before_call = deny
    return lambda: setattr(operator.aws, "before_call", lambda called, asked: None)


def test_what_cannot_be_ended_now_is_tried_again(ready: FakeOperator) -> None:
    later = killed_at(ready, "UpdateSecretVersionStage")
    later.delete()
    allowed_again = denied(later)
    with pytest.raises(RetryLater, match=r"shop/orders, which was deleted, could not be ended yet: allow"):
        later.reconcile()
    assert journal(later) == [ENTRY]
    allowed_again()
    later.reconcile()
    in_order(later)


@pytest.mark.parametrize("direction", [1, -1])
def test_what_cannot_be_ended_for_a_day_is_given_up_and_told(
    ready: FakeOperator, monkeypatch: pytest.MonkeyPatch, direction: int
) -> None:
    """A rotation that began in the future, by a wrong clock, is not tried for ever either."""
    later = killed_at(ready, "UpdateSecretVersionStage")
    later.delete()
    denied(later)
    day, boot = utc_now() + direction * (deleted.GIVE_UP_AFTER + timedelta(minutes=1)), [0.0]
    monkeypatch.setattr(deleted, "utc_now", lambda: day)
    monkeypatch.setattr(deleted, "seconds_since_boot", lambda: boot[0])
    for boot[0] in (0.0, deleted.TRY_FOR - 1):
        with pytest.raises(RetryLater):
            later.reconcile()
    boot[0] = deleted.TRY_FOR + 1
    later.reconcile()
    assert journal(later) == []
    reason, message = later.events.recorded[-1]
    assert reason == "RotationAbandoned"
    assert "aws secretsmanager describe-secret --secret-id shop/orders" in message and "allow secret" in message


def test_what_began_a_short_time_ago_is_tried_on(ready: FakeOperator, monkeypatch: pytest.MonkeyPatch) -> None:
    later = killed_at(ready, "UpdateSecretVersionStage")
    later.delete()
    denied(later)
    boot = [0.0]
    monkeypatch.setattr(deleted, "seconds_since_boot", lambda: boot[0])
    for boot[0] in (0.0, 2 * deleted.TRY_FOR):
        with pytest.raises(RetryLater):
            later.reconcile()
    assert journal(later) == [ENTRY]


def test_entry_that_could_not_be_removed_is_removed_at_the_next_write(ready: FakeOperator) -> None:
    ready.cluster.forbidden.add(("DELETE", JOURNAL))
    ready.ask("now")
    with pytest.raises(Exception, match="403"):
        ready.reconcile()
    ready.cluster.forbidden.clear()
    ready.services.observed.invalidate(KEY)
    ready.reconcile()
    in_order(ready)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"metadata": {}}', '{"metadata": {"namespace": "shop"}}'])
def test_config_map_that_is_no_entry_is_removed(ready: FakeOperator, text: str) -> None:
    later = killed_at(ready, "UpdateSecretVersionStage")
    later.delete()
    later.cluster.objects[ENTRY]["data"] = {"rotatedSecret": text}
    later.reconcile()
    assert journal(later) == []


def test_api_server_that_is_away_when_an_entry_is_written_stops_the_rotation(
    ready: FakeOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise Unreachable("POST: no answer in time")

    ready.ask("now")
    with monkeypatch.context() as patched:
        patched.setattr(ready.services.journal, "open", away)
        with pytest.raises(RetryLater, match="no answer in time"):
            ready.reconcile()
    assert "RotationFailed" not in ready.events.reasons
    assert pending(ready) == [] and ready.status().get("rotation") is None
    ready.settle()
    in_order(ready)


def test_namespace_that_left_too_many_rotations_unfinished_begins_no_other_until_some_have_ended(
    ready: FakeOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [Key("shop", f"gone-{number}") for number in range(MOST_UNFINISHED)]
    for key in left:
        name = f"{ENTRY}-{key.name}"
        entry = {"metadata": {"labels": {"rotatedsecrets.io/journal": "rotated-secrets"}}}
        entry["metadata"]["annotations"] = {"rotatedsecrets.io/owner": str(key)}
        ready.cluster.put(name, entry)
    later = ready.restarted()
    later.ask("now")
    before = len(journal(later))
    later.settle()
    status, reason, message = later.condition("Held")
    assert (status, reason) == ("True", "TooManyRequests")
    assert f"{MOST_UNFINISHED} rotations of this namespace whose RotatedSecrets were deleted" in message
    assert len(journal(later)) == before and later.status().get("rotation") is None
    later.reconcile(left[0])  # it is no entry at all, and so removed
    now = utc_now()
    for module in ("reconciler", "deleted", "target_secret"):
        monkeypatch.setattr(
            f"rotated_secrets.controller.reconcile.{module}.utc_now", lambda: now + RECHECK, raising=False
        )
    monkeypatch.setattr("rotated_secrets.controller.look.gather.utc_now", lambda: now + RECHECK)
    later.settle()
    assert later.condition("Held")[0] == "False"
    assert later.condition("Rotated")[1] == "RotationSucceeded"
    assert len(journal(later)) == before - 1


def test_unfinished_rotations_of_another_namespace_hold_nothing(ready: FakeOperator) -> None:
    for number in range(MOST_UNFINISHED):
        entry = {"metadata": {"labels": {"rotatedsecrets.io/journal": "rotated-secrets"}}}
        entry["metadata"]["annotations"] = {"rotatedsecrets.io/owner": f"stranger/gone-{number}"}
        ready.cluster.put(f"{ENTRY}-{number}", entry)
    later = ready.restarted()
    later.ask("now")
    later.settle()
    assert later.condition("Rotated")[1] == "RotationSucceeded"


def test_long_templates_delay_no_end(ready: FakeOperator) -> None:
    """The entry has no place for them, and the Secret needs nothing while AWSCURRENT has not moved."""
    ready.apply(changed(SPEC, target={"template": {"URL": "{{ password }}" + "x" * 60_000}}))
    ready.settle()
    later = killed_at(ready, "UpdateSecretVersionStage")
    later.delete()
    later.reconcile()
    in_order(later)
    assert delivered(later)["URL"].startswith(value(later)["password"])
