"""Messages for a person while a request is pending, and when waiting for it ends without an outcome. Pure."""

from __future__ import annotations

from datetime import datetime

from rotated_secrets.api.names import MANAGED_BY, MANAGED_BY_LABEL
from rotated_secrets.cli import time_format
from rotated_secrets.cli.kube.rotated_secret import RotatedSecretView
from rotated_secrets.cli.requests.progress import (
    Blocked,
    NeedsFix,
    NotPickedUp,
    NotReadyYet,
    Progress,
    Queued,
    Retrying,
    Running,
    TriedAgain,
)


def status_line(progress: Progress) -> str:
    """Say what happens now; empty where there is nothing to say."""
    match progress:
        case Queued(claim):
            return f"waits for another rotation to end ({claim.trigger}), which is at {claim.step}"
        case Running(claim, trouble):
            which = f", attempt {claim.attempt}" if claim.attempt > 1 else ""
            return f"{claim.step}{which}{f': {trouble}' if trouble else ''}"
        case Retrying(attempt, failed, at):
            why = f"attempt {attempt - 1} failed at {failed.step}: {failed.message}; " if failed else ""
            return f"{why}attempt {attempt} begins {_at(at)}"
        case Blocked(reason, message, _) | NeedsFix(reason, message, _):
            return f"waits, {reason}: {message.removeprefix('held: ')}"
        case NotReadyYet(reason, message):
            return f"was checked, but {reason}: {message}"
        case TriedAgain(trouble):
            return f"was seen by the operator, which tries it again{f': {trouble}' if trouble else ''}"
    return ""


def _at(moment: datetime | None) -> str:
    return f"at {time_format.date_and_time(moment)} UTC" if moment else "in a moment"


def timed_out(progress: Progress | None, resource: RotatedSecretView, waited: float, program: str) -> str:
    """Say that the wait has timed out, and where to look next."""
    status = status_line(progress) if progress is not None else ""
    if not status:
        return not_picked_up(progress, resource, waited)
    describe = f"{program} describe -n {resource.namespace} {resource.name}"
    return f"has not ended after {waited:g} s ({status}); it continues, see {describe}"


def not_picked_up(progress: Progress | None, resource: RotatedSecretView, waited: float) -> str:
    """Say that no operator seems to run, and what was wrong with the resource before the request."""
    before = progress.not_ready_before if isinstance(progress, NotPickedUp) else ""
    note = f" (it was already not Ready before, {before})" if before else ""
    return f"was not picked up in {waited:g} s{note}; {operator_hint(resource)}"


def stale_note(progress: Progress, resource: RotatedSecretView) -> str:
    """Say, where a condition from before the request ended the wait, that the operator may not have checked since."""
    if isinstance(progress, Blocked | NeedsFix) and not progress.new:
        return f"; this was so before the request, and the operator has not answered since: {operator_hint(resource)}"
    return ""


def operator_hint(resource: RotatedSecretView) -> str:
    """Say how to find out whether an operator runs."""
    return (
        f"is an operator running that serves namespace {resource.namespace}? See "
        "kubectl get deployments -A -l app.kubernetes.io/name=rotated-secrets, and for the leader: "
        f"kubectl get leases -A -l {MANAGED_BY_LABEL}={MANAGED_BY}"
    )
