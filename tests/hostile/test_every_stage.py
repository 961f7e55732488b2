"""Every engine × stage × kind: it is told what was wrong, and nobody else notices.

All servers are there at once, each engine's in a namespace of its own.
"""

from __future__ import annotations

import pytest

from tests.hostile.conftest import Arena
from tests.support.hostile.catalogue import CELLS, PROTOCOLS
from tests.support.hostile.outcomes import OK, Attack, judge_all

SECONDS = 480
"""Until all must have been judged: each place is held for as long as a login that hangs may take."""
PAUSE = 1.0
"""Seconds between two rotations of the honest tenant. While it is at work, the others together have few places."""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def engines(request: pytest.FixtureRequest) -> set[str]:
    """Those whose tests are selected."""
    found = (getattr(item, "callspec", None) for item in request.session.items)
    return {spec.params["engine"] for spec in found if spec is not None and "engine" in spec.params}


@pytest.fixture(scope="module")
def attacks(engines: set[str], arena: Arena) -> list[Attack]:
    """All of them, made and judged beside the honest tenant."""
    namespaces = {engine: arena.namespace(engine) for engine in sorted(engines)}
    attacks = {
        namespace: [Attack(cell, namespace.name) for cell in CELLS if cell.engine == engine]
        for engine, namespace in namespaces.items()
    }
    made = [attack for its in attacks.values() for attack in its]
    try:
        with arena.attacked("every stage", pause=PAUSE):
            for namespace, its in attacks.items():
                namespace.apply(its)
            judge_all(attacks, SECONDS)
    finally:
        arena.table.outcomes |= {attack.cell: attack.outcome for attack in made}
    return made


@pytest.mark.parametrize("engine", [protocol.engine for protocol in PROTOCOLS])
def test_hostile_server_is_told_and_disturbs_nobody(engine: str, attacks: list[Attack]) -> None:
    failed = [f"{each.cell}: {each.outcome}" for each in attacks if each.cell.engine == engine and each.outcome != OK]
    assert not failed, "\n".join(failed)
