"""Verify queries write nothing, end in time, and do not wait for locks: the same for engines that speak SQL."""

from __future__ import annotations

import re
import time

import pytest

from rotated_secrets.databases.base import Engine, Unavailable
from rotated_secrets.databases.mariadb import MariaDbEngine
from rotated_secrets.databases.mysql import MySqlEngine
from rotated_secrets.databases.postgres import PostgresEngine
from sandbox.applications.mysqld import MysqldSide
from tests.support.database_tenant import Tenant

SPOILS_IN_POSTGRES = (
    "CREATE FUNCTION spoil() RETURNS int LANGUAGE sql AS 'INSERT INTO prices VALUES (2) RETURNING amount'"
)
SPOILS_IN_MYSQL = (
    "CREATE FUNCTION spoil() RETURNS int DETERMINISTIC MODIFIES SQL DATA SQL SECURITY INVOKER "
    "BEGIN INSERT INTO prices VALUES (2); RETURN 1; END"
)


@pytest.mark.parametrize(
    ("engine", "function", "why"),
    [
        ("postgres", SPOILS_IN_POSTGRES, "25006"),
        ("mysql", SPOILS_IN_MYSQL, "1792"),
        ("mariadb", SPOILS_IN_MYSQL, "1792"),
    ],
)
def test_a_query_cannot_write_by_a_function(tenant: Tenant, function: str, why: str) -> None:
    tenant.run("CREATE TABLE prices (amount int)", "GRANT ALL ON prices TO {base}", function)
    (failed,) = tenant.verify(queries=["SELECT spoil()"])
    assert why in failed
    assert tenant.run("SELECT count(*) FROM prices") == [(0,)]


OUTFILES = (
    "SELECT 1 INTO OUTFILE '{path}'",
    "SELECT 1 INTO OUTFILE '{path}' FROM dual",
    "SELECT 'a\\'' , 1 into/**/dumpfile '{path}'",
    "TABLE prices INTo\n  OUTFILE '{path}'",
    "SELECT 1 /*!INTO OUTFILE '{path}'*/",
    "SELECT 1 /*!80000into*/ OUTFILE '{path}'",
    "(SELECT 1)INTO OUTFILE '{path}'",
    "SELECT 1 INTO @a",
)


@pytest.mark.parametrize(
    ("engine", "query"),
    [
        *(("mysql", query) for query in OUTFILES),
        ("mariadb", OUTFILES[0]),
        ("mariadb", "SELECT 1 /*M!100000into*/ DUMPFILE '{path}'"),
    ],
)
def test_a_query_writes_no_file(tenant: Tenant, query: str) -> None:
    assert isinstance(tenant.side, MysqldSide)
    tenant.run("CREATE TABLE prices (amount int)")
    path = tenant.side.server.directory / "written"
    failed = tenant.verify(tenant.side.owner, [query.format(path=path)])
    assert not path.exists()
    assert failed == ["verify query 1 was not run: it holds the word INTO, which could write a file; leave it out"]
    assert tenant.verify(queries=["SELECT 1 AS intonation, 2 AS _into, 3 AS goes_into"]) == []


@pytest.mark.parametrize(
    ("engine", "hasty", "slow", "at"),
    [
        ("postgres", PostgresEngine(verify_seconds=0.7), "SELECT pg_sleep(0.3)", "[23]"),
        ("mysql", MySqlEngine(verify_seconds=0.7), "SELECT SLEEP(0.3)", "[123]"),
        ("mysql", MySqlEngine(verify_seconds=0.7), "SELECT BENCHMARK(1e10, SHA2('x', 512))", "[123]"),
        ("mariadb", MariaDbEngine(verify_seconds=0.7), "SELECT SLEEP(0.3)", "[123]"),
    ],
    ids=("postgres", "mysql-sleep", "mysql-benchmark", "mariadb"),
)
def test_queries_that_take_too_long_together_are_a_failed_check(
    tenant: Tenant, hasty: Engine, slow: str, at: str
) -> None:
    begun = time.monotonic()
    (failed,) = tenant.verify(queries=[slow] * 9, engine=hasty)
    assert re.fullmatch(
        rf"verify queries took longer than 0\.7 s together \(at query {at}\); make them cheaper", failed
    )
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("engine", "hasty", "statement", "why"),
    [
        ("postgres", PostgresEngine(verify_seconds=1.0), "LOCK TABLE prices", "55P03"),
        ("mysql", MySqlEngine(verify_seconds=3.0), "LOCK TABLES prices WRITE", "lock"),
        ("mariadb", MariaDbEngine(verify_seconds=3.0), "LOCK TABLES prices WRITE", "lock"),
    ],
    ids=("postgres", "mysql", "mariadb"),
)
def test_a_query_that_waits_for_a_lock_is_tried_again(tenant: Tenant, hasty: Engine, statement: str, why: str) -> None:
    tenant.run("CREATE TABLE prices (amount int)", "GRANT ALL ON prices TO {base}")
    with tenant.connected(tenant.account) as migration:
        migration.cursor().execute(statement)
        with pytest.raises(Unavailable, match=why):
            tenant.verify(queries=["SELECT * FROM prices"], engine=hasty)
