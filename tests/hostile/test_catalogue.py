"""What the suite consists of: nothing is listed by hand, so nothing can be left out by mistake."""

from __future__ import annotations

import pytest

from rotated_secrets.databases.registry import BUILT_IN
from tests.support.hostile.catalogue import CELLS, PROTOCOLS
from tests.support.hostile.evil import FOREIGN, FORGED, Kind, forged
from tests.support.hostile.outcomes import foreign_lines
from tests.support.hostile.stages import COPIES, combination

AURORA = {"aurora-postgresql", "aurora-mysql"}
"""Other names of engines that are there."""
ALWAYS = set(Kind) - {Kind.DEEP, Kind.WIDE, Kind.COSTLY, Kind.FORGES} - FOREIGN


def test_every_engine_the_webhook_and_aws_have_a_protocol() -> None:
    assert {protocol.engine for protocol in PROTOCOLS} == set(BUILT_IN) - AURORA | {"webhook", "aws"}


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.engine)
def test_every_stage_has_every_kind_that_its_protocol_has_words_for(protocol: object) -> None:
    for stage in {cell.stage for cell in CELLS if cell.protocol is protocol}:
        assert {cell.kind for cell in CELLS if cell.stage is stage and cell.protocol is protocol} >= ALWAYS


def test_every_combination_has_addresses_and_a_name_of_its_own() -> None:
    addresses = [(cell, cell.address(copy)) for cell in CELLS for copy in range(COPIES)]
    assert len({address for _, address in addresses}) == len(addresses)
    assert all(combination(address) == cell.number for cell, address in addresses)
    assert len({(cell.engine, cell.slug) for cell in CELLS}) == len(CELLS)


@pytest.mark.parametrize("line", [forged("somebody"), f"NOTICE: {FORGED}", "[1]", '{"made": "up"}', "Traceback"])
def test_line_of_another_than_the_operators_logger_is_found(line: str) -> None:
    own = forged("somebody").replace(f'"logger": "{FORGED}"', '"logger": "rotated_secrets"')
    assert foreign_lines(f"{own}\n{line}\n{own}\n") == [line]
