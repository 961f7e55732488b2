"""A request that somebody waits for: what has been heard of it since, and when that ends the waiting. No I/O.

Every method takes the present, in seconds of a clock that only goes forward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rotated_secrets.cli.answers import Answer, Outcome, final, not_picked_up, status_line, timed_out, unheard
from rotated_secrets.cli.events import Changed, CutOff, Deleted, Event, Failed
from rotated_secrets.cli.progress import Progress, Retrying, Running, Unseen
from rotated_secrets.cli.seen import Attempt, Seen

PICK_UP = 20.0
"""Seconds after which a person is told that no operator seems to run: longer than a new leader takes."""
PATIENCE = 5.0
"""Seconds for which something that was so before has to stay so to be believed."""

Judge = Callable[[str, Seen, Seen], Progress]
"""By the request, the resource as it was then, and as it is now."""


@dataclass
class Asked:
    """One request for one RotatedSecret."""

    request: str
    before: Seen
    version: str
    """The resourceVersion that it was made at."""
    judge: Judge
    what: str
    """What was asked for, for people: "a rotation"."""
    since: float
    """When it was made."""
    changed_at: float = field(init=False)
    progress: Progress = field(init=False)
    cut_off: str = ""
    """Why nothing can be heard; empty where something can."""
    step_at: dict[str, float] = field(default_factory=dict)
    """When each step of the present attempt was first seen."""

    def __post_init__(self) -> None:
        self.changed_at, self.progress = self.since, self.judge(self.request, self.before, self.before)

    def take(self, event: Event, now: float) -> Answer | None:
        """Note what has happened; an answer where that ends it."""
        match event:
            case Deleted():
                return self.answer(Outcome.DELETED, "was deleted meanwhile")
            case Failed(_, problem):
                return self.answer(Outcome.FAILED, f"cannot be watched: {problem}")
            case CutOff(_, message):
                self.cut_off = message
            case Changed(seen):
                self.progress, self.changed_at = self.judge(self.request, self.before, seen), now
                self._note_step(now)
        return self.ended(now)

    def ended(self, now: float) -> Answer | None:
        """The answer, where there is one by now."""
        found = final(self.progress, quiet=now - self.changed_at, patience=PATIENCE)
        if found is None:
            return None
        outcome, message, attempt = found
        return self.answer(outcome, f"{message}{unheard(self.progress, self.before)}", attempt)

    def out_of_time(self, waited: float, program: str) -> Answer:
        why = timed_out(self.progress, self.before, waited, program)
        return self.answer(Outcome.TIMED_OUT, f"{why}; {self.cut_off}" if self.cut_off else why)

    def answer(self, outcome: Outcome, message: str, attempt: Attempt | None = None) -> Answer:
        return Answer(self.before.namespace, self.before.name, self.request, outcome, message, attempt)

    def line(self, now: float) -> str:
        """What is to be said of it, in one line; empty where nothing is."""
        unseen = isinstance(self.progress, Unseen) and now - self.since >= PICK_UP
        hint = not_picked_up(self.progress, self.before, PICK_UP) if unseen else ""
        return self.cut_off or hint or status_line(self.progress)

    def _note_step(self, now: float) -> None:
        if isinstance(self.progress, Running):
            self.step_at.setdefault(self.progress.claim.step, now)
        elif isinstance(self.progress, Retrying):
            self.step_at.clear()
