"""What a watch reports."""

from __future__ import annotations

from dataclasses import dataclass

from rotated_secrets.cli.errors import CommandError
from rotated_secrets.cli.kube.rotated_secret import RotatedSecretView


@dataclass(frozen=True)
class Changed:
    """The resource has changed."""

    resource: RotatedSecretView


@dataclass(frozen=True)
class Deleted:
    """The resource was deleted, perhaps with a new one of the same name in its place."""

    name: str


@dataclass(frozen=True)
class Disconnected:
    """The API server cannot be reached; the watch tries again. ``message`` is empty when it is connected again."""

    name: str
    message: str


@dataclass(frozen=True)
class WatchFailed:
    """The resource cannot be watched, and the watch has ended."""

    name: str
    error: CommandError


WatchEvent = Changed | Deleted | Disconnected | WatchFailed
