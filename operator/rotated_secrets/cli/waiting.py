"""Waiting for what was asked for, with its progress on stderr: moving on a terminal, line by line elsewhere."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.text import Text

from rotated_secrets.cli.answers import Answer, Outcome
from rotated_secrets.cli.asked import Asked
from rotated_secrets.cli.drawing import drawn, drawn_at_the_end
from rotated_secrets.cli.events import Changed, Event
from rotated_secrets.cli.screen import Screen

if TYPE_CHECKING:
    from rotated_secrets.cli.resources import Resources

TICK = 0.1
"""Seconds between two looks at the clock."""


def wait(
    resources: Resources, asked: Sequence[Asked], screen: Screen, *, timeout: float, done: Callable[[Answer], None]
) -> None:
    """Until each has ended or ``timeout`` seconds are over; ``done`` is told each answer as it comes.

    Ctrl-C ends the waiting, not what is waited for.
    """
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    watches = [resources.watch(each.before, each.version, events) for each in asked]
    still_open = {each.before.name: each for each in asked}
    live = screen.err.is_terminal and not screen.err.is_dumb_terminal
    view = _Moving(screen) if live else _Lines(screen)
    for watch in watches:
        watch.start()
    deadline = time.monotonic() + timeout
    try:
        while still_open:
            view.update(list(still_open.values()))
            answers = _round(events, still_open)
            if time.monotonic() >= deadline:
                ended = {answer.name for answer in answers}
                late = [each for name, each in still_open.items() if name not in ended]
                answers += [each.out_of_time(timeout, screen.program) for each in late]
            for answer in answers:
                view.ended(still_open.pop(answer.name), answer)
                done(answer)
    except KeyboardInterrupt:
        view.close()
        for each in still_open.values():
            done(each.answer(Outcome.INTERRUPTED, "is not waited for any more; what was asked for goes on"))
    finally:
        view.close()
        for watch in watches:
            watch.stop()


def _round(events: queue.SimpleQueue[Event], still_open: dict[str, Asked]) -> list[Answer]:
    """Take the next event, or let some time pass."""
    try:
        event = events.get(timeout=TICK)
    except queue.Empty:
        now = time.monotonic()
        return [answer for each in still_open.values() if (answer := each.ended(now))]
    asked = still_open.get(event.seen.name if isinstance(event, Changed) else event.name)
    answer = asked.take(event, time.monotonic()) if asked else None
    return [answer] if answer else []


class _Moving:
    """For a terminal: a drawing that is drawn over, and taken away before anything else is printed."""

    def __init__(self, screen: Screen) -> None:
        self._console = screen.err
        self._live: Live | None = None

    def update(self, asked: Sequence[Asked]) -> None:
        if not asked:
            return
        if self._live is None:
            self._live = Live(console=self._console, refresh_per_second=10, transient=True)
            self._live.start()
        now = time.monotonic()
        # An empty line at the end: where a full one ended, the ^C that a terminal shows would begin another.
        self._live.update(Group(*(drawn(each, now) for each in asked), Text()))

    def ended(self, asked: Asked, answer: Answer) -> None:
        self.close()
        steps = drawn_at_the_end(asked, answer, time.monotonic())
        if steps is not None:
            self._console.print(steps)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


class _Lines:
    """For anything else: a line whenever there is something new to say."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._told: dict[str, str] = {}

    def update(self, asked: Sequence[Asked]) -> None:
        now = time.monotonic()
        for each in asked:
            line = each.line(now) or f"was asked for {each.what}"
            if line != self._told.get(each.before.name):
                self._screen.note(f"{each.before} {line}")
                self._told[each.before.name] = line

    def ended(self, asked: Asked, answer: Answer) -> None:
        """The answer says it all."""

    def close(self) -> None:
        """Every line is a whole one."""
