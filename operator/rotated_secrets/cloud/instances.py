"""Where databases answer that RDS or Redshift runs, and which is a copy of which, by the word of AWS's API alone.

A host name is only a hint which instance to ask about: what counts is the end point that AWS then names. Must not know
secrets, rotations, or who wants to log in.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from rotated_secrets.cloud.arns import Resource
from rotated_secrets.cloud.calls import OPERATOR, CloudRefused, CloudUnavailable, NotThere, ask
from rotated_secrets.values import Endpoint

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient
    from mypy_boto3_rds.type_defs import DBClusterTypeDef, DBInstanceMessageTypeDef, DBInstanceTypeDef, FilterTypeDef
    from mypy_boto3_redshift import RedshiftClient

KEPT_SECONDS: Final = 300.0
"""How long an answer counts. An instance that is renamed, or a replica that is promoted, is noticed so much later."""
MOST_CALLS: Final = 20
"""To find out about one copy: a chain of replicas is at most three long, and a cluster has at most fifteen."""

ENGINES: Final = (
    (re.compile(r"postgres"), "postgres"),
    (re.compile(r"aurora-postgresql"), "aurora-postgresql"),
    (re.compile(r"mysql"), "mysql"),
    (re.compile(r"aurora-mysql|aurora"), "aurora-mysql"),
    (re.compile(r"mariadb"), "mariadb"),
    (re.compile(r"docdb"), "docdb"),
    (re.compile(r"(custom-)?oracle-.+"), "oracle"),
    (re.compile(r"(custom-)?sqlserver-.+"), "sqlserver"),
)
"""RDS's names of engines ("Engine", CreateDBInstance and CreateDBCluster) and those of secret values."""

Address = tuple[str, int]
"""A host name in lower case, and a port."""

_LABEL: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")


class Databases:
    """What one identity can see of databases in every region. Safe to use from several threads."""

    def __init__(
        self,
        client: Callable[[str, str], Any],
        clock: Callable[[], float] = time.monotonic,
        *,
        whom: str = OPERATOR,
    ) -> None:
        """``client`` gives a boto3 client of a service in a region; ``whom`` says in words who asks by it."""
        self._client = client
        self._whom = whom
        self._clock = clock
        self._places: dict[str, tuple[Endpoint, float]] = {}
        self._copies: dict[tuple[Address, Address], float] = {}

    def place_of(self, database: Resource) -> Endpoint:
        """Which engine it is, and where it answers.

        Raises:
            CloudUnavailable: it is not there yet, or AWS does not answer.
            CloudDenied, CloudRefused: see there.
        """
        found, until = self._places.get(database.arn, (None, 0.0))
        if found is None or until <= self._clock():
            found = self._redshift(database) if database.service == "redshift" else self._rds(database)
            self._places[database.arn] = (found, self._clock() + KEPT_SECONDS)
        return found

    def is_copy(self, host: str, port: int, *, of: Address, region: str) -> bool:
        """Whether ``host:port`` is the data of another end point by another name, or a read replica of it.

        That is: another end point of the same cluster, or of an instance in it; or a replica of the instance or
        cluster, in whichever region, or of such a replica.

        Args:
            host: of the one that may be a copy.
            port: of the same.
            of: end point of an instance or cluster.
            region: where that one is.

        Raises:
            CloudUnavailable, CloudDenied, CloudRefused: nobody knows.
        """
        asked, primary = (_plain(host), port), (_plain(of[0]), of[1])
        until = self._copies.get((asked, primary), 0.0)
        if until > self._clock():
            return True
        found = any(asked in node.addresses for node in self._relatives(primary, region))
        if found:
            self._copies[asked, primary] = self._clock() + KEPT_SECONDS
        return found

    # ---- one database

    def _rds(self, database: Resource) -> Endpoint:
        client: RDSClient = self._client("rds", database.region)
        if database.kind == "db":
            instance = _instances(
                str(database), self._whom, lambda: client.describe_db_instances(DBInstanceIdentifier=database.arn)
            )[0]
            endpoint = instance.get("Endpoint", {})
            return _place(database, instance.get("Engine"), endpoint.get("Address"), endpoint.get("Port"))
        cluster = _cluster(client, database.arn, str(database), self._whom)
        return _place(database, cluster.get("Engine"), cluster.get("Endpoint"), cluster.get("Port"))

    def _redshift(self, database: Resource) -> Endpoint:
        client: RedshiftClient = self._client("redshift", database.region)
        answer = ask(
            "redshift",
            "DescribeClusters",
            str(database),
            self._whom,
            lambda: client.describe_clusters(ClusterIdentifier=database.name),
        )
        endpoint = answer["Clusters"][0].get("Endpoint", {})
        return _place(database, "redshift", endpoint.get("Address"), endpoint.get("Port"))

    # ---- many of one kind

    def _relatives(self, primary: Address, region: str) -> Iterator[_Node]:
        """What answers at ``primary``, and all that has its data, nearest first."""
        first = self._named_by(primary[0], region)
        if first is None or primary not in first.addresses:
            return
        known, todo, calls = {first.name}, [first], 1
        while todo:
            node = todo.pop(0)
            yield node
            for names in _together(node.related - known):
                calls += 1
                if calls > MOST_CALLS:
                    raise CloudRefused(f"{MOST_CALLS} calls were not enough to find all copies of {primary[0]}")
                todo += [each for each in self._named(names) if self._is_new(each, node, known)]

    @staticmethod
    def _is_new(node: _Node, source: _Node, known: set[_Name]) -> bool:
        """Not seen yet, and named by both sides: an identifier alone may be that of something else."""
        if node.name in known or not node.belongs_to(source):
            return False
        known.add(node.name)
        return True

    def _named_by(self, host: str, region: str) -> _Node | None:
        """The instance or cluster whose end point the host may be: both names begin with the identifier.

        Source: "Endpoint", DescribeDBInstances and DescribeDBClusters; "Types of Aurora endpoints", Aurora User Guide.
        """
        name, _, rest = host.partition(".")
        if not _LABEL.fullmatch(name) or not rest:
            return None
        kind = "cluster" if rest.startswith("cluster-") else "db"
        return next(self._named([_Name(region, kind, name)]), None)

    def _named(self, names: Sequence[_Name]) -> Iterator[_Node]:
        """Those that there are of some names in one region: several instances, or one cluster."""
        region, about = names[0].region, ", ".join(map(str, names))
        client: RDSClient = self._client("rds", region)
        try:
            if names[0].kind == "cluster":
                yield _Node.of_cluster(_cluster(client, names[0].name, about, self._whom), region)
            else:
                wanted: list[FilterTypeDef] = [{"Name": "db-instance-id", "Values": [name.name for name in names]}]
                found = _instances(about, self._whom, lambda: client.describe_db_instances(Filters=wanted))
                yield from (_Node.of_instance(instance, region) for instance in found)
        except NotThere:
            return


@dataclass(frozen=True)
class _Name:
    """An identifier, which counts in its region, and among instances or clusters alone."""

    region: str
    kind: str
    """``db`` or ``cluster``, as in ARNs."""
    name: str

    @classmethod
    def of(cls, text: str, region: str, kind: str) -> _Name:
        """An ARN, or a mere identifier where it is clear of what."""
        found = Resource.of(text)
        return cls(found.region, found.kind, found.name.lower()) if found else cls(region, kind, text.lower())

    def __str__(self) -> str:
        return f"DB {'instance' if self.kind == 'db' else 'cluster'} {self.name} in {self.region}"


@dataclass(frozen=True)
class _Node:
    """An instance or a cluster: where it answers, and what has the same data."""

    name: _Name
    addresses: frozenset[Address]
    related: frozenset[_Name]
    """Its replicas, its members, and the cluster that it is a member of."""
    sources: frozenset[_Name]
    """What it is a replica or member of."""

    @classmethod
    def of_instance(cls, found: DBInstanceTypeDef, region: str) -> _Node:
        endpoint = found.get("Endpoint", {})
        member = _names(region, "cluster", found.get("DBClusterIdentifier"))
        return cls(
            _Name.of(found["DBInstanceIdentifier"], region, "db"),
            _addresses(endpoint.get("Port"), endpoint.get("Address")),
            _names(region, "db", *found.get("ReadReplicaDBInstanceIdentifiers", ()))
            | _names(region, "cluster", *found.get("ReadReplicaDBClusterIdentifiers", ()))
            | member,
            _names(region, "db", found.get("ReadReplicaSourceDBInstanceIdentifier"))
            | _names(region, "cluster", found.get("ReadReplicaSourceDBClusterIdentifier"))
            | member,
        )

    @classmethod
    def of_cluster(cls, found: DBClusterTypeDef, region: str) -> _Node:
        own = (found.get("Endpoint"), found.get("ReaderEndpoint"), *found.get("CustomEndpoints", ()))
        members = [member.get("DBInstanceIdentifier") for member in found.get("DBClusterMembers", ())]
        # Replicas of a Multi-AZ cluster are instances, those of an Aurora cluster are clusters: tried as both.
        replicas = found.get("ReadReplicaIdentifiers", ())
        return cls(
            _Name.of(found["DBClusterIdentifier"], region, "cluster"),
            _addresses(found.get("Port"), *own),
            _names(region, "db", *members, *replicas) | _names(region, "cluster", *replicas),
            _names(region, "cluster", found.get("ReplicationSourceIdentifier")),
        )

    def belongs_to(self, other: _Node) -> bool:
        return other.name in self.sources or self.name in other.sources


def _instances(about: str, whom: str, call: Callable[[], DBInstanceMessageTypeDef]) -> list[DBInstanceTypeDef]:
    found = ask("rds", "DescribeDBInstances", about, whom, call)["DBInstances"]
    if not found:
        raise NotThere(f"AWS finds no {about}")
    return found


def _cluster(client: RDSClient, name: str, about: str, whom: str) -> DBClusterTypeDef:
    found = ask("rds", "DescribeDBClusters", about, whom, lambda: client.describe_db_clusters(DBClusterIdentifier=name))
    if not found["DBClusters"]:
        raise NotThere(f"AWS finds no {about}")
    return found["DBClusters"][0]


def _place(database: Resource, engine: str | None, host: str | None, port: int | None) -> Endpoint:
    if not host or not port:
        raise CloudUnavailable(f"{database} has no endpoint yet; it is tried again later")
    return Endpoint(_engine(database, engine or ""), host, port)


def _engine(database: Resource, engine: str) -> str:
    if engine == "redshift":
        return engine
    name = next((ours for theirs, ours in ENGINES if theirs.fullmatch(engine)), None)
    if name is None:
        raise CloudRefused(f"{database} runs {engine or 'no engine'}, which the operator does not rotate")
    return name


def _names(region: str, kind: str, *texts: str | None) -> frozenset[_Name]:
    return frozenset(_Name.of(text, region, kind) for text in texts if text)


def _addresses(port: int | None, *hosts: str | None) -> frozenset[Address]:
    return frozenset((_plain(host), port) for host in hosts if host and port)


def _together(names: Iterable[_Name]) -> Iterator[list[_Name]]:
    """What one call each can ask about: all instances of a region, and each cluster by itself."""
    for (_, kind), some in groupby(sorted(names, key=_order), key=lambda name: (name.region, name.kind)):
        if kind == "cluster":
            yield from ([name] for name in some)
        else:
            yield list(some)


def _order(name: _Name) -> tuple[str, str, str]:
    return name.region, name.kind, name.name


def _plain(host: str) -> str:
    return host.rstrip(".").lower()
