"""The record of the keys, labels and annotations that the operator wrote into a Secret. Pure.

It is kept in an annotation. With it the operator can remove them when they are no longer wanted, without touching what
others wrote.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

from rotated_secrets.api import names
from rotated_secrets.api.value_keys import KNOWN_KEYS

_V = TypeVar("_V")


def record_of(data: Iterable[str], labels: Iterable[str], annotations: Iterable[str], named: Collection[str]) -> str:
    """Return the record of what is written; ``named`` are keys that the resource itself names."""
    keys = [key if key in {*KNOWN_KEYS, *named} else _digest(key) for key in data]
    written = {"labels": labels, "annotations": annotations, "data": keys}
    return json.dumps({part: sorted(found) for part, found in written.items()}, separators=(",", ":"))


def last_written(annotations: Mapping[str, str]) -> Mapping[str, Collection[str]]:
    """Return the keys that were written last; none if the annotation is missing or cannot be parsed."""
    nothing: dict[str, Collection[str]] = {"labels": (), "annotations": (), "data": ()}
    try:
        written = json.loads(annotations.get(names.WRITTEN_ANNOTATION, "{}"))
        return {part: frozenset(written.get(part, ())) for part in nothing}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return nothing


def without(entries: Mapping[str, _V], ours: Collection[str]) -> dict[str, _V]:
    """Return the entries that are not in the record."""
    return {key: value for key, value in entries.items() if key not in ours and _digest(key) not in ours}


def _digest(key: str) -> str:
    """Stand for a key of the value that may be a password in the wrong place; no key of a Secret has a colon."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()[:16]}"
