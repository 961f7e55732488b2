"""Endpoints and copies of databases that RDS or Redshift runs, according to the AWS API only.

A host name is only a hint which instance to describe: the endpoint that AWS returns decides. Must not know secrets,
rotations or logins.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from rotated_secrets.cloud.arns import Resource
from rotated_secrets.cloud.calls import OPERATOR, CloudRefused, CloudUnavailable, DatabaseNotFound, ask
from rotated_secrets.values import Endpoint

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient
    from mypy_boto3_rds.type_defs import DBClusterTypeDef, DBInstanceMessageTypeDef, DBInstanceTypeDef, FilterTypeDef
    from mypy_boto3_redshift import RedshiftClient

CACHE_SECONDS: Final = 300.0
"""How long a response is cached. A renamed instance or a promoted replica is noticed with this delay."""
MAX_CALLS: Final = 20
"""Most calls to check one copy: a chain of replicas has at most three, and a cluster at most fifteen."""

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
"""RDS's engine names ("Engine", CreateDBInstance and CreateDBCluster) and the names in secret values."""

Address = tuple[str, int]
"""A host name in lower case, and a port."""

_LABEL: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")


class Databases:
    """The databases that one identity can describe, in every region. Safe to use from several threads."""

    def __init__(
        self,
        client: Callable[[str, str], Any],
        clock: Callable[[], float] = time.monotonic,
        *,
        identity_name: str = OPERATOR,
    ) -> None:
        """``client`` returns a boto3 client of a service in a region; ``identity_name`` describes its identity."""
        self._client = client
        self._identity_name = identity_name
        self._clock = clock
        self._endpoints: dict[str, tuple[Endpoint, float]] = {}
        self._copies: dict[tuple[Address, Address], float] = {}

    def locate(self, database: Resource) -> Endpoint:
        """Return the engine and the endpoint of a database.

        Raises:
            CloudUnavailable: it has no endpoint yet, or AWS does not answer.
            CloudDenied, CloudRefused: see there.
        """
        found, until = self._endpoints.get(database.arn, (None, 0.0))
        if found is None or until <= self._clock():
            found = self._redshift(database) if database.service == "redshift" else self._rds(database)
            self._endpoints[database.arn] = (found, self._clock() + CACHE_SECONDS)
        return found

    def is_copy(self, host: str, port: int, *, of: Address, region: str) -> bool:
        """Whether ``host:port`` serves the same data as another endpoint, or is a read replica of it.

        It is if it is another endpoint of the same cluster, an instance of that cluster, a replica of the instance or
        cluster in any region, or a replica of such a replica.

        Args:
            host: host of the possible copy.
            port: port of the possible copy.
            of: endpoint of an instance or cluster.
            region: region of that instance or cluster.

        Raises:
            CloudUnavailable, CloudDenied, CloudRefused: it could not be determined.
        """
        asked, primary = (_normalized(host), port), (_normalized(of[0]), of[1])
        until = self._copies.get((asked, primary), 0.0)
        if until > self._clock():
            return True
        found = any(asked in node.addresses for node in self._relatives(primary, region))
        if found:
            self._copies[asked, primary] = self._clock() + CACHE_SECONDS
        return found

    # ---- one database

    def _rds(self, database: Resource) -> Endpoint:
        client: RDSClient = self._client("rds", database.region)
        if database.kind == "db":
            instance = _instances(
                str(database),
                self._identity_name,
                lambda: client.describe_db_instances(DBInstanceIdentifier=database.arn),
            )[0]
            endpoint = instance.get("Endpoint", {})
            return _endpoint(database, instance.get("Engine"), endpoint.get("Address"), endpoint.get("Port"))
        cluster = _cluster(client, database.arn, str(database), self._identity_name)
        return _endpoint(database, cluster.get("Engine"), cluster.get("Endpoint"), cluster.get("Port"))

    def _redshift(self, database: Resource) -> Endpoint:
        client: RedshiftClient = self._client("redshift", database.region)
        answer = ask(
            "redshift",
            "DescribeClusters",
            str(database),
            self._identity_name,
            lambda: client.describe_clusters(ClusterIdentifier=database.name),
        )
        if not answer["Clusters"]:
            raise DatabaseNotFound(f"AWS finds no {database}")
        endpoint = answer["Clusters"][0].get("Endpoint", {})
        return _endpoint(database, "redshift", endpoint.get("Address"), endpoint.get("Port"))

    # ---- many of one kind

    def _relatives(self, primary: Address, region: str) -> Iterator[_Node]:
        """Yield the database at ``primary`` and everything that has its data, nearest first."""
        first = self._named_by(primary[0], region)
        if first is None or primary not in first.addresses:
            return
        known, todo, calls = {first.name}, [first], 1
        while todo:
            node = todo.pop(0)
            yield node
            for names in _batches(node.related - known):
                calls += 1
                if calls > MAX_CALLS:
                    raise CloudRefused(f"{MAX_CALLS} calls were not enough to find all copies of {primary[0]}")
                todo += [each for each in self._named(names) if self._is_new(each, node, known)]

    @staticmethod
    def _is_new(node: _Node, source: _Node, known: set[_Name]) -> bool:
        """Whether a node is new and related to its source; an identifier alone could name something else."""
        if node.name in known or not node.belongs_to(source):
            return False
        known.add(node.name)
        return True

    def _named_by(self, host: str, region: str) -> _Node | None:
        """Return the instance or cluster that may have this host: host names begin with its identifier.

        Source: "Endpoint", DescribeDBInstances and DescribeDBClusters; "Types of Aurora endpoints", Aurora User Guide.
        """
        name, _, rest = host.partition(".")
        if not _LABEL.fullmatch(name) or not rest:
            return None
        kind = "cluster" if rest.startswith("cluster-") else "db"
        return next(self._named([_Name(region, kind, name)]), None)

    def _named(self, names: Sequence[_Name]) -> Iterator[_Node]:
        """Yield the existing ones of some names in one region: several instances, or one cluster."""
        region, about = names[0].region, ", ".join(map(str, names))
        client: RDSClient = self._client("rds", region)
        try:
            if names[0].kind == "cluster":
                yield _Node.of_cluster(_cluster(client, names[0].name, about, self._identity_name), region)
            else:
                wanted: list[FilterTypeDef] = [{"Name": "db-instance-id", "Values": [name.name for name in names]}]
                found = _instances(about, self._identity_name, lambda: client.describe_db_instances(Filters=wanted))
                yield from (_Node.of_instance(instance, region) for instance in found)
        except DatabaseNotFound:
            return


@dataclass(frozen=True)
class _Name:
    """An identifier, which is unique in its region among instances or among clusters."""

    region: str
    kind: str
    """``db`` or ``cluster``, as in ARNs."""
    name: str

    @classmethod
    def of(cls, text: str, region: str, kind: str) -> _Name:
        """Parse an ARN, or an identifier in the given region and of the given kind."""
        found = Resource.of(text)
        return cls(found.region, found.kind, found.name.lower()) if found else cls(region, kind, text.lower())

    def __str__(self) -> str:
        return f"DB {'instance' if self.kind == 'db' else 'cluster'} {self.name} in {self.region}"


@dataclass(frozen=True)
class _Node:
    """An instance or a cluster, with its endpoints and the nodes that have the same data."""

    name: _Name
    addresses: frozenset[Address]
    related: frozenset[_Name]
    """Its replicas, its members, and its cluster."""
    sources: frozenset[_Name]
    """The nodes of which it is a replica or member."""

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
        # Replicas of a Multi-AZ cluster are instances, those of an Aurora cluster are clusters: both are tried.
        replicas = found.get("ReadReplicaIdentifiers", ())
        return cls(
            _Name.of(found["DBClusterIdentifier"], region, "cluster"),
            _addresses(found.get("Port"), *own),
            _names(region, "db", *members, *replicas) | _names(region, "cluster", *replicas),
            _names(region, "cluster", found.get("ReplicationSourceIdentifier")),
        )

    def belongs_to(self, other: _Node) -> bool:
        return other.name in self.sources or self.name in other.sources


def _instances(about: str, identity_name: str, call: Callable[[], DBInstanceMessageTypeDef]) -> list[DBInstanceTypeDef]:
    found = ask("rds", "DescribeDBInstances", about, identity_name, call)["DBInstances"]
    if not found:
        raise DatabaseNotFound(f"AWS finds no {about}")
    return found


def _cluster(client: RDSClient, name: str, about: str, identity_name: str) -> DBClusterTypeDef:
    found = ask(
        "rds", "DescribeDBClusters", about, identity_name, lambda: client.describe_db_clusters(DBClusterIdentifier=name)
    )
    if not found["DBClusters"]:
        raise DatabaseNotFound(f"AWS finds no {about}")
    return found["DBClusters"][0]


def _endpoint(database: Resource, engine: str | None, host: str | None, port: int | None) -> Endpoint:
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
    return frozenset((_normalized(host), port) for host in hosts if host and port)


def _batches(names: Iterable[_Name]) -> Iterator[list[_Name]]:
    """Group names by call: one for all instances of a region, and one for each cluster."""
    for (_, kind), some in groupby(sorted(names, key=_order), key=lambda name: (name.region, name.kind)):
        if kind == "cluster":
            yield from ([name] for name in some)
        else:
            yield list(some)


def _order(name: _Name) -> tuple[str, str, str]:
    return name.region, name.kind, name.name


def _normalized(host: str) -> str:
    return host.rstrip(".").lower()
