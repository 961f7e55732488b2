"""Ten thousand broken RotatedSecrets of one namespace. Comes last: the API server needs a while to delete them."""

from __future__ import annotations

import pytest

from sandbox.waiting import eventually
from tests.hostile.conftest import Arena
from tests.support.hostile.outcomes import Namespace

SECONDS = 400

pytestmark = pytest.mark.timeout(900)


def test_ten_thousand_that_are_broken(arena: Arena) -> None:
    """Of one tenant, whose secrets do not exist: the operator starts, and has to tell each."""
    arena.start()
    arena.measure()
    namespace = arena.namespace("broken")
    rotation = {"strategy": "RandomValue", "random": {"keys": ["password"]}}
    names = [f"broken-{number}" for number in range(10_000)]
    try:
        arena.operator.terminate()
        for name in names:
            source = {"secretId": f"{namespace.name}/{name}"}
            namespace.create_resource(name, {"source": source, "rotation": rotation})
        with arena.attacked("10,000 broken", measured=True, pause=1.0):
            some = set(names[:: len(names) // 100])
            eventually(
                lambda: all(_is_told(namespace, each) for each in some), "they are told", seconds=SECONDS, every=5
            )
    finally:
        namespace.empty()


def _is_told(namespace: Namespace, name: str) -> bool:
    return bool((namespace.stack.api.get(f"{namespace.path}/{name}").get("status") or {}).get("conditions"))
