"""Computes what users see: the status at the end of a run, and the Events between two statuses. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from rotated_secrets.api.observed_requests import with_observed
from rotated_secrets.api.rollout import Workload
from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.status import (
    Claim,
    ConditionType,
    HistoryEntry,
    Outcome,
    Reason,
    Retiring,
    RotatedSecretStatus,
    Step,
)
from rotated_secrets.delivery.restart import Restart, RestartKind
from rotated_secrets.delivery.target import TargetKind, TargetState
from rotated_secrets.observability.event_reasons import EventReason
from rotated_secrets.rotation.actions import Hold, Retry, Waiting
from rotated_secrets.rotation.observation import Login, Observation, Terms
from rotated_secrets.rotation.policies import ATTEMPTS, VERIFY_EVERY, next_attempt
from rotated_secrets.rotation.ports import PasswordSet
from rotated_secrets.rotation.rollout import failed_restarts, with_rollout_recorded
from rotated_secrets.rotation.stalled import with_stalled
from rotated_secrets.rotation.state import state_of
from rotated_secrets.rotation.strategies import is_known_user
from rotated_secrets.rotation.working_version import advice
from rotated_secrets.values import VersionId

STEP_FAILED = {
    Step.CREATE: Reason.CREATE_FAILED,
    Step.SET: Reason.SET_FAILED,
    Step.TEST: Reason.TEST_FAILED,
    Step.FINISH: Reason.FINISH_FAILED,
}


@dataclass(frozen=True)
class Finding:
    """The content of one condition: whether it is true (None: unknown), why, and what to do."""

    status: bool | None
    reason: Reason
    message: str


def final_status(
    seen: Observation, terms: Terms, waiting: Waiting, *, generation: int, now: datetime
) -> RotatedSecretStatus:
    """Return the status after a run that ended with ``waiting``."""
    credential = seen.credential
    synced = synced_finding(seen)
    due = next_attempt(seen, terms)
    handled = seen.status.handled_requests
    if not isinstance(waiting, Retry) and seen.login is not Login.UNREACHABLE:
        handled = handled.model_copy(update={"resync": terms.resync or handled.resync})
    status = seen.status.model_copy(
        update={
            "handled_requests": handled,
            "engine": credential.engine if credential else None,
            "active_user": _active_user(seen, terms),
            "current_version_id": seen.current_id,
            "synced_version_id": seen.target.version_id if seen.target else None,
            "last_login_time": _last_login(seen, now),
            "next_rotation_time": due.replace(microsecond=0) if due else None,
        }
    )
    status = with_observed(with_rollout_recorded(status, seen, terms), terms.request, terms.resync)
    findings = {
        ConditionType.READY: ready_finding(seen, terms, synced),
        ConditionType.SYNCED: synced,
        ConditionType.ROTATED: _rotated(seen.status, waiting),
        ConditionType.HELD: (
            Finding(True, waiting.reason, waiting.message)
            if isinstance(waiting, Hold)
            else Finding(False, Reason.NOT_HELD, "no rotation is held")
        ),
    }
    return with_findings(status, findings, generation=generation, now=now)


def _last_login(seen: Observation, now: datetime) -> datetime | None:
    """When AWSCURRENT last logged in. Not written more often than it is needed."""
    last = seen.status.last_login_time
    if seen.login is not Login.WORKS or (last is not None and now - last < VERIFY_EVERY / 4):
        return last
    return now.replace(microsecond=0)


def _active_user(seen: Observation, terms: Terms) -> str | None:
    """The user of AWSCURRENT, once a login has shown that this is what the value's ``username`` is."""
    user = seen.credential.username if seen.credential else ""
    return user if user and is_known_user(terms.rotation, seen, user) else None


def with_findings(
    status: RotatedSecretStatus, findings: dict[ConditionType, Finding], *, generation: int, now: datetime
) -> RotatedSecretStatus:
    """Return the status with these conditions changed."""
    status = status.model_copy(update={"observed_generation": generation})
    for kind, finding in findings.items():
        status = status.with_condition(
            kind, finding.status, finding.reason, finding.message, now=now, generation=generation
        )
    status = with_stalled(status, now=now, generation=generation)
    return status.model_copy(update={"state": state_of(status)})


def ready_finding(seen: Observation, terms: Terms, synced: Finding) -> Finding:
    """Return the condition Ready, by what was seen and what Synced is."""
    if seen.obstacle is not None:
        return Finding(False, seen.obstacle.reason, seen.obstacle.message)
    if terms.has_database and seen.login is Login.REJECTED:
        return Finding(
            False,
            Reason.LOGIN_FAILED,
            f"{seen.login_message}; the target Secret is left unchanged; {advice(seen, terms)}",
        )
    if seen.missing_rights:
        missing = "; ".join(seen.missing_rights)
        return Finding(False, Reason.RIGHTS_MISSING, f"AWSCURRENT logs in without the rights of its user: {missing}")
    if not synced.status:
        return Finding(synced.status, Reason.SYNC_FAILED, synced.message)
    if terms.has_database and seen.login is Login.UNREACHABLE and (seen.proven or _was_unknown(seen)):
        why = f"AWSCURRENT logged in before, and the database does not answer now: {seen.login_message}"
        return Finding(None, Reason.LOGIN_FAILED, why)
    if terms.has_database and not seen.proven:
        return Finding(
            False, Reason.LOGIN_FAILED, f"AWSCURRENT has not logged in successfully yet: {seen.login_message}"
        )
    return Finding(True, Reason.CREDENTIAL_WORKS, "AWSCURRENT works and is delivered")


def _was_unknown(seen: Observation) -> bool:
    ready = seen.status.condition(ConditionType.READY)
    return ready is not None and ready.status == "Unknown" and seen.status.current_version_id == seen.current_id


def synced_finding(seen: Observation) -> Finding:
    """Return the condition Synced, by what was seen."""
    target = seen.target
    if target is None:
        return Finding(True, Reason.NOTHING_TO_DELIVER, "target.creationPolicy is None: no Secret is written")
    if target.kind is TargetKind.EQUAL:
        old = [f"{workload}: {restart.message}" for workload, restart in failed_restarts(seen)]
        behind = f"; not restarted for it: {'; '.join(old)}" if old else ""
        return Finding(True, Reason.UP_TO_DATE, f"the target Secret holds version {seen.current_id}{behind}")
    if target.kind is TargetKind.CONFLICT:
        return Finding(False, target.reason or Reason.SECRET_CONFLICT, target.message)
    if seen.login is Login.UNREACHABLE:
        why = "AWSCURRENT is a version that was rolled back, and the database does not answer, so it was not delivered"
        return Finding(False, Reason.LOGIN_FAILED, why)
    return Finding(False, Reason.LOGIN_FAILED, "AWSCURRENT does not log in, so it was not delivered")


def _rotated(status: RotatedSecretStatus, waiting: Waiting) -> Finding:
    claim, last = status.rotation, next(iter(status.history), None)
    if claim is not None and isinstance(waiting, Retry):
        return tried_again(claim, waiting.message)
    if claim is not None and claim.failure is not None:
        return Finding(False, STEP_FAILED[claim.step], claim.failure)
    if claim is not None and claim.asked_at is not None:
        return Finding(None, Reason.ROTATING, claim.message)
    if claim is not None and claim.attempt == 1:
        return Finding(None, Reason.ROTATING, f"attempt {claim.attempt} is at {claim.step}")
    if claim is None and status.retiring is not None and isinstance(waiting, Retry):
        return Finding(False, Reason.RETIRE_FAILED, f"{waiting.message}; it is tried again")
    if last is None:
        return Finding(None, Reason.NEVER_ROTATED, "no rotation has been due since this resource was created")
    return _outcome(last)


def tried_again(claim: Claim, message: str) -> Finding:
    """Return what a rotation says whose step could not be done now; one that is rolled back says first why it is."""
    if claim.failure not in (None, message):
        message = f"{claim.failure}; it is being rolled back: {message}"
    again = "" if "it is tried again" in message else "; it is tried again"
    return Finding(False, STEP_FAILED[claim.step], f"{message}{again}")


def _outcome(entry: HistoryEntry) -> Finding:
    match entry.outcome:
        case Outcome.SUCCEEDED:
            return Finding(True, Reason.ROTATION_SUCCEEDED, entry.message)
        case Outcome.ROLLED_BACK:
            return Finding(False, Reason.ROLLED_BACK, f"attempt {entry.attempt} at {entry.step}: {entry.message}")
        case Outcome.ABANDONED:
            return Finding(False, Reason.ABANDONED, entry.message)
        case Outcome.FAILED:
            return Finding(False, STEP_FAILED[entry.step], f"attempt {entry.attempt}: {entry.message}")


@dataclass(frozen=True)
class NewEvent:
    """An Event to record."""

    reason: EventReason
    message: str


def events_for_status(
    before: RotatedSecretStatus, after: RotatedSecretStatus, strategy: Strategy
) -> Iterator[NewEvent]:
    """Return what happened to the rotation between two statuses."""
    was, claim = before.rotation, after.rotation
    if claim is not None and (was is None or was.started_at != claim.started_at):
        yield NewEvent(
            EventReason.ROTATION_STARTED,
            f"{claim.trigger}: attempt {claim.attempt} creates version {claim.version_id} from {claim.from_version_id}",
        )
    if len(after.history) > 0 and (not before.history or after.history[0] != before.history[0]):
        last = after.history[0]
        yield from _events_for_history(last, over=claim is None or last.attempt >= ATTEMPTS)
    if before.retiring is not None and after.retiring is None and after.history == before.history:
        yield _event_for_retirement(before.retiring, strategy)
    yield from _events_for_hold(before, after)


def _event_for_retirement(old: Retiring, strategy: Strategy) -> NewEvent:
    which = f"the password of version {old.version_id} for user {old.user}"
    if strategy in (Strategy.EXTERNAL, Strategy.RANDOM_VALUE):
        return NewEvent(
            EventReason.OLD_PASSWORD_LEFT,
            f"{which} may still work: {strategy} changes nothing in the database; remove it there",
        )
    return NewEvent(EventReason.OLD_PASSWORD_RETIRED, f"{which} no longer works")


def _events_for_history(entry: HistoryEntry, *, over: bool) -> Iterator[NewEvent]:
    whose = f"of user {entry.user} " if entry.user else ""
    took = (entry.finished_at - entry.started_at).total_seconds()
    match entry.outcome:
        case Outcome.SUCCEEDED:
            yield NewEvent(EventReason.ROTATION_SUCCEEDED, f"rotation {whose}took {took:.1f} s; {entry.message}")
            return
        case Outcome.ROLLED_BACK:
            yield NewEvent(EventReason.ROLLED_BACK, f"rotation {whose}was rolled back at {entry.step}: {entry.message}")
        case Outcome.ABANDONED:
            yield NewEvent(EventReason.ROTATION_ABANDONED, f"rotation {whose}was abandoned: {entry.message}")
        case Outcome.FAILED if not over:
            yield NewEvent(EventReason.ROTATION_FAILED, f"attempt {entry.attempt} failed: {entry.message}")
    if over and entry.outcome is not Outcome.ABANDONED:
        yield NewEvent(EventReason.ROTATION_FAILED, f"rotation {whose}failed at {entry.step}: {entry.message}")


def _events_for_hold(before: RotatedSecretStatus, after: RotatedSecretStatus) -> Iterator[NewEvent]:
    was, held = before.condition(ConditionType.HELD), after.condition(ConditionType.HELD)
    was_held, is_held = (found is not None and found.status == "True" for found in (was, held))
    if held is not None and is_held and (not was_held or (was is not None and was.reason != held.reason)):
        yield NewEvent(EventReason.ROTATION_HELD, held.message)
    if was is not None and was_held and not is_held:
        yield NewEvent(EventReason.ROTATION_RESUMED, f"no longer held ({was.reason})")


def event_for_sync(before: TargetState, current: VersionId, *, spec_changed: bool) -> NewEvent:
    """Return the Event for a write of the target Secret; ``spec_changed`` says that the resource itself was edited."""
    if not spec_changed and before.kind is TargetKind.DIFFERS and before.version_id == current:
        return NewEvent(EventReason.SECRET_DRIFT_REPAIRED, f"{before.message}; corrected")
    return NewEvent(EventReason.SECRET_SYNCED, f"the target Secret holds version {current}")


def event_for_restart(workload: Workload, version_id: VersionId, restart: Restart) -> NewEvent | None:
    """Return the Event for a restart of a workload; None if there was nothing to do."""
    match restart.kind:
        case RestartKind.UNCHANGED:
            return None
        case RestartKind.RESTARTED:
            but = f"; {restart.message}" if restart.message else ""
            return NewEvent(EventReason.ROLLOUT_RESTARTED, f"{workload} restarts with version {version_id}{but}")
    return NewEvent(
        EventReason.ROLLOUT_FAILED, f"{workload} was not restarted for version {version_id}: {restart.message}"
    )


def event_for_ignored_times(fields: Sequence[str]) -> NewEvent:
    """Return the Event for times in the status that were in the future."""
    return NewEvent(
        EventReason.TIMES_IGNORED,
        f"in the future, and replaced: {', '.join(fields)}; a replica's clock was wrong, or someone edited the status: "
        "check the time of the nodes that the operator runs on",
    )


def events_for_rights(report: PasswordSet) -> Iterator[NewEvent]:
    """Return the Events for rights that setSecret repaired, and for those that still differ."""
    if report.rights.repaired:
        yield NewEvent(EventReason.RIGHTS_REPAIRED, "; ".join(report.rights.repaired))
    if report.rights.remaining:
        yield NewEvent(EventReason.RIGHTS_DIFFER, "; ".join(report.rights.remaining))
