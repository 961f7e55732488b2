"""The engines that the sandbox has a server for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.applications.base import DatabaseSide
from sandbox.applications.versions import INSTALLED, Version
from sandbox.tls import CertificateAuthority

ENGINES = ("postgres", "mysql", "mariadb", "mongo", "redis")
"""The ``engine`` of their secret values; each is a module of this package with a ``running()``."""


@contextmanager
def running_side(
    engine: str, authority: CertificateAuthority | None = None, version: Version = INSTALLED
) -> Iterator[DatabaseSide]:
    """A server of this engine, on a free loopback port; gone at the end. Raises: ServerMissing.

    ``authority`` signs its certificate, where it is to be one that is trusted already. ``version`` is the engine's own.
    """
    with importlib.import_module(f"sandbox.applications.{engine}").running(authority, version) as side:
        yield side
