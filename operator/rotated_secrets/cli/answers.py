"""What came of a request: a line for a person, a record for a program, an exit code for a script. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from rich.text import Text

from rotated_secrets.cli import moments, records
from rotated_secrets.cli.progress import (
    Behind,
    Blocked,
    Ill,
    Looked,
    Progress,
    Replaced,
    Retrying,
    Rotated,
    Running,
    Unseen,
    Unusable,
)
from rotated_secrets.cli.screen import Tone
from rotated_secrets.cli.seen import Attempt, Seen
from rotated_secrets.cli.standing import BAD_SIGN, GOOD_SIGN, WAITING_SIGN


class Outcome(StrEnum):
    """How waiting for a request ended."""

    ASKED = "Asked"
    SUCCEEDED = "Succeeded"
    READY = "Ready"
    NOT_READY = "NotReady"
    FAILED = "Failed"
    ROLLED_BACK = "RolledBack"
    ABANDONED = "Abandoned"
    HELD = "Held"
    TIMED_OUT = "TimedOut"
    DELETED = "Deleted"
    REPLACED = "Replaced"
    INTERRUPTED = "Interrupted"


DONE, FAILED, HELD, INTERRUPTED = 0, 1, 2, 130
_GOOD = frozenset({Outcome.ASKED, Outcome.SUCCEEDED, Outcome.READY})
_CODES = {Outcome.HELD: HELD, Outcome.INTERRUPTED: INTERRUPTED} | dict.fromkeys(_GOOD, DONE)


@dataclass(frozen=True)
class Answer:
    """What came of the request for one RotatedSecret."""

    namespace: str
    name: str
    request: str | None
    """The annotation's value; None where nothing was asked for."""
    outcome: Outcome
    message: str
    attempt: Attempt | None = None

    @property
    def is_good(self) -> bool:
        return self.outcome in _GOOD

    def line(self) -> Text:
        """For a person."""
        sign, tone = (GOOD_SIGN, Tone.GOOD) if self.is_good else (BAD_SIGN, Tone.BAD)
        if self.outcome in (Outcome.HELD, Outcome.INTERRUPTED):
            sign, tone = WAITING_SIGN, Tone.WAITING
        return Text.assemble((f"{sign} ", tone), (f"{self.namespace}/{self.name}", Tone.STRONG), f" {self.message}")

    def record(self) -> dict[str, Any]:
        """For a program."""
        return {
            "namespace": self.namespace,
            "name": self.name,
            "request": self.request,
            "outcome": self.outcome.value,
            "message": self.message,
            "rotation": records.attempt(self.attempt) if self.attempt else None,
        }


def exit_code(answers: Iterable[Answer]) -> int:
    """The worst of them: interrupted, failed, held, done."""
    codes = {_CODES.get(each.outcome, FAILED) for each in answers}
    return next((code for code in (INTERRUPTED, FAILED, HELD) if code in codes), DONE)


def final(progress: Progress, *, quiet: float, patience: float) -> tuple[Outcome, str, Attempt | None] | None:
    """What a request has come to; None where it may still come to something else.

    ``quiet`` is for how many seconds nothing has changed. What may be old counts after ``patience`` of them.
    """
    match progress:
        case Rotated(attempt, told) if told or quiet >= patience:
            return _rotated(attempt)
        case Looked(ready) if ready is not None and ready.holds:
            return Outcome.READY, f"was looked at anew and is Ready: {ready.message}", None
        case Looked(ready):
            why = f"{ready.reason}: {ready.message}" if ready else "nothing is known of it"
            return Outcome.NOT_READY, f"was looked at anew and is not Ready, {why}", None
        case Blocked(reason, message, new) if new or quiet >= patience:
            return Outcome.HELD, f"waits, {reason}: {message.removeprefix('held: ')}", None
        case Unusable(reason, message, new) if new or quiet >= patience:
            return Outcome.NOT_READY, f"is not Ready, {reason}: {message}", None
        case Replaced():
            return Outcome.REPLACED, "was asked for again by somebody else, and that request counts", None
    return None


def _rotated(attempt: Attempt) -> tuple[Outcome, str, Attempt]:
    took = f" in {moments.short(attempt.took)}" if attempt.took is not None else ""
    if attempt.succeeded:
        user = f"active user {attempt.user}, " if attempt.user else ""
        return Outcome.SUCCEEDED, f"rotated{took}: {user}version {attempt.version_id}", attempt
    outcome = Outcome(attempt.outcome) if attempt.outcome in set(Outcome) else Outcome.FAILED
    return outcome, f"was not rotated ({outcome} at {attempt.step}): {attempt.message}", attempt


def status_line(progress: Progress) -> str:
    """What happens now, where there is something to say."""
    match progress:
        case Behind(claim):
            return f"waits for another rotation to end ({claim.trigger}), which is at {claim.step}"
        case Running(claim, trouble):
            which = f", attempt {claim.attempt}" if claim.attempt > 1 else ""
            return f"{claim.step}{which}{f': {trouble}' if trouble else ''}"
        case Retrying(attempt, failed, at):
            why = f"attempt {attempt - 1} failed at {failed.step}: {failed.message}; " if failed else ""
            return f"{why}attempt {attempt} begins {_at(at)}"
        case Blocked(reason, message, _) | Unusable(reason, message, _):
            return f"waits, {reason}: {message.removeprefix('held: ')}"
        case Ill(reason, message):
            return f"was looked at, but {reason}: {message}"
    return ""


def _at(moment: datetime | None) -> str:
    return f"at {moments.exact(moment)} UTC" if moment else "in a moment"


def timed_out(progress: Progress | None, seen: Seen, waited: float, program: str) -> str:
    """That waiting took too long, and where to look."""
    line = status_line(progress) if progress is not None else ""
    if not line:
        return not_picked_up(progress, seen, waited)
    look = f"{program} describe -n {seen.namespace} {seen.name}"
    return f"has not come to an end in {waited:g} s ({line}); it goes on, see {look}"


def not_picked_up(progress: Progress | None, seen: Seen, waited: float) -> str:
    """That nobody seems to be there, and what was wrong before already: nothing new may be said of it."""
    ill = f" (it was not Ready before already, {progress.ill})" if isinstance(progress, Unseen) and progress.ill else ""
    return f"was not picked up in {waited:g} s{ill}; {whereabouts(seen)}"


def unheard(progress: Progress, seen: Seen) -> str:
    """What to add where waiting ends by what was so before the request: nobody may have looked since."""
    if isinstance(progress, Blocked | Unusable) and not progress.new:
        return f"; this was so before it was asked for, and nothing was heard since: {whereabouts(seen)}"
    return ""


def whereabouts(seen: Seen) -> str:
    """How to find out whether an operator runs."""
    return (
        f"is an operator running that serves namespace {seen.namespace}? See "
        "kubectl get deployments -A -l app.kubernetes.io/name=rotated-secrets, and who leads: "
        "kubectl get leases -A --field-selector metadata.name=rotated-secrets"
    )
