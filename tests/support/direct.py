"""Logins and rendering in the process of a test, whose servers and templates are trusted; and cells for tests."""

from __future__ import annotations

import atexit
from collections.abc import Mapping
from functools import cache

from rotated_secrets.api.target import Target
from rotated_secrets.cells import Cells, CellSettings
from rotated_secrets.databases.base import AdminSession, Engine, ProvesUsers, Server
from rotated_secrets.databases.registry import engine_modules
from rotated_secrets.delivery.render import check_template, render
from rotated_secrets.values import Credential, SecretText, SecretValue


class DirectLogins:
    """Has the protocol :class:`rotated_secrets.databases.logins.Logins`."""

    def __init__(self, engine: Engine, name: str = "", tenant: str = "") -> None:
        self._engine = engine
        self.verify = engine.verify
        self.open_admin = engine.open_admin

    def open_admin_for(
        self, server: Server, credential: Credential, proven_at: Server, proof: Credential
    ) -> AdminSession:
        assert isinstance(self._engine, ProvesUsers)
        return self._engine.open_admin_for(server, credential, proven_at, proof)

    def close(self) -> None:
        """There is nothing that outlives an admin's session."""


class DirectRenderer:
    """Has the protocol :class:`rotated_secrets.delivery.rendering.Renderer`."""

    def check(self, target: Target, tenant: str) -> None:
        check_template(target)

    def render(self, target: Target, value: SecretValue, tenant: str) -> Mapping[str, SecretText]:
        return render(target, value)


@cache
def shared_cells() -> Cells:
    """Cells of the test's process, as the operator has them, with every engine loaded."""
    cells = Cells(CellSettings(modules=(*engine_modules(), "rotated_secrets.databases.logins")))
    atexit.register(cells.close)
    return cells
