"""What the engines use of their drivers that the drivers keep for themselves, and may change in any minor version.

For each such name: what would break without it. So `pyproject.toml` allows no other minor version of these drivers
than the one that the tests ran with.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.documents import ROOT

DATABASES = ROOT / "operator" / "rotated_secrets" / "databases"
DRIVERS = {"redis": "redis", "pymongo": "pymongo", "pytds": "python-tds", "pymysql": "pymysql", "oracledb": "oracledb"}
"""The package of each driver, by the name that is imported. psycopg2 is C: it has no names of its own to reach for."""


@dataclass(frozen=True)
class Internal:
    """A name of a driver's that it does not document."""

    place: str
    """Its module, a colon, and its name there."""
    breaks: str
    """What would no longer work, in words that complete "without it, …"."""
    arguments: tuple[str, ...] = ()
    """The names of the arguments by which it is called, after ``self``, as far as they are given by name."""
    positional: int | None = None
    """How many arguments are given by place, ``self`` among them; None where it is not called."""
    also: tuple[str, ...] = field(default=())
    """Attributes of its objects that are used, of which the class itself says nothing."""

    @property
    def driver(self) -> str:
        return self.place.partition(".")[0].partition(":")[0]

    def found(self) -> Any:
        module, _, path = self.place.partition(":")
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        return found


INTERNALS = (
    Internal(
        "redis._parsers:_RESP2Parser",
        "answers of Redis are read by the parser that the driver chooses, in a protocol that is not the one asked for",
    ),
    Internal(
        "redis.connection:Connection._connect",
        "the driver connects by itself: to an address that was not checked, with no limit on what it receives",
        positional=1,
    ),
    Internal(
        "pymongo.auth_shared:_build_credentials_tuple",
        "no user of MongoDB logs in: only this makes what authenticate takes",
        positional=6,
    ),
    Internal(
        "pymongo.synchronous.auth:authenticate",
        "no user of MongoDB logs in: a client of the driver would follow the server to addresses that were not checked",
        positional=2,
    ),
    Internal("pymongo.saslprep:saslprep", "passwords that MongoDB does not allow are found at its login", positional=1),
    Internal("pymongo.pool_options:PoolOptions", "connections to MongoDB have no TLS and no limits in time"),
    Internal("pymongo.synchronous.pool:Pool.connect", "no connection to MongoDB is made", positional=1),
    Internal("pymongo.synchronous.pool:Connection.command", "nothing is asked of MongoDB", positional=3),
    Internal("pymongo.synchronous.pool:Connection.hello_cmd", "MongoDB is not asked for its time", positional=1),
    Internal("pymongo.synchronous.pool:Connection.close_conn", "connections to MongoDB stay open", positional=2),
    Internal(
        "pymongo.network_layer:NetworkingInterface.sock",
        "a frozen MongoDB holds its cell: what takes too long is cut at the socket",
    ),
    Internal(
        "pytds.tds_socket:_TdsSocket",
        "no user of SQL Server logs in: the public connect verifies a part of a certificate, and follows redirections",
        ("sock", "login", "row_strategy", "autocommit"),
        positional=0,
    ),
    Internal(
        "pytds.tds_socket:_TdsSocket.main_session",
        "the number of an error at SQL Server's login is not known, and no wrong password is told from an outage",
    ),
    Internal("pytds.tds_socket:_TdsSocket.login", "no user of SQL Server logs in", positional=1),
    Internal(
        "pytds.tds_base:_TdsLogin",
        "no user of SQL Server logs in: only this says for whom, and with which protection",
        positional=0,
        also=("enc_flag", "tls_ctx", "validate_host", "user_name", "password", "database", "client_host_name"),
    ),
    Internal(
        "pytds.connection:NonMarsConnection",
        "nothing is asked of SQL Server",
        ("pooling", "key", "tds_socket"),
        positional=0,
    ),
    Internal(
        "pymysql.connections:Connection._read_bytes",
        "a hostile MySQL fills the memory: this is where what it sends is counted",
        positional=2,
    ),
    Internal(
        "pymysql.connections:Connection._request_authentication",
        "anyone on the way to MySQL may end a rotation: this tells that it was the server itself who answered",
        positional=1,
    ),
    Internal(
        "pymysql.connections:Connection._process_auth",
        "accounts of MariaDB with several ways to log in do not log in",
        positional=4,
    ),
    Internal(
        "pymysql.connections:Connection._get_auth_plugin_handler",
        "accounts of MariaDB with several ways to log in do not log in",
        positional=2,
    ),
    Internal(
        "pymysql.connections:Connection._secure",
        "an error of MySQL that came without TLS counts as the server's own, and may end a rotation",
    ),
    Internal("pymysql.connections:Connection._result", "rows of a verify query are kept in memory, all of them"),
    Internal(
        "pymysql.connections:MySQLResult._read_rowdata_packet_unbuffered",
        "rows of a verify query are kept in memory, all of them",
        positional=1,
    ),
    Internal("pymysql.connections:MySQLResult.unbuffered_active", "a query of many rows is read on when it is left"),
)


@pytest.mark.parametrize("internal", INTERNALS, ids=lambda internal: internal.place)
def test_driver_has_what_is_used_of_it(internal: Internal) -> None:
    where = f"{DRIVERS[internal.driver]} has no {internal.place} as it is used; without it, {internal.breaks}"
    try:
        found = internal.found()
    except (ImportError, AttributeError):
        assert _is_set_by_its_class(internal), where
        return
    if internal.positional is not None:
        try:
            inspect.signature(found).bind(*[None] * internal.positional, **dict.fromkeys(internal.arguments))
        except TypeError as error:
            pytest.fail(f"{where} ({error})")
    made = found() if internal.also else None
    assert [name for name in internal.also if not hasattr(made, name)] == [], where


def _is_set_by_its_class(internal: Internal) -> bool:
    """Whether its class says ``self.name = …`` somewhere, where there is no such name without an object."""
    module, _, path = internal.place.partition(":")
    owner, _, name = path.rpartition(".")
    if not owner:
        return False
    source = inspect.getsource(getattr(importlib.import_module(module), owner))
    return f"self.{name} = " in source


@pytest.mark.parametrize("driver", sorted({internal.driver for internal in INTERNALS}))
def test_only_the_minor_version_of_a_driver_is_allowed_whose_internals_were_tried(driver: str) -> None:
    package = DRIVERS[driver]
    pinned = _pinned(package)
    tried = f">={pinned.major}.{pinned.minor},<{pinned.major}.{pinned.minor + 1}"
    names = "\n".join(f"  {each.place}: without it, {each.breaks}" for each in INTERNALS if each.driver == driver)
    assert _allowed()[package].specifier == SpecifierSet(tried), (
        f"the tests run with {package} {pinned}: write {tried} in pyproject.toml. Other versions may lack\n{names}"
    )


def test_every_private_name_that_the_engines_use_is_in_the_list() -> None:
    listed = {internal.place.rpartition(":")[2].rpartition(".")[2] for internal in INTERNALS}
    used = {name: path for path in sorted(DATABASES.rglob("*.py")) for name in _private_names(path)}
    assert {name: str(path) for name, path in used.items() if name not in listed} == {}
    assert {name for name in listed if name.startswith("_")} - used.keys() == set()


def _private_names(path: Path) -> Iterator[str]:
    """The names with an underscore that a module takes from a driver: imports, attributes, and what it overrides."""
    tree = ast.parse(path.read_text())
    of_drivers: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in DRIVERS:
            of_drivers |= {alias.asname or alias.name for alias in node.names}
            yield from (alias.name for alias in node.names if alias.name.startswith("_"))
        elif isinstance(node, ast.Import):
            of_drivers |= {alias.name for alias in node.names if alias.name.partition(".")[0] in DRIVERS}
    if not of_drivers:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr) and not _is_own(node.value):
            yield node.attr
        if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id in of_drivers for b in node.bases):
            yield from _taken_over(node)


def _taken_over(derived: ast.ClassDef) -> Iterator[str]:
    """The private names of a class that derives from a driver's, but for those that it makes itself."""
    own = {
        target.attr
        for node in ast.walk(derived)
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for each in (node.targets if isinstance(node, ast.Assign) else [node.target])
        for target in ast.walk(each)
        if isinstance(target, ast.Attribute) and _is_own(target.value)
    }
    for node in ast.walk(derived):
        name = ""
        if isinstance(node, ast.FunctionDef):
            name = node.name
        elif isinstance(node, ast.Attribute) and _is_own(node.value):
            name = node.attr
        if _is_private(name) and name not in own:
            yield name


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _is_own(node: ast.expr) -> bool:
    """Whether this is ``self`` or ``super()``."""
    named = node.func if isinstance(node, ast.Call) else node
    return isinstance(named, ast.Name) and named.id in ("self", "super")


def _allowed() -> Mapping[str, Requirement]:
    """What `pyproject.toml` allows of each package that the operator needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = map(Requirement, project["dependencies"])
    return {canonicalize_name(each.name): each for each in requirements}


def _pinned(package: str) -> Version:
    """The version that the tests run with, and the image has."""
    for line in (ROOT / "requirements" / "runtime.txt").read_text().splitlines():
        name, _, rest = line.partition("==")
        if name == package:
            return Version(rest.split()[0])
    raise AssertionError(f"requirements/runtime.txt does not pin {package}")
