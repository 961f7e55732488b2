"""Parse what the API server returns: a long list while it is read, and an object however deeply it is nested.

Who may write an object decides how deep it is: the API server keeps ``managedFields`` of thousands of levels.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, Final

Json = dict[str, Any]

_ITEMS = re.compile(r'"items"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")
# A text that does not end yet is one token as well: what looks like a bracket in it is none.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[][{}]', re.DOTALL)
MOST_LEVELS: Final = 100
"""Levels of an object that Python could not parse as a whole; far more than any field that is read."""


def parse(text: str | bytes | bytearray) -> Any:
    """Parse JSON; what is nested too deeply is null. Raises: ValueError."""
    try:
        return json.loads(text)
    except RecursionError:
        return json.loads(_cut(text if isinstance(text, str) else text.decode())[0])


def _cut(text: str, at: int = 0) -> tuple[str, int]:
    """Return the value that begins at ``at`` without its deepest levels, and where it ends. Raises: ValueError."""
    kept, depth, begin = [], 0, at
    for token in _TOKEN.finditer(text, at):
        if token[0] in ("{", "["):
            depth += 1
            if depth == MOST_LEVELS + 1:
                kept += [text[begin : token.start()], "null"]
        elif token[0] in ("}", "]"):
            depth -= 1
            if depth == MOST_LEVELS:
                begin = token.end()
            if not depth:
                return "".join([*kept, text[begin : token.end()]]), token.end()
    raise ValueError("the value does not end")


class ListParser:
    """Parses the JSON of a list while it is read: yields one object after the other, and keeps none of them."""

    def __init__(self) -> None:
        self._decoder = json.JSONDecoder()
        self._text = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._unread = ""
        self._around = ""
        """What surrounds the objects: the metadata of the list stands before or after them."""
        self._inside = False
        self._enough = 0
        """Length of the unread text from which it is worth trying to parse it."""

    def feed(self, data: bytes, *, last: bool = False) -> Iterator[tuple[Json, int]]:
        """Yield each object that is complete now, with its length in characters."""
        self._unread += self._text.decode(data, final=last)
        if not self._around:
            begins = _ITEMS.search(self._unread)
            if begins is None:
                return
            self._around, self._unread = self._unread[: begins.end()], self._unread[begins.end() :]
            self._inside = True
        if self._inside and (last or len(self._unread) >= self._enough):
            yield from self._objects()

    def around(self) -> Json:
        """The list without its objects, at the end; the whole response, where it is no list. Raises: ValueError."""
        found: Json = parse(self._around + self._unread)
        return found

    def _objects(self) -> Iterator[tuple[Json, int]]:
        at = 0
        while True:
            at = _BETWEEN.match(self._unread, at).end()  # type: ignore[union-attr]  # it matches the empty text too
            if self._unread.startswith("]", at):
                self._inside = False
                break
            try:
                obj, end = self._decoded(at)
            except ValueError:
                break  # the rest of it is still to come
            yield obj, end - at
            at = end
        self._unread = self._unread[at:]
        # An object that comes in many parts would else be parsed from its beginning at each of them.
        self._enough = 2 * len(self._unread)

    def _decoded(self, at: int) -> tuple[Json, int]:
        """Raises: ValueError, where the object is not complete."""
        try:
            return self._decoder.raw_decode(self._unread, at)
        except RecursionError:
            cut, end = _cut(self._unread, at)
            return json.loads(cut), end
