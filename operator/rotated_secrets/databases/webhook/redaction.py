"""Redact a receiver's message: one short line, without any part of the value that was sent. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

from rotated_secrets.json_object import json_text

LONGEST = 200
"""Characters of one message that are kept."""
SEARCHED = 4096
"""Characters of one message that are searched."""
RUN = 8
"""So many characters in a row in common with the value are too many."""
SHORTEST = 4
"""Texts and numbers of the value that are shorter would be found in any message."""


class Hidden:
    """What a message must not repeat: every text and number in a value, as it is and as it is usually encoded."""

    def __init__(self, value: Any) -> None:
        """``value`` is what was sent, as JSON has it."""
        self._whole: set[str] = set()
        self._runs: set[str] = set()
        for leaf in _leaves(value):
            for form in _forms(leaf):
                if len(form) >= SHORTEST:
                    self._whole.add(form)
                self._runs.update(form[start : start + RUN] for start in range(len(form) - RUN + 1))

    def redacted(self, message: object) -> str:
        """Return the message as it may be shown; empty if it is not a text."""
        if not isinstance(message, str):
            return ""
        text = _one_line(self.without(message[:SEARCHED]))
        # Once more: what stood on two lines stands on one now.
        text = _one_line(self.without(text))
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"

    def without(self, text: str) -> str:
        """Return a text with every part of the value replaced."""
        shown = [True] * len(text)
        for start in range(len(text) - RUN + 1):
            if text[start : start + RUN] in self._runs:
                shown[start : start + RUN] = [False] * RUN
        for each in self._whole:
            start = text.find(each) if len(each) < RUN else -1
            while start >= 0:
                shown[start : start + len(each)] = [False] * len(each)
                start = text.find(each, start + 1)
        return "".join(_starred(text, shown))


def _starred(text: str, shown: list[bool]) -> Iterator[str]:
    before = True
    for sign, show in zip(text, shown, strict=True):
        if show:
            yield sign
        elif before:
            yield "***"
        before = show


def _one_line(text: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _leaves(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _leaves(each)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield json.dumps(value)
        yield json_text(value)


def _forms(text: str) -> Iterator[str]:
    plain = text.encode(errors="surrogatepass")
    yield text
    yield json.dumps(text)[1:-1]
    yield quote(plain, safe="")
    yield quote_plus(plain)
    yield base64.b64encode(plain).decode().rstrip("=")
    yield base64.urlsafe_b64encode(plain).decode().rstrip("=")
