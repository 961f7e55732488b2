"""Servers to try beside those that `make setup` installs: newer versions, and servers that speak another language."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.debian_releases import FORKY, GERMAN, TRIXIE, Release


@dataclass(frozen=True)
class Version:
    """Which server of an engine it is, and how it is set up."""

    engine: str
    """The ``engine`` of its secret values; of :data:`INSTALLED` any."""
    product: str = ""
    """What it calls itself, as far as it is known here; the README names it so."""
    release: Release | None = None
    """Where it comes from; None where it is the one that is installed."""
    language: str | None = None
    """A locale, whose language its messages are in; None where they are in English, as by default."""

    def __str__(self) -> str:
        return "-".join((*(self.product or self.engine).split(), *([self.language] if self.language else [])))


INSTALLED = Version("any")
NEWER = (
    Version("postgres", "PostgreSQL 17", TRIXIE, GERMAN),
    Version("postgres", "PostgreSQL 18", FORKY),
    Version("mysql", "MySQL", language=GERMAN),
    Version("mariadb", "MariaDB 11.8", TRIXIE, GERMAN),
    Version("redis", "Valkey 8.1", TRIXIE),
)
