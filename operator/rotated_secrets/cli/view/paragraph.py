"""Paragraphs whose commands stand on lines of their own, unwrapped, so that they can be copied. Pure.

Messages of the operator are plain sentences with commands in them. Not to be put into a table or a padding: both cut
off what is longer than the terminal is wide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

_SHELL: Final = re.compile(r"(?<![\w/:.-])(?:kubectl|aws|helm|rotated-secrets) [a-z]")
_WORD: Final = re.compile(r"\S+")
_AFTER_COMMAND: Final = frozenset({"to", "and", "or", "else", "shows", "first", "if", "again", "then", "until"})
"""Words that no command of a message has, and that follow one in a sentence."""
_FEWEST: Final = 3
"""Words of a command; fewer may be the name of a program in a sentence."""
_SQL: Final = re.compile(
    r"(?:^|(?<=run )|(?<=: )|(?<=or )|(?<=; ))(?:GRANT|REVOKE|ALTER|CREATE|DROP|ACL SETUSER) \S.*?(?=; |, or |\)?$)"
)
_SEPARATOR: Final = re.compile(r"[,;:)]*\s*")


class Paragraph:
    """A message, wrapped between its words; each command in it has its line."""

    def __init__(self, text: Text, *, first: Text | None = None, indent: int = 0) -> None:
        """``first`` stands before the first line, ``indent`` spaces before the others."""
        self._text = text
        self._first = first
        self._indent = indent

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        before, hanging = self._first, " " * self._indent
        for part, is_command in parts(self._text):
            if is_command:
                if before is not None:
                    yield before
                    before = None
                # Not as far to the right as sentences may begin.
                yield _unwrapped(Text(" " * min(self._indent + 2, 6)), part)
                continue
            used = max(self._indent, cell_len(before.plain) if before is not None else 0)
            for line in _wrapped(part, options.max_width - used):
                yield _unwrapped(before if before is not None else Text(hanging), line)
                before = None
        if before is not None:
            yield before


def parts(text: Text) -> Iterator[tuple[Text, bool]]:
    """Split a message into its sentences and its commands; the latter are marked by True."""
    begin = 0
    for start, end in commands(text.plain):
        if text.plain[begin:start].strip():
            sentence = text[begin:start]
            sentence.rstrip()
            yield sentence, False
        yield text[start:end], True
        separator = _SEPARATOR.match(text.plain, end)
        begin = separator.end() if separator else end
    if text.plain[begin:].strip() or not begin:
        yield text[begin:], False


def commands(message: str) -> list[tuple[int, int]]:
    """Find the commands of a shell and the statements of SQL in a message: where each begins and ends."""
    found = [match.span() for match in _SQL.finditer(message)]
    for match in _SHELL.finditer(message):
        end, words = _end_of_command(message, match.start())
        if words >= _FEWEST:
            found.append((match.start(), end))
    chosen: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if not chosen or start >= chosen[-1][1]:
            chosen.append((start, end))
    return chosen


def _end_of_command(message: str, start: int) -> tuple[int, int]:
    """Where the command that begins at ``start`` ends, and how many words it has."""
    end, count = start, 0
    for count, word in enumerate(_WORD.finditer(message, start)):
        bare = word[0].rstrip(",;:)")
        if word[0] in _AFTER_COMMAND:
            return end, count
        end = word.start() + len(bare)
        if bare != word[0]:
            return end, count + 1
    return end, count + 1


def _wrapped(text: Text, width: int) -> Iterator[Text]:
    """Divide a text between its words. Rich would divide words too, and a long name is to be copied in one piece."""
    begin = end = 0
    for word in _WORD.finditer(text.plain):
        if end > begin and cell_len(text.plain[begin : word.end()]) > width:
            yield text[begin:end]
            begin = word.start()
        end = word.end()
    yield text[begin:end]


def _unwrapped(*pieces: Text) -> Text:
    line = Text.assemble(*pieces)
    line.no_wrap, line.overflow = True, "ignore"
    return line
