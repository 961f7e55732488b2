"""How a request ended: a line for a person, a record for a program, an exit code for a script. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rich.text import Text

from rotated_secrets.cli import time_format
from rotated_secrets.cli.kube.rotated_secret import Attempt
from rotated_secrets.cli.requests.progress import (
    Blocked,
    NeedsFix,
    Progress,
    Replaced,
    Resynced,
    RotationEnded,
)
from rotated_secrets.cli.view import structured_output
from rotated_secrets.cli.view.printer import Tone
from rotated_secrets.cli.view.state import BAD_SIGN, GOOD_SIGN, WAITING_SIGN


class RequestOutcome(StrEnum):
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
_GOOD = frozenset({RequestOutcome.ASKED, RequestOutcome.SUCCEEDED, RequestOutcome.READY})
_CODES = {RequestOutcome.HELD: HELD, RequestOutcome.INTERRUPTED: INTERRUPTED} | dict.fromkeys(_GOOD, DONE)


@dataclass(frozen=True)
class RequestResult:
    """How the request for one RotatedSecret ended."""

    namespace: str
    name: str
    request: str | None
    """Value of the annotation; None where none was written."""
    outcome: RequestOutcome
    message: str
    attempt: Attempt | None = None

    @property
    def is_good(self) -> bool:
        return self.outcome in _GOOD

    def line(self) -> Text:
        """One line for a person."""
        sign, tone = (GOOD_SIGN, Tone.GOOD) if self.is_good else (BAD_SIGN, Tone.BAD)
        if self.outcome in (RequestOutcome.HELD, RequestOutcome.INTERRUPTED):
            sign, tone = WAITING_SIGN, Tone.WAITING
        return Text.assemble((f"{sign} ", tone), (f"{self.namespace}/{self.name}", Tone.STRONG), f" {self.message}")

    def record(self) -> dict[str, Any]:
        """JSON object for a program."""
        return {
            "namespace": self.namespace,
            "name": self.name,
            "request": self.request,
            "outcome": self.outcome.value,
            "message": self.message,
            "rotation": structured_output.attempt(self.attempt) if self.attempt else None,
        }


def exit_code(results: Iterable[RequestResult]) -> int:
    """Exit code of the worst result: interrupted, failed, held, done."""
    codes = {_CODES.get(each.outcome, FAILED) for each in results}
    return next((code for code in (INTERRUPTED, FAILED, HELD) if code in codes), DONE)


def outcome_of(
    progress: Progress, *, quiet: float, patience: float
) -> tuple[RequestOutcome, str, Attempt | None] | None:
    """Outcome, message and last attempt of a request; None while it can still change.

    ``quiet`` is the number of seconds without a change. What may be older than the request counts only once ``quiet``
    reaches ``patience``.
    """
    match progress:
        case RotationEnded(attempt, status_updated) if status_updated or quiet >= patience:
            return _rotation_outcome(attempt)
        case Resynced(ready) if ready is not None and ready.is_true:
            return RequestOutcome.READY, f"was checked and is Ready: {ready.message}", None
        case Resynced(ready):
            why = f"{ready.reason}: {ready.message}" if ready else "and its status does not say why"
            return RequestOutcome.NOT_READY, f"was checked and is not Ready, {why}", None
        case Blocked(reason, message, new) if new or quiet >= patience:
            return RequestOutcome.HELD, f"waits, {reason}: {message.removeprefix('held: ')}", None
        case NeedsFix(reason, message, new) if new or quiet >= patience:
            return RequestOutcome.NOT_READY, f"is not Ready, {reason}: {message}", None
        case Replaced():
            return RequestOutcome.REPLACED, "has a newer request, which replaces this one", None
    return None


def _rotation_outcome(attempt: Attempt) -> tuple[RequestOutcome, str, Attempt]:
    took = f" in {time_format.precise_duration(attempt.took)}" if attempt.took is not None else ""
    if attempt.succeeded:
        user = f"active user {attempt.user}, " if attempt.user else ""
        return RequestOutcome.SUCCEEDED, f"rotated{took}: {user}version {attempt.version_id}", attempt
    outcome = RequestOutcome(attempt.outcome) if attempt.outcome in set(RequestOutcome) else RequestOutcome.FAILED
    return outcome, f"was not rotated ({outcome} at {attempt.step}): {attempt.message}", attempt
