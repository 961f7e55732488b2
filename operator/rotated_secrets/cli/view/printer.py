"""Print results on stdout and everything else on stderr.

Where a stream is not a terminal, nothing is coloured, animated or wrapped. On a terminal, commands in messages have
lines of their own, which the terminal alone wraps: copying them gives one line.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.text import Text

from rotated_secrets.cli.view.paragraph import Paragraph

UNLIMITED = 100_000
"""Width of a stream that is not a terminal: lines are not wrapped."""


class OutputFormat(StrEnum):
    """Formats for programs."""

    JSON = "json"
    YAML = "yaml"


class Tone(StrEnum):
    """Colours by their meaning. The words always say the same."""

    GOOD = "green"
    BAD = "red"
    WAITING = "yellow"
    RUNNING = "cyan"
    QUIET = "dim"
    STRONG = "bold"
    PLAIN = "default"


class Printer:
    """Prints to both streams of one command."""

    def __init__(self, output: OutputFormat | None = None, *, program: str = "rotated-secrets") -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # a terminal without "…" shows "?"
        self.output = output
        self.program = program
        self.out = _console(sys.stdout)
        self.err = _console(sys.stderr)

    @property
    def width(self) -> int:
        """Columns of stdout."""
        return self.out.width if self.out.is_terminal else UNLIMITED

    def print(self, *what: RenderableType) -> None:
        """Print a result for a person."""
        for each in what:
            _print(self.out, each)

    def print_records(self, records: Sequence[dict[str, Any]]) -> None:
        """Print a result for a program, in the requested format."""
        document = {"items": list(records)}
        if self.output is OutputFormat.JSON:
            text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        else:
            import yaml  # noqa: PLC0415 - rarely needed

            text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
        sys.stdout.write(text)
        sys.stdout.flush()

    def note(self, what: str | Text) -> None:
        """Print something beside the result. Where that cannot be written, the result counts nevertheless."""
        with contextlib.suppress(OSError):
            _print(self.err, Text(what) if isinstance(what, str) else what)


def _console(stream: TextIO) -> Console:
    found = Console(file=stream, markup=False, highlight=False, emoji=False)
    if not found.is_terminal:
        found.width = UNLIMITED
    return found


def _print(console: Console, what: RenderableType) -> None:
    """Print without the spaces that pad a table at the end of its lines."""
    is_line = isinstance(what, Text) and not console.is_terminal
    with console.capture() as captured:
        console.print(
            Paragraph(what) if isinstance(what, Text) and not is_line else what, soft_wrap=is_line, crop=False
        )
    lines = captured.get().splitlines()
    console.file.write("".join(f"{line.rstrip()}\n" for line in lines))
    console.file.flush()
