"""Parse a long list of objects while it is read, so that one object at a time is in memory."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

_ITEMS = re.compile(r'"items"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")


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
        found: Json = json.loads(self._around + self._unread)
        return found

    def _objects(self) -> Iterator[tuple[Json, int]]:
        at = 0
        while True:
            at = _BETWEEN.match(self._unread, at).end()  # type: ignore[union-attr]  # it matches the empty text too
            if self._unread.startswith("]", at):
                self._inside = False
                break
            try:
                obj, end = self._decoder.raw_decode(self._unread, at)
            except ValueError:
                break  # the rest of it is still to come
            yield obj, end - at
            at = end
        self._unread = self._unread[at:]
        # An object that comes in many parts would else be parsed from its beginning at each of them.
        self._enough = 2 * len(self._unread)
