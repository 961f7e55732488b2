"""One operator on fakes: a cluster, an AWS and database servers in memory, and the product's own reconcile on them.

Everything between the queue and the three of them is the product's; a reconcile takes milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from rotated_secrets.api.key import Key
from rotated_secrets.api.names import API_VERSION, PLURAL, ROTATE_ANNOTATION
from rotated_secrets.controller.aws.change_feeds import ChangeFeeds
from rotated_secrets.controller.aws.identities import Identities
from rotated_secrets.controller.aws.service_accounts import ServiceAccounts
from rotated_secrets.controller.journal import Journal
from rotated_secrets.controller.process.leader import LeadershipLost
from rotated_secrets.controller.reconcile.reconciler import reconciler
from rotated_secrets.controller.services import Services
from rotated_secrets.controller.settings import Settings
from rotated_secrets.controller.watch.index import Index
from rotated_secrets.controller.watch.resources import Resources
from rotated_secrets.controller.watch.transform import transform
from rotated_secrets.controller.work.limits import Limits
from rotated_secrets.controller.work.observed_cache import ObservedCache
from rotated_secrets.controller.work.queue import RetryLater
from rotated_secrets.observability.metrics import Metrics
from rotated_secrets.secretstores.aws import AwsStores
from tests.support.direct import DirectLogins, DirectRenderer
from tests.support.fake_aws import REGION, FakeAws, FakeSecret, FakeStores
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_databases import ENGINE, HOST, PORT, FakeEngine, FakeServer, fake_engine

KEY = Key("shop", "orders")


class FakeLeader:
    """Leads until it is told that it does not."""

    leads = True

    def guard(self) -> None:
        if not self.leads:
            raise LeadershipLost("this replica does not hold the Lease; the leader continues")


class FakeEvents:
    """Keeps what was recorded."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, str]] = []

    def record(self, *, reason: str, message: str, **_: object) -> None:
        self.recorded.append((str(reason), message))

    @property
    def reasons(self) -> list[str]:
        return [reason for reason, _ in self.recorded]


@dataclass
class FakeOperator:
    """What stands around the reconcile, and ways to use it."""

    cluster: FakeCluster
    aws: FakeAws
    engine: FakeEngine
    leader: FakeLeader
    events: FakeEvents
    services: Services
    looked_at: list[Key]
    """Keys that something asked to be looked at."""

    def __post_init__(self) -> None:
        self._reconcile = reconciler(self.services)

    # ---- what people do

    def apply(self, spec: Mapping[str, Any], *, key: Key = KEY, **metadata: Any) -> dict[str, Any]:
        """Make or change a RotatedSecret; the watch tells of it."""
        path, before = path_of(key), self.cluster.objects.get(path_of(key))
        if before is not None and before["spec"] != spec:
            metadata = {"generation": before["metadata"]["generation"] + 1} | metadata
        obj = {"apiVersion": API_VERSION, "spec": dict(spec), "metadata": metadata}
        if before is not None and "status" in before:
            obj["status"] = before["status"]
        written = self.cluster.put(path, obj)
        self.services.index.observe(transform(written, len(json.dumps(written))))
        return written

    def ask(self, value: str, *, key: Key = KEY, annotation: str = ROTATE_ANNOTATION) -> None:
        """Set an annotation."""
        obj = self.cluster.objects[path_of(key)]
        annotations = {**obj["metadata"].get("annotations", {}), annotation: value}
        self.apply(obj["spec"], key=key, annotations=annotations)

    def credential(self, username: str = "app", password: str = "first", **changes: Any) -> dict[str, Any]:
        """A value for a secret, of a user that the server knows."""
        value: dict[str, Any] = {
            "engine": ENGINE,
            "host": HOST,
            "port": PORT,
            "username": username,
            "password": password,
        }
        value |= changes
        self.server(value["host"], value["port"]).passwords[username] = password
        return {name: given for name, given in value.items() if given is not None}

    def server(self, host: str = HOST, port: int = PORT) -> FakeServer:
        return self.engine.servers.setdefault(f"{host}:{port}", FakeServer())

    def secret(
        self, name: str = "shop/orders", value: Mapping[str, Any] | str | None = None, **where: str
    ) -> FakeSecret:
        return self.aws.create(name, self.credential() if value is None else value, **where)

    def delete(self, key: Key = KEY) -> None:
        """Delete a RotatedSecret; the watch tells of it."""
        gone = self.cluster.objects.pop(path_of(key))
        self.services.index.forget(key, gone["metadata"]["uid"])

    # ---- what the operator does

    def restarted(self) -> FakeOperator:
        """Another operator, which knows only what is in the cluster and in AWS."""
        journal = Journal(self.services.cluster, namespace="here", lease="rotated-secrets")
        journal.load()
        services = replace(self.services, journal=journal, observed=ObservedCache())
        return FakeOperator(self.cluster, self.aws, self.engine, self.leader, self.events, services, self.looked_at)

    def reconcile(self, key: Key = KEY) -> datetime | None:
        """One look at a RotatedSecret and what comes of it. Raises what the reconcile raises."""

        async def once() -> datetime | None:
            return await self._reconcile(key)

        return asyncio.run(once())

    def settle(self, key: Key = KEY, most: int = 10) -> None:
        """Look until one look finds nothing to do: no call to AWS and no write."""
        for _ in range(most):
            before = len(self.aws.calls), len(self.cluster.writes)
            with contextlib.suppress(RetryLater):
                self.reconcile(key)
            if before == (len(self.aws.calls), len(self.cluster.writes)):
                return
        raise AssertionError("it does not come to rest")

    def looks_afresh(self, key: Key = KEY) -> bool:
        """Whether one more look asks the store anything."""
        before = len(self.aws.calls)
        with contextlib.suppress(RetryLater):
            self.reconcile(key)
        return len(self.aws.calls) > before

    # ---- what is so

    def status(self, key: Key = KEY) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.objects[path_of(key)].get("status", {})
        return found

    def condition(self, kind: str = "Ready", key: Key = KEY) -> tuple[str, str, str]:
        """Status, reason and message of a condition."""
        for condition in self.status(key).get("conditions", []):
            if condition["type"] == kind:
                return condition["status"], condition["reason"], condition["message"]
        return "", "", ""

    def target(self, name: str = "orders", namespace: str = "shop") -> dict[str, Any] | None:
        return self.cluster.objects.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")


class Killed(BaseException):
    """The operator's process ends here."""


def killed_at(operator: FakeOperator, operation: str) -> FakeOperator:
    """Kill the operator before a call to AWS of a rotation. Returns the next one."""

    def kill(called: str, asked: str) -> None:
        if called == operation:
            raise Killed

    operator.aws.before_call = kill
    operator.ask("now")
    with pytest.raises(Killed):
        operator.reconcile()
    operator.aws.before_call = lambda called, asked: None
    operator.server().holders.clear()
    return operator.restarted()


def path_of(key: Key) -> str:
    return f"/apis/{API_VERSION}/namespaces/{key.namespace}/{PLURAL}/{key.name}"


SPEC: Mapping[str, Any] = {
    "source": {"secretId": "shop/orders"},
    "rotation": {"strategy": "SingleUser", "adminSecretId": "shop/admin/orders"},
}
"""A RotatedSecret of the secret that :meth:`FakeOperator.secret` makes."""


def with_admin(operator: FakeOperator) -> FakeOperator:
    """The secrets that :data:`SPEC` names, and a server that knows their users."""
    operator.secret()
    operator.secret("shop/admin/orders", operator.credential("admin", "of-the-admin"))
    return operator


def changed(spec: Mapping[str, Any], **rooms: Mapping[str, Any] | None) -> dict[str, Any]:
    """A spec with fields of its parts changed."""
    found = {name: dict(part) for name, part in spec.items()}
    for room, fields in rooms.items():
        found[room] = {**found.get(room, {}), **(fields or {})}
    return found


@contextlib.contextmanager
def fake_operator(
    monkeypatch: pytest.MonkeyPatch,
    aws: FakeAws | None = None,
    stores: Callable[[Metrics], AwsStores] | None = None,
    **settings: Any,
) -> Iterator[FakeOperator]:
    """An operator that leads, in an empty cluster and an empty AWS, which it reaches by ``stores``, else by fakes."""
    monkeypatch.delenv("AWS_REGION", raising=False)
    cluster, leader, events, looked_at = FakeCluster(), FakeLeader(), FakeEvents(), list[Key]()
    aws, metrics = aws or FakeAws(), Metrics()
    typed: Any = cluster
    index = Index(REGION)
    own: Any = stores(metrics) if stores is not None else FakeStores(aws)
    identities = Identities(own, ServiceAccounts(typed), "prod")
    limits = Limits(threads=8, per_host=4, breaker_failures=3, breaker_seconds=30.0)
    recorded: Any = events
    services = Services(
        settings=Settings.parse({"aws_region": REGION, "identity": "me", "lease_namespace": "here", **settings}),
        cluster=typed,
        resources=Resources(typed),
        index=index,
        journal=Journal(typed, namespace="here", lease="rotated-secrets"),
        identities=identities,
        feeds=ChangeFeeds(identities, index, looked_at.append),
        limits=limits,
        observed=ObservedCache(),
        logins=DirectLogins,
        renderer=DirectRenderer(),
        events=recorded,
        metrics=metrics,
        guard=leader.guard,
        look=looked_at.append,
    )
    with fake_engine(monkeypatch) as engine:
        yield FakeOperator(cluster, aws, engine, leader, events, services, looked_at)
    limits.close()


def write_policy(path: Path, *rules: Mapping[str, Any]) -> Path:
    """An access policy's file."""
    lines = ["rules:"] + [f"- {dict(rule)!r}" for rule in rules]
    path.write_text("\n".join(lines) if rules else "rules: []")
    return path
