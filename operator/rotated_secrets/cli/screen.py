"""What goes to a person's terminal, and what to a program: results on stdout, everything else on stderr.

Where stdout is no terminal there are no colours, no cursor movements and no line breaks but those that are meant.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.text import Text

UNLIMITED = 100_000
"""Columns of what is no terminal: whoever reads it breaks lines as they like."""


class Output(StrEnum):
    """What programs read."""

    JSON = "json"
    YAML = "yaml"


class Tone(StrEnum):
    """What a colour says; the words say it as well."""

    GOOD = "green"
    BAD = "red"
    WAITING = "yellow"
    RUNNING = "cyan"
    QUIET = "dim"
    STRONG = "bold"
    PLAIN = "default"


class Screen:
    """Both streams of one command."""

    def __init__(self, output: Output | None = None, *, program: str = "rotated-secrets") -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # a terminal that knows no "…" shows a "?"
        self.output = output
        self.program = program
        self.out = _console(sys.stdout)
        self.err = _console(sys.stderr)

    @property
    def width(self) -> int:
        """Columns that there are to write in."""
        return self.out.width if self.out.is_terminal else UNLIMITED

    def show(self, *what: RenderableType) -> None:
        """A result for a person."""
        _print(self.out, Group(*what))

    def records(self, records: Sequence[dict[str, Any]]) -> None:
        """A result for a program, as it was asked for."""
        document = {"items": list(records)}
        if self.output is Output.JSON:
            text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        else:
            import yaml  # noqa: PLC0415 - one in many asks for it

            text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
        sys.stdout.write(text)
        sys.stdout.flush()

    def note(self, what: str | Text) -> None:
        """Something to know beside the result."""
        _print(self.err, Text(what) if isinstance(what, str) else what)


def _console(stream: TextIO) -> Console:
    found = Console(file=stream, markup=False, highlight=False, emoji=False)
    if not found.is_terminal:
        found.width = UNLIMITED
    return found


def _print(console: Console, what: RenderableType) -> None:
    """Without the blanks at the ends of lines that fill a table up."""
    with console.capture() as captured:
        console.print(what, soft_wrap=not console.is_terminal and isinstance(what, Text))
    lines = captured.get().splitlines()
    console.file.write("".join(f"{line.rstrip()}\n" for line in lines))
    console.file.flush()
