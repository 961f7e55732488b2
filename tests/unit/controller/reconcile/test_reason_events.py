"""One Warning Event each time a reason begins, and its line in the log is a warning too."""

from __future__ import annotations

import contextlib
import logging
from datetime import UTC, datetime

import pytest

from rotated_secrets.api.status import ConditionType, Reason, RotatedSecretStatus
from rotated_secrets.cluster import Forbidden
from rotated_secrets.controller.work.queue import RetryLater
from rotated_secrets.observability.event_reasons import WARNINGS, EventReason
from rotated_secrets.rotation.reason_events import events_for_reasons
from rotated_secrets.rotation.report import Finding, with_findings
from rotated_secrets.secretstores.base import AccessDenied, StoreUnavailable
from tests.support.fake_operator import KEY, SPEC, FakeOperator, path_of, with_admin
from tests.support.troubles import (
    OURS,
    SECRET,
    SECRETS,
    Trouble,
    aws,
    password_changed_by_hand,
    request,
    secret_marked_for_deletion,
    secret_of_others,
    spec,
    value,
)

TROUBLES: dict[str, tuple[EventReason, Trouble]] = {
    "a spec that does not parse": (EventReason.INVALID_SPEC, spec(rotation={"strategy": "Unheard"})),
    "a template with an error": (EventReason.INVALID_SPEC, spec(target={"template": {"URL": "{% for %}"}})),
    "a schedule that cannot be followed": (EventReason.INVALID_SPEC, spec(rotation={"schedule": "rate(1 hour)"})),
    "a template that the value does not fit": (
        EventReason.TEMPLATE_FAILED,
        spec(target={"template": {"URL": "{{ nothing }}"}}),
    ),
    "a secret that is marked for deletion": (EventReason.SECRET_NOT_FOUND, secret_marked_for_deletion()),
    "a value without a host": (EventReason.INVALID_SECRET_VALUE, value(host=None)),
    "a secret that the policy denies": (
        EventReason.ACCESS_DENIED,
        spec(source={"secretId": "billing/orders"}),
    ),
    "a denial by AWS": (EventReason.ACCESS_DENIED, aws(AccessDenied("allow it"))),
    "an AWS that is away": (EventReason.STORE_UNAVAILABLE, aws(StoreUnavailable("AWS is away"))),
    "a password that was changed by hand": (EventReason.LOGIN_FAILED, password_changed_by_hand()),
    "a Secret of others": (EventReason.NOT_OURS, secret_of_others()),
    "an immutable Secret": (EventReason.SECRET_CONFLICT, secret_of_others(immutable=True, **OURS)),
    "a Secret of another type": (EventReason.SECRET_TYPE_IMMUTABLE, secret_of_others(type="kubernetes.io/tls", **OURS)),
    "a Secret that may not be written": (
        EventReason.SYNC_FAILED,
        request("POST", SECRETS, Forbidden("no", 403), deletes=SECRET),
    ),
}


def look(operator: FakeOperator) -> None:
    operator.services.observed.invalidate(KEY)
    operator.ask(f"look-{len(operator.cluster.requests)}", annotation="rotatedsecrets.io/resync")
    with contextlib.suppress(RetryLater):
        operator.reconcile()


@pytest.mark.parametrize(("reason", "trouble"), TROUBLES.values(), ids=TROUBLES)
def test_reason_is_told_by_one_warning_each_time_it_begins(
    operator: FakeOperator,
    caplog: pytest.LogCaptureFixture,
    reason: EventReason,
    trouble: Trouble,
) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()
    for times in (1, 2):
        trouble.begin(operator)
        caplog.clear()
        with caplog.at_level(logging.INFO, "rotated_secrets.controller.reconcile"):
            for _ in range(3):
                look(operator)
        assert operator.events.reasons.count(reason) == times
        warned = [each for each in operator.events.recorded if each[0] in WARNINGS]
        assert len(warned) == times, "it is told twice"
        lines = [each for each in caplog.records if each.getMessage().startswith(f"{reason}: ")]
        assert [each.levelno for each in lines] == [logging.WARNING]
        trouble.end(operator)
        look(operator)
        operator.settle()
        assert operator.condition()[0] == "True"


@pytest.mark.parametrize(("reason", "trouble"), TROUBLES.values(), ids=TROUBLES)
def test_reason_of_a_new_resource_is_told(operator: FakeOperator, reason: EventReason, trouble: Trouble) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()
    operator.events.recorded.clear()
    trouble.begin(operator)
    del operator.cluster.objects[path_of(KEY)]["status"]
    look(operator)
    trouble.end(operator)
    assert operator.events.reasons.count(reason) == 1


def test_what_is_normal_is_logged_as_information(operator: FakeOperator, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "rotated_secrets.controller.reconcile"):
        with_admin(operator).apply(SPEC)
        operator.settle()
    lines = [each for each in caplog.records if each.getMessage().startswith("SecretSynced: ")]
    assert [each.levelno for each in lines] == [logging.INFO]


def test_step_that_cannot_be_done_is_told_once_for_each_step(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()
    operator.server().down = True
    operator.ask("now")
    for _ in range(3):
        with pytest.raises(RetryLater):
            operator.reconcile()
    assert operator.events.reasons.count("RotationFailed") == 1
    assert operator.events.reasons.count("LoginFailed") == 1


def conditions(**findings: Finding) -> RotatedSecretStatus:
    found = {ConditionType(kind): finding for kind, finding in findings.items()}
    return with_findings(RotatedSecretStatus(), found, generation=1, now=datetime(2026, 11, 30, tzinfo=UTC))


GOOD = {"Ready": Finding(True, Reason.CREDENTIAL_WORKS, ""), "Synced": Finding(True, Reason.UP_TO_DATE, "")}


def told(before: RotatedSecretStatus, after: RotatedSecretStatus) -> list[tuple[str, str]]:
    return [(each.reason.value, each.message) for each in events_for_reasons(before, after)]


def test_two_conditions_for_one_reason_are_one_event_with_the_words_of_ready() -> None:
    bad = conditions(
        Ready=Finding(False, Reason.LOGIN_FAILED, "run this"),
        Synced=Finding(False, Reason.LOGIN_FAILED, "not delivered"),
    )
    assert told(conditions(**GOOD), bad) == [("LoginFailed", "run this")]
    assert told(bad, bad) == []


def test_secret_that_is_not_delivered_is_told_by_the_reason_of_synced() -> None:
    bad = conditions(
        Ready=Finding(False, Reason.SYNC_FAILED, "theirs"), Synced=Finding(False, Reason.NOT_OURS, "theirs")
    )
    assert told(conditions(**GOOD), bad) == [("NotOurs", "theirs")]


def test_what_becomes_certain_for_the_same_reason_is_no_news() -> None:
    unknown = conditions(**GOOD | {"Ready": Finding(None, Reason.LOGIN_FAILED, "no answer")})
    refused = conditions(**GOOD | {"Ready": Finding(False, Reason.LOGIN_FAILED, "refused")})
    assert told(unknown, refused) == []


def test_another_reason_is_news() -> None:
    first = conditions(**GOOD | {"Ready": Finding(False, Reason.LOGIN_FAILED, "refused")})
    second = conditions(**GOOD | {"Ready": Finding(False, Reason.RIGHTS_MISSING, "lost")})
    assert told(first, second) == [("RightsMissing", "lost")]


def test_every_reason_for_which_ready_or_synced_are_not_true_has_a_warning() -> None:
    good = {Reason.CREDENTIAL_WORKS, Reason.UP_TO_DATE, Reason.NOTHING_TO_DELIVER}
    listed = list(Reason)
    untrue = {*listed[: listed.index(Reason.ROTATION_SUCCEEDED)], Reason.STORE_UNAVAILABLE} - good
    assert untrue <= {Reason(each.value) for each in WARNINGS if each.value in set(Reason)}
