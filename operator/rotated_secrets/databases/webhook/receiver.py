"""Where a webhook is, and whether the operator's settings allow it. Pure; resolves no name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

HTTPS_PORT = 443

# A host's letters as in hosts.resolve, a target without what ends it (a fragment, a space, a line).
_URL = re.compile(r"https://[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?(?:/[!$-~]*)?\Z")
_PATTERN = re.compile(r"(?P<any>\*\.)?(?P<host>[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:(?P<port>[0-9]{1,5}))?\Z")


class InvalidReceiver(ValueError):
    """The URL, or a pattern of hosts, cannot be used; the message says what to write."""


@dataclass(frozen=True)
class Receiver:
    """The place that requests are sent to."""

    host: str
    """In lower case, without the dot that may end a DNS name."""
    port: int
    target: str
    """Path and query. They may hold a secret, so they are never shown."""

    @classmethod
    def at(cls, url: str) -> Receiver:
        """Raises: InvalidReceiver."""
        try:
            parts = urlsplit(url) if _URL.match(url) else None
            port = parts.port if parts else None
        except ValueError:
            parts = port = None
        if parts is None or not parts.hostname or port == 0:
            raise InvalidReceiver(
                "database.webhook.url cannot be used; write https://HOST/PATH or https://HOST:PORT/PATH"
            )
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.hostname.rstrip("."), port or HTTPS_PORT, target)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def header(self) -> str:
        """What the header ``Host`` says."""
        return self.host if self.port == HTTPS_PORT else str(self)

    def is_among(self, patterns: Iterable[str]) -> bool:
        """Whether one of the patterns allows it: see :func:`check_pattern`."""
        return any(self._matches(pattern) for pattern in patterns)

    def _matches(self, pattern: str) -> bool:
        found = _PATTERN.match(pattern.lower())
        if found is None or self.port != int(found["port"] or HTTPS_PORT):
            return False
        return self.host.endswith(f".{found['host']}") if found["any"] else self.host == found["host"]


def check_pattern(pattern: str) -> str:
    """``HOST`` or ``*.DOMAIN``, either with ``:PORT``; without one, port 443 alone is meant.

    ``*.DOMAIN`` is every host below the domain, and not the domain itself.

    Raises:
        InvalidReceiver: it is none of these.
    """
    found = _PATTERN.match(pattern.lower())
    if found is None or not 0 < int(found["port"] or HTTPS_PORT) < 65536:
        raise InvalidReceiver(
            f"{pattern!r} is not a host; write hooks.example.com, *.hooks.example.com or hooks.example.com:8443"
        )
    return pattern.lower()
