"""Which engine answers to a secret value's ``engine``.

Knows the engines that come with the operator and finds others by the entry-point group ``rotated_secrets.databases``:
each loads a class, made without arguments, of objects that have the protocol
:class:`~rotated_secrets.databases.base.Engine`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from types import MappingProxyType

from rotated_secrets.databases.base import Engine, Refused
from rotated_secrets.databases.postgres import PostgresEngine

ENTRY_POINT_GROUP = "rotated_secrets.databases"


def engine_named(name: str) -> Engine:
    """The engine for a secret value's ``engine``, whose names are lower case as in AWS's templates.

    Raises:
        Refused: there is none of this name.
    """
    known = known_engines()
    if name not in known:
        raise Refused(f"engine {name[:60]!r} in the secret value is not known; known are {', '.join(sorted(known))}")
    return known[name]


@lru_cache(maxsize=1)
def known_engines() -> Mapping[str, Engine]:
    """Every engine by each of its names."""
    return gather((PostgresEngine(),), (entry.load()() for entry in entry_points(group=ENTRY_POINT_GROUP)))


def gather(built_in: Iterable[Engine], added: Iterable[Engine]) -> Mapping[str, Engine]:
    """Engines by name.

    Raises:
        ValueError: two engines claim one name; an engine that was added must not take the place of another silently.
    """
    by_name: dict[str, Engine] = {}
    for engine in (*built_in, *added):
        for name in engine.names:
            if name in by_name:
                raise ValueError(f"two engines are named {name!r}; remove one of the packages that bring them")
            by_name[name] = engine
    return MappingProxyType(by_name)
