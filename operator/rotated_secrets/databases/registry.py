"""Which engine answers to a secret value's ``engine``.

Knows the engines that come with the operator and finds others by the entry-point group ``rotated_secrets.databases``:
each loads a class, made without arguments, of objects that have the protocol
:class:`~rotated_secrets.databases.base.Engine`. An engine is loaded, and its driver with it, once a value names it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from rotated_secrets.databases.base import Engine, Refused
from rotated_secrets.databases.plugins import load, package_of

ENTRY_POINT_GROUP = "rotated_secrets.databases"

_PACKAGE = "rotated_secrets.databases"
BUILT_IN: Mapping[str, str] = MappingProxyType(
    {
        "postgres": f"{_PACKAGE}.postgres:PostgresEngine",
        "aurora-postgresql": f"{_PACKAGE}.postgres:PostgresEngine",
        "redshift": f"{_PACKAGE}.redshift:RedshiftEngine",
        "mysql": f"{_PACKAGE}.mysql:MySqlEngine",
        "aurora-mysql": f"{_PACKAGE}.mysql:MySqlEngine",
        "mariadb": f"{_PACKAGE}.mariadb:MariaDbEngine",
        "mongo": f"{_PACKAGE}.mongo:MongoEngine",
        "docdb": f"{_PACKAGE}.mongo:DocumentDbEngine",
        "redis": f"{_PACKAGE}.redis:RedisEngine",
        "elasticache": f"{_PACKAGE}.elasticache.engine:ElastiCacheEngine",
        "oracle": f"{_PACKAGE}.oracle:OracleEngine",
        "sqlserver": f"{_PACKAGE}.sqlserver:SqlServerEngine",
    }
)


WEBHOOK = "webhook"
"""What a webhook is called among engines; no secret value names it."""


class EngineSwitchedOff(Refused):
    """The operator's settings do not have this engine."""


def enabled_engines(switched_on: Collection[str] = ()) -> frozenset[str]:
    """The names of the engines that may be used: those that are switched on or, where none is named, all.

    Raises:
        ValueError: one of them is not the name of an engine.
    """
    known = {*known_engines(), WEBHOOK}
    unknown = sorted(set(switched_on) - known)
    if unknown:
        raise ValueError(f"there is no engine {', '.join(unknown)}; the engines are {', '.join(sorted(known))}")
    return frozenset(switched_on or known)


def check_enabled(name: str, switched_on: Collection[str]) -> None:
    """Check that an engine may be used; it is not loaded for that.

    Raises:
        Refused: there is no engine of this name.
        EngineSwitchedOff: there is, and it is switched off.
    """
    if name != WEBHOOK:
        _entries(name)
    if switched_on and name not in switched_on:
        raise EngineSwitchedOff(
            f"engine {name} is switched off in the operator's settings; ask the operator's administrator to add it to "
            "--engines (databases.engines in the chart's values)"
        )


def engine_named(name: str, switched_on: Collection[str] = ()) -> Engine:
    """The engine for a secret value's ``engine``, whose names are lower case as in AWS's templates.

    Raises:
        Refused: there is none of this name, there are several, or it cannot be loaded.
        EngineSwitchedOff: ``switched_on`` lacks it.
    """
    check_enabled(name, switched_on)
    entry, *rivals = _entries(name)
    if rivals:
        packages = " and ".join(sorted(package_of(each) for each in (entry, *rivals)))
        raise Refused(
            f"engine {name} is provided by {packages}; remove one of the packages, or rename the engine of one"
        )
    found = _loaded(entry)
    if isinstance(found, Refused):
        raise Refused(str(found))
    return found


def _entries(name: str) -> tuple[EntryPoint, ...]:
    known = known_engines()
    if name not in known:
        # Without what it names: it may be a password in the wrong key.
        raise Refused(f"engine in the secret value is not one of {', '.join(sorted(known))}")
    return known[name]


@lru_cache(maxsize=1)
def known_engines() -> Mapping[str, tuple[EntryPoint, ...]]:
    """Where every engine is, by each of its names."""
    built_in = [EntryPoint(name, where, ENTRY_POINT_GROUP) for name, where in BUILT_IN.items()]
    return gather(built_in, entry_points(group=ENTRY_POINT_GROUP))


def engine_modules(switched_on: Collection[str] = ()) -> tuple[str, ...]:
    """The modules that have the engines that are enabled, the webhook's among them."""
    enabled = enabled_engines(switched_on)
    modules = [entry.module for name, found in known_engines().items() if name in enabled for entry in found]
    return tuple(dict.fromkeys([*modules, *([f"{_PACKAGE}.webhook"] if WEBHOOK in enabled else [])]))


def gather(built_in: Iterable[EntryPoint], added: Iterable[EntryPoint]) -> Mapping[str, tuple[EntryPoint, ...]]:
    """Entry points by name: that of an added engine is the ``engine`` of its secret values.

    All that claim a name are kept: none may silently replace another, and a conflict about one name does not affect
    other engines.
    """
    by_name: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in (*built_in, *added):
        by_name[entry.name] = (*by_name.get(entry.name, ()), entry)
    return MappingProxyType(by_name)


@lru_cache(maxsize=64)
def _loaded(entry: EntryPoint) -> Engine | Refused:
    """Load it once, also if that fails: a broken package stays broken until the operator is restarted."""
    if entry.dist is None:
        engine: Engine = entry.load()()
        return engine
    try:
        return load(entry)
    except Refused as error:
        return error
