"""A request that a command waits for: takes watch events, and decides when the wait ends. No I/O.

Methods take ``now`` in seconds of a monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rotated_secrets.cli.kube.rotated_secret import Attempt, RotatedSecretView
from rotated_secrets.cli.kube.watch_events import Changed, Deleted, Disconnected, WatchEvent, WatchFailed
from rotated_secrets.cli.requests import messages
from rotated_secrets.cli.requests.progress import (
    Blocked,
    NeedsFix,
    NotPickedUp,
    Progress,
    Retrying,
    RotationEnded,
    Running,
)
from rotated_secrets.cli.requests.result import RequestOutcome, RequestResult, outcome_of

PICK_UP_SECONDS = 20.0
"""After this time the command says that no operator seems to run. Longer than the election of a new leader takes."""
PATIENCE = 5.0
"""Seconds for which a condition from before the request must stay unchanged to count."""

ProgressOf = Callable[[str, RotatedSecretView, RotatedSecretView], Progress]
"""Takes the request, the resource when it was made, and the resource now."""


@dataclass
class PendingRequest:
    """One request for one RotatedSecret."""

    request: str
    before: RotatedSecretView
    version: str
    """The resourceVersion that the request was written at."""
    progress_of: ProgressOf
    what: str
    """What the request is for, in messages: "rotation"."""
    since: float
    """When the request was made."""
    changed_at: float = field(init=False)
    progress: Progress = field(init=False)
    disconnected: str = ""
    """Why the watch is disconnected; empty where it is connected."""
    step_at: dict[str, float] = field(default_factory=dict)
    """When each step of the current attempt was first seen."""

    def __post_init__(self) -> None:
        self.changed_at, self.progress = self.since, self.progress_of(self.request, self.before, self.before)

    def handle(self, event: WatchEvent, now: float) -> RequestResult | None:
        """Take an event. Returns a result where it ends the request."""
        match event:
            case Deleted():
                return self.result(RequestOutcome.DELETED, "was deleted during the wait")
            case WatchFailed(_, error):
                return self.result(RequestOutcome.FAILED, f"cannot be watched: {error}")
            case Disconnected(_, message):
                self.disconnected = message
            case Changed(resource):
                self.progress, self.changed_at = self.progress_of(self.request, self.before, resource), now
                self._note_step(now)
        return self.result_at(now)

    def result_at(self, now: float) -> RequestResult | None:
        """The result, or None while the request is still pending."""
        found = outcome_of(self.progress, quiet=now - self.changed_at, patience=PATIENCE)
        if found is None:
            return None
        outcome, message, attempt = found
        return self.result(outcome, f"{message}{messages.stale_note(self.progress, self.before)}", attempt)

    def timed_out(self, waited: float, program: str) -> RequestResult:
        why = messages.timed_out(self.progress, self.before, waited, program)
        return self.result(RequestOutcome.TIMED_OUT, f"{why}; {self.disconnected}" if self.disconnected else why)

    def result(self, outcome: RequestOutcome, message: str, attempt: Attempt | None = None) -> RequestResult:
        return RequestResult(self.before.namespace, self.before.name, self.request, outcome, message, attempt)

    def status_line(self, now: float) -> str:
        """Say in one line what happens now; empty where there is nothing to say."""
        overdue = isinstance(self.progress, NotPickedUp) and now - self.since >= PICK_UP_SECONDS
        hint = messages.not_picked_up(self.progress, self.before, PICK_UP_SECONDS) if overdue else ""
        return self.disconnected or hint or messages.status_line(self.progress)

    @property
    def is_about_to_end(self) -> bool:
        """Whether only patience is left: what was found ends the wait unless it changes."""
        return isinstance(self.progress, Blocked | NeedsFix)

    @property
    def last_step(self) -> str:
        """The step at which the rotation ended, which may not have been seen while it ran; empty before the end."""
        return self.progress.attempt.step if isinstance(self.progress, RotationEnded) else ""

    def _note_step(self, now: float) -> None:
        if isinstance(self.progress, Running):
            self.step_at.setdefault(self.progress.claim.step, now)
        elif isinstance(self.progress, Retrying):
            self.step_at.clear()
