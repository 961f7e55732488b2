"""Every engine × stage × kind: it is told what was wrong, and nobody else notices."""

from __future__ import annotations

import pytest

from tests.hostile.conftest import Arena
from tests.support.hostile.catalogue import CELLS, PROTOCOLS
from tests.support.hostile.outcomes import OK, Attack

SECONDS = 60

pytestmark = pytest.mark.timeout(400)


@pytest.mark.parametrize("engine", [protocol.engine for protocol in PROTOCOLS])
def test_hostile_server_is_told_and_disturbs_nobody(engine: str, arena: Arena) -> None:
    namespace = arena.namespace(engine)
    attacks = [Attack(cell, namespace.name) for cell in CELLS if cell.engine == engine]
    try:
        with arena.attacked(engine):
            namespace.apply(attacks)
            namespace.judged(attacks, SECONDS)
    finally:
        arena.table.outcomes |= {attack.cell: attack.outcome for attack in attacks}
    failed = [f"{attack.cell}: {attack.outcome}" for attack in attacks if attack.outcome != OK]
    assert not failed, "\n".join(failed)
