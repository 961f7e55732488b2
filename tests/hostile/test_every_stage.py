"""Every engine × stage × kind: it is told what was wrong, and nobody else notices.

Some engines at a time, each in a namespace of its own, and all servers of these engines at once.
"""

from __future__ import annotations

import pytest

from tests.hostile.conftest import Arena
from tests.support.hostile.catalogue import CELLS, PROTOCOLS
from tests.support.hostile.outcomes import OK, Attack, judge_all

AT_ONCE = 3
"""Engines that are attacked with at a time."""
MOST_OF_TENANT = 120
"""Servers that one namespace names: a third of AWS's need a role each, and a namespace may use 50."""
SECONDS = 240
"""Until all of them must have been judged: each holds a place for as long as a login that hangs may take."""
PAUSE = 3.0
"""Seconds between two rotations of the honest tenant. While it is at work, the others together have few places."""
ENGINES = tuple(protocol.engine for protocol in PROTOCOLS)

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def groups(request: pytest.FixtureRequest) -> dict[str, tuple[str, ...]]:
    """For each engine whose test is selected, those that are attacked with together."""
    specs = (getattr(item, "callspec", None) for item in request.session.items)
    selected = {spec.params["engine"] for spec in specs if spec is not None and "engine" in spec.params}
    # What is next to each other is alike, and would need the same of the operator at the same time.
    chosen = [engine for engine in ENGINES if engine in selected]
    count = -(-len(chosen) // AT_ONCE)
    return {engine: tuple(chosen[number % count :: count]) for number, engine in enumerate(chosen)}


@pytest.fixture(scope="module")
def judged() -> dict[str, list[Attack]]:
    """Engine → its attacks, once they were made and judged."""
    return {}


def attack(arena: Arena, engines: tuple[str, ...], judged: dict[str, list[Attack]]) -> None:
    """Attack with all servers of these engines, beside the honest tenant."""
    attacks = {}
    for engine in engines:
        cells = [cell for cell in CELLS if cell.engine == engine]
        tenants = -(-len(cells) // MOST_OF_TENANT)
        for number in range(tenants):
            namespace = arena.namespace(engine)
            attacks[namespace] = [Attack(cell, namespace.name) for cell in cells[number::tenants]]
            judged.setdefault(engine, []).extend(attacks[namespace])
    try:
        with arena.attacked(", ".join(engines), pause=PAUSE):
            for namespace, its in attacks.items():
                namespace.apply(its)
            judge_all(attacks, SECONDS)
    finally:
        arena.table.outcomes |= {each.cell: each.outcome for its in attacks.values() for each in its}


@pytest.mark.parametrize("engine", ENGINES)
def test_hostile_server_is_told_and_disturbs_nobody(
    engine: str, arena: Arena, groups: dict[str, tuple[str, ...]], judged: dict[str, list[Attack]]
) -> None:
    if engine not in judged:
        attack(arena, groups[engine], judged)
    failed = [f"{each.cell}: {each.outcome}" for each in judged[engine] if each.outcome != OK]
    assert not failed, "\n".join(failed)
