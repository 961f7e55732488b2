"""What a watch tells whoever waits."""

from __future__ import annotations

from dataclasses import dataclass

from rotated_secrets.cli.problem import Problem
from rotated_secrets.cli.seen import Seen


@dataclass(frozen=True)
class Changed:
    """It is so now."""

    seen: Seen


@dataclass(frozen=True)
class Deleted:
    """It is gone, or another of the same name has taken its place."""

    name: str


@dataclass(frozen=True)
class CutOff:
    """The API server cannot be reached; it is asked again. Empty when it answers again."""

    name: str
    message: str


@dataclass(frozen=True)
class Failed:
    """It cannot be watched."""

    name: str
    problem: Problem


Event = Changed | Deleted | CutOff | Failed
