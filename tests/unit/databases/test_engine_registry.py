"""An engine is found by the name that a secret value gives it."""

from __future__ import annotations

import pytest

from rotated_secrets.databases.base import Refused
from rotated_secrets.databases.postgres import PostgresEngine
from rotated_secrets.databases.registry import engine_named, gather


@pytest.mark.parametrize("name", ["postgres", "aurora-postgresql"])
def test_postgresql_is_known_by_both_of_its_names(name: str) -> None:
    assert isinstance(engine_named(name), PostgresEngine)


@pytest.mark.parametrize("name", ["db2", "Postgres", ""])
def test_an_unknown_engine_is_refused_with_those_that_are_known(name: str) -> None:
    with pytest.raises(Refused, match="known are aurora-postgresql, postgres"):
        engine_named(name)


def test_a_long_name_is_cut_in_the_refusal() -> None:
    with pytest.raises(Refused) as told:
        engine_named("x" * 60_000)
    assert len(str(told.value)) < 200


def test_an_added_engine_is_found_by_its_names() -> None:
    class Added(PostgresEngine):
        names = frozenset({"cockroach"})

    assert isinstance(gather([PostgresEngine()], [Added()])["cockroach"], Added)


def test_an_added_engine_cannot_take_the_place_of_another() -> None:
    with pytest.raises(ValueError, match="two engines are named"):
        gather([PostgresEngine()], [PostgresEngine()])
