"""The kinds of evil, each for any protocol that has the words for it."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tests.support.hostile.wire import Wire

GIGABYTES = 0x70000000
"""1.75 GiB: below what a signed length of 32 bits can say."""
SENT = 3 << 30
"""When a flood ends that nobody has ended before."""
LASTS = 100.0
"""Seconds: longer than any time limit of the operator's."""
FORGED = "forged"
"""The logger that forged lines name; nothing of the operator's is called so."""

_BLOCK = 1 << 18
_BATCH = 256


@dataclass(frozen=True)
class Words:
    """What a server can say at one stage, as bytes that a driver takes for its protocol's."""

    small: Callable[[int], bytes]
    """The n-th of any number of valid messages, none of which ends the stage."""
    announced: Callable[[int], bytes]
    """The beginning of one message that has so many bytes."""
    body: Callable[[], Iterator[bytes]] | None = None
    """What a message of gigabytes goes on with; None: letters."""
    told: Callable[[str], bytes] | None = None
    """A message of the server's for people: an error or a notice."""
    deep: Callable[[], bytes] | None = None
    """One message, nested as deep as its size allows."""
    wide: Callable[[], bytes] | None = None
    """One message as large as a driver may be expected to take, of elements as small as there are."""
    repeats: int | None = None
    """After how many small messages they are the same again, so that they need not be made for each connection."""
    costly: Callable[[Wire], None] | None = None
    """A dialogue in which an honest answer needs hours of computing."""
    foreign: Mapping[Kind, bytes] = field(default_factory=dict)
    """Whole answers of something that is not the server: a proxy, a page to sign in, another program."""


class Kind(StrEnum):
    """What a server does once it is at its stage."""

    SILENT = "silent"
    DRIPS = "drips"
    GARBAGE = "garbage"
    ZEROS = "zeros"
    ENDLESS = "endless"
    ANNOUNCES = "announces"
    FLOODS = "floods"
    DEEP = "deep"
    WIDE = "wide"
    COSTLY = "costly"
    CLOSES = "closes"
    FORGES = "forges"
    PAGE = "page"
    REFUSES = "refuses"
    REDIRECTS = "redirects"
    SHAPE = "shape"

    def is_of(self, words: Words) -> bool:
        """Whether the protocol has it at this stage."""
        if self in FOREIGN:
            return self in words.foreign
        needed = {Kind.FORGES: words.told, Kind.DEEP: words.deep, Kind.WIDE: words.wide, Kind.COSTLY: words.costly}
        return needed.get(self, words) is not None


FOREIGN = frozenset({Kind.PAGE, Kind.REFUSES, Kind.REDIRECTS, Kind.SHAPE})
"""Answers of something else: a page with success, a page with a refusal, a redirect, and data of another shape."""


def do(kind: Kind, wire: Wire, words: Words, name: str) -> None:
    """Until the driver ends the connection, or far longer than it should take. ``name`` marks what is forged."""
    match kind:
        case Kind.SILENT:
            pass
        case Kind.DRIPS:
            _drip(wire, words.announced(1 << 20) + b"a" * 1000)
        case Kind.GARBAGE:
            wire.send(random.Random(name).randbytes(1 << 16))
        case Kind.ZEROS:
            wire.send(bytes(8))
        case Kind.ENDLESS:
            _endless(wire, words)
        case Kind.ANNOUNCES:
            wire.send(words.announced(GIGABYTES))
        case Kind.FLOODS:
            _flood(wire, words)
        case Kind.DEEP | Kind.WIDE:
            made = words.deep if kind is Kind.DEEP else words.wide
            assert made is not None
            wire.send(made())
        case Kind.COSTLY:
            assert words.costly is not None
            words.costly(wire)
        case Kind.CLOSES:
            return
        case Kind.FORGES:
            assert words.told is not None
            wire.send(words.told(f"no\n{forged(name)}\n"))
        case Kind.PAGE | Kind.REFUSES | Kind.REDIRECTS | Kind.SHAPE:
            wire.send(words.foreign[kind])
            return
    wire.wait_until_closed(LASTS)


def forged(name: str) -> str:
    """A line as the operator's log has them."""
    line = {"time": "2026-01-01T00:00:00.000Z", "level": "ERROR", "logger": FORGED, "message": f"{FORGED} by {name}"}
    return json.dumps(line)


def _drip(wire: Wire, data: bytes) -> None:
    end = time.monotonic() + LASTS
    for byte in data:
        if time.monotonic() > end:
            return
        wire.send(bytes([byte]))
        time.sleep(1)


def _endless(wire: Wire, words: Words) -> None:
    end, sent = time.monotonic() + LASTS, 0
    for batch in _batches(words):
        wire.send(batch)
        sent += len(batch)
        if time.monotonic() > end or sent > SENT:
            return


def _batches(words: Words) -> Iterator[bytes]:
    """Small messages without an end."""
    made = (b"".join(words.small(first + each) for each in range(_BATCH)) for first in itertools.count(0, _BATCH))
    return made if words.repeats is None else itertools.cycle(itertools.islice(made, -(-words.repeats // _BATCH)))


def _flood(wire: Wire, words: Words) -> None:
    wire.send(words.announced(GIGABYTES))
    sent = 0
    for block in words.body() if words.body else itertools.repeat(b"a" * _BLOCK):
        wire.send(block)
        sent += len(block)
        if sent > SENT:
            return
