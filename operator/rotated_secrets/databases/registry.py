"""Which engine answers to a secret value's ``engine``.

Knows the engines that come with the operator and finds others by the entry-point group ``rotated_secrets.databases``:
each loads a class, made without arguments, of objects that have the protocol
:class:`~rotated_secrets.databases.base.Engine`. An engine is loaded, and its driver with it, once a value names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from rotated_secrets.databases.base import Engine, Refused

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
        "elasticache": f"{_PACKAGE}.elasticache:ElastiCacheEngine",
        "oracle": f"{_PACKAGE}.oracle:OracleEngine",
        "sqlserver": f"{_PACKAGE}.sqlserver:SqlServerEngine",
    }
)


def engine_named(name: str) -> Engine:
    """The engine for a secret value's ``engine``, whose names are lower case as in AWS's templates.

    Raises:
        Refused: there is none of this name.
    """
    known = known_engines()
    if name not in known:
        raise Refused(f"engine {name[:60]!r} in the secret value is not known; known are {', '.join(sorted(known))}")
    return _loaded(known[name])


@lru_cache(maxsize=1)
def known_engines() -> Mapping[str, EntryPoint]:
    """Where every engine is, by each of its names."""
    built_in = [EntryPoint(name, where, ENTRY_POINT_GROUP) for name, where in BUILT_IN.items()]
    return gather(built_in, entry_points(group=ENTRY_POINT_GROUP))


def gather(built_in: Iterable[EntryPoint], added: Iterable[EntryPoint]) -> Mapping[str, EntryPoint]:
    """Entry points by name: that of an added engine is the ``engine`` of its secret values.

    Raises:
        ValueError: two engines claim one name; an engine that was added must not take the place of another silently.
    """
    by_name: dict[str, EntryPoint] = {}
    for entry in (*built_in, *added):
        if entry.name in by_name:
            raise ValueError(f"two engines are named {entry.name!r}; remove one of the packages that bring them")
        by_name[entry.name] = entry
    return MappingProxyType(by_name)


@lru_cache(maxsize=64)
def _loaded(entry: EntryPoint) -> Engine:
    engine: Engine = entry.load()()
    return engine
