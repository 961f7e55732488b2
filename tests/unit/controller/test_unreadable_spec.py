"""A spec that stops making sense is nobody's any more: not an identity's, not a secret's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from rotated_secrets.api.resource import InvalidSpec
from rotated_secrets.controller import reconcile
from rotated_secrets.controller.key import Key
from rotated_secrets.controller.queue import Reconcile


class Unreadable:
    """Resources none of which parses."""

    def read(self, key: Key) -> None:
        raise InvalidSpec(f"{key} makes no sense")

    def read_object(self, key: Key) -> None:
        return None


async def run(call: Callable[[Key], None], key: Key) -> None:
    call(key)


async def awaited(look: Reconcile, key: Key) -> datetime | None:
    return await look(key)


def test_as_whom_it_was_asked_for_and_what_it_followed_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go: list[Key] = []
    monkeypatch.setattr(reconcile, "Looker", lambda services: SimpleNamespace(deny=let_go.append))
    services: Any = SimpleNamespace(resources=Unreadable(), guard=lambda: None, slots=SimpleNamespace(run=run))
    key = Key("shop", "orders")
    assert asyncio.run(awaited(reconcile.reconciler(services), key)) is None
    assert let_go == [key]
