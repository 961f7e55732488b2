"""What the demo looks like. Works without a terminal too: then nothing moves, and each line is printed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from sandbox.demo_steps import StepDone

WIDTH_WITHOUT_TERMINAL = 120


class Screen:
    """Prints."""

    def __init__(self) -> None:
        console = Console(highlight=False)
        self._console = console if console.is_terminal else Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL)

    def title(self, text: str) -> None:
        self._console.print()
        self._console.print(Rule(Text(text, "bold"), align="left", style="cyan"))

    def good(self, text: str) -> None:
        self._console.print(Text.assemble(("✓ ", "green"), text))

    def bad(self, text: str) -> None:
        self._console.print(Text.assemble(("✗ ", "bold red"), text))

    def command(self, text: str) -> None:
        self._console.print(Text.assemble(("$ ", "dim"), (text, "bold")), soft_wrap=True)

    def output(self, text: str) -> None:
        self._console.print(Text(text.rstrip()), soft_wrap=True)

    def yaml(self, text: str) -> None:
        highlighted = Syntax("", "yaml", theme="ansi_dark", background_color="default").highlight(text.rstrip())
        highlighted.rstrip()
        self._console.print(highlighted, soft_wrap=True)

    def last_line(self, text: str) -> None:
        self._console.print()
        self._console.print(text, soft_wrap=True)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        with self._console.status(text):
            yield

    @contextmanager
    def countdown(self, text: str, seconds: float) -> Iterator[Callable[[float, str], None]]:
        """A bar that fills; what it yields is told how many seconds are left, and what to say beside it."""
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"))
        if not self._console.is_terminal:
            self._console.print(f"  {text}, in {seconds:.0f} s")
            yield lambda _left, _says: None
            return
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task(text, total=seconds, left="")

            def advance(left: float, says: str) -> None:
                progress.update(task, completed=seconds - left, left=f"{left:.0f} s · {says}")

            yield advance
        self._console.print(f"  {text}")

    def steps(self, done: Iterable[StepDone]) -> None:
        for step in done:
            took = "" if step.seconds is None else f"{step.seconds * 1000:.0f} ms"
            self._console.print(
                Text.assemble(("✓ ", "green"), (f"{step.name:<13}", "bold"), (f"{took:>7}", "dim"), f"  {step.says}")
            )

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
        table = Table(*columns, box=None, pad_edge=False, header_style="dim")
        for row in rows:
            table.add_row(*row)
        self._console.print(table)

    def look_around(self, commands: Mapping[str, str]) -> None:
        self.title("Everything is left running; Ctrl-C ends it")
        for command, says in commands.items():
            self._console.print(Text.assemble((command, "bold"), ("   # " + says, "dim")), soft_wrap=True)
