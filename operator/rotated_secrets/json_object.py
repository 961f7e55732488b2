"""JSON objects as they were written: the text of each number, repeated keys, one key changed and no other byte.

Python's own numbers lose what a person wrote: ``1.10`` becomes 1.1, and ``1e400`` infinite. Must not know what the keys
mean.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, Self

BYTE_ORDER_MARK: Final = "\ufeff"
"""Some editors begin a file with it. RFC 8259 (8.1): a parser may ignore it instead of taking it for an error."""
MAX_LEVELS: Final = 100
"""Most levels of objects and lists: far fewer than Python's limit of recursion, far more than any secret value has."""

# A text that does not end yet is one token as well: what looks like a bracket in it is none.
_TOKEN: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[][{}]', re.DOTALL)
_BETWEEN: Final = re.compile(r"[ \t\r\n,:]*")
_KINDS: Final[Mapping[type, str]] = {list: "a list", str: "a string", bool: "true or false", type(None): "null"}


class NotAnObject(Exception):
    """The text is no JSON object, or is not read as one; the message says what it is, without a word of it."""


class WrittenFloat(float):
    """A number with the text that it was written as; as a number it may be rounded, or infinite.

    Only for what Python would write otherwise: a value may hold thirty thousand numbers, and 128 values are in memory.
    """

    __slots__ = ("written",)
    written: str

    def __new__(cls, written: str) -> Self:
        found = super().__new__(cls, written)
        found.written = written
        return found

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self.written,)


def _integer(written: str) -> int | WrittenFloat:
    try:
        return int(written) if written != "-0" else WrittenFloat(written)
    except ValueError:  # more digits than Python converts (sys.set_int_max_str_digits)
        return WrittenFloat(written)


def _number(written: str) -> float:
    found = float(written)
    return found if repr(found) == written else WrittenFloat(written)


_DECODER: Final = json.JSONDecoder(parse_int=_integer, parse_float=_number)


def parse_object(text: str) -> dict[str, Any]:
    """Parse a JSON object; of a key that is repeated, the last value counts, as for most parsers.

    Raises:
        NotAnObject: the text is something else.
    """
    content = text.removeprefix(BYTE_ORDER_MARK)
    if _is_too_deep(content):
        raise NotAnObject(f"is nested more than {MAX_LEVELS} levels deep")
    try:
        found = _DECODER.decode(content)
    except json.JSONDecodeError as error:
        # The parser's messages quote nothing.
        raise NotAnObject(f"is not a JSON object: {error.msg}, line {error.lineno}, column {error.colno}") from None
    if not isinstance(found, dict):
        raise NotAnObject(f"is not a JSON object: it is {_KINDS.get(type(found), 'a number')}")
    return found


def repeated_keys(text: str) -> frozenset[str]:
    """Return the keys that a JSON object has more than once."""
    counts = Counter(key for key, _, _ in _members(text))
    return frozenset(key for key, count in counts.items() if count > 1)


def with_keys_changed(text: str, changes: Mapping[str, str]) -> str:
    """Return a JSON object with texts at some keys, and every other byte as it was; keys that it lacks come last.

    What is the same text already stays as it is written.
    """
    parts, copied, missing = [], 0, dict(changes)
    last = text.index("{") + 1
    for key, begin, last in _members(text):
        new = missing.pop(key, changes.get(key))
        if new is not None and _DECODER.decode(text[begin:last]) != new:
            parts += [text[copied:begin], _json_string(new)]
            copied = last
    parts.append(text[copied:last])
    separator = ", " if last > text.index("{") + 1 else ""
    for key, new in missing.items():
        parts.append(f"{separator}{_json_string(key)}: {_json_string(new)}")
        separator = ", "
    return "".join([*parts, text[last:]])


def json_text(value: object) -> str:
    """Return what :func:`parse_object` found at a key as JSON, with each number as it was written."""
    if isinstance(value, WrittenFloat):
        return value.written
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_json_string(key)}: {json_text(inside)}' for key, inside in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(json_text, value))}]"
    return _json_string(value) if isinstance(value, str) else json.dumps(value)


def is_standard(text: str) -> bool:
    """Whether a JSON object has only numbers that JSON has: Python reads NaN and Infinity too (RFC 8259, section 6)."""
    constants: list[str] = []
    json.loads(text.removeprefix(BYTE_ORDER_MARK), parse_int=_integer, parse_constant=constants.append)
    return not constants


def _members(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield each key of a JSON object, and where its value begins and ends. The text is known to be one."""
    at = _BETWEEN.match(text, text.index("{") + 1).end()  # type: ignore[union-attr]  # it matches the empty text too
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        begin = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]
        _, end = _DECODER.raw_decode(text, begin)
        yield key, begin, end
        at = _BETWEEN.match(text, end).end()  # type: ignore[union-attr]


def _is_too_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= MAX_LEVELS:
        return False
    depth = 0
    for token in _TOKEN.finditer(text):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
        if depth > MAX_LEVELS:
            return True
    return False


def _json_string(text: str) -> str:
    """Characters stay as they are; half of a surrogate pair can only be written as an escape."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(text)
    return json.dumps(text, ensure_ascii=False)
