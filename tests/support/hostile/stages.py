"""A protocol as the stages of one conversation, and the address at which each combination is served."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.hostile.evil import Kind, Words
from tests.support.hostile.wire import Wire

USER, PASSWORD, DATABASE = "app", "Known-to-the-Server-1", "shop"
COPIES = 15
"""Addresses of each combination, for attacks that have many hosts."""
_KINDS = 16
_NOT_IN_NAMES = re.compile("[^a-z0-9]+")
Reach = Callable[[Wire, ssl.SSLContext], Words | None]
"""Speak honestly until the stage; returns what can be said there, where that depends on what the driver said."""


@dataclass(frozen=True, eq=False)
class Stage:
    """A moment of the conversation: how an honest server gets there, and what it could say then."""

    name: str
    reach: Reach
    words: Words
    tls: bool = False
    """The client has to ask for TLS to get there."""


@dataclass(frozen=True, eq=False)
class Protocol:
    """All stages of the protocol that one engine speaks."""

    engine: str
    stages: tuple[Stage, ...]
    value: Mapping[str, Any] = field(default_factory=dict)
    """What a secret value has besides."""
    query: str | None = None
    """A verify query."""


@dataclass(frozen=True)
class Cell:
    """One server of the suite: an engine, a stage, a kind."""

    number: tuple[int, int, int]
    protocol: Protocol
    stage: Stage
    kind: Kind

    @property
    def engine(self) -> str:
        return self.protocol.engine

    def address(self, copy: int = 0) -> str:
        """One of this machine's addresses, at which it answers; there are :data:`COPIES`."""
        engine, stage, kind = self.number
        return f"127.{100 + engine}.{1 + stage}.{1 + kind + copy * _KINDS}"

    @property
    def slug(self) -> str:
        """A name that Kubernetes and AWS take."""
        return _NOT_IN_NAMES.sub("-", f"{self.stage.name} {self.kind} evil".lower())

    def __str__(self) -> str:
        return f"{self.engine} {self.stage.name} {self.kind}"


def cells(protocols: tuple[Protocol, ...]) -> Iterator[Cell]:
    """Every combination that makes sense: engine × stage × kind."""
    for engine, protocol in enumerate(protocols):
        for stage, each in enumerate(protocol.stages):
            for kind, evil in enumerate(Kind):
                if evil.is_of(each.words):
                    yield Cell((engine, stage, kind), protocol, each, evil)


def combination(address: str) -> tuple[int, int, int]:
    """The number of the combination that is served at an address."""
    _, engine, stage, kind = map(int, address.split("."))
    return engine - 100, stage - 1, (kind - 1) % _KINDS
