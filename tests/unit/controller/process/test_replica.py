"""The life of one replica on a cluster in memory: it watches, leads, works and stops, and its probes say which."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes import client

from rotated_secrets.api.key import Key
from rotated_secrets.api.names import API_VERSION
from rotated_secrets.cluster import ClusterError, Unreachable
from rotated_secrets.controller.process import replica as module
from rotated_secrets.controller.process import startup
from rotated_secrets.controller.process.leader import LeadershipLost
from rotated_secrets.controller.process.replica import Replica
from rotated_secrets.controller.process.shutdown import Ended
from rotated_secrets.controller.services import Services
from rotated_secrets.controller.settings import Settings
from rotated_secrets.controller.watch.index import Index
from rotated_secrets.controller.watch.transform import transform
from rotated_secrets.controller.work.queue import CHANGES_AT_ONCE, Reconcile
from rotated_secrets.observability import logs
from rotated_secrets.observability.event_reasons import EventReason
from rotated_secrets.values import Arn
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_operator import KEY, SPEC, path_of

LEASE = "/apis/coordination.k8s.io/v1/namespaces/here/leases/rotated-secrets"


class FakeInformer:
    """Watches nothing; can be told to end."""

    def __init__(self, configuration: object, handlers: object, *, on_end: Callable[..., None], **_: object) -> None:
        self.handlers, self.on_end = handlers, on_end
        self.alive = False

    def start(self) -> None:
        self.alive = True

    def stop(self, timeout: float) -> None:
        self.alive = False


class Stage:
    """A cluster in memory, the clients that were made for it, and what was reconciled."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.clients: list[dict[str, Any]] = []
        self.closed = 0
        self.services: Services | None = None
        self.reconciled: list[Key] = []
        self.takes = 0.0
        self.began = asyncio.Event()

    def client(self, found: object, **settings: Any) -> FakeCluster:
        self.clients.append(settings)
        return self.cluster

    def close(self) -> None:
        self.closed += 1

    def reconciler(self, services: Services) -> Reconcile:
        self.services = services

        async def reconcile(key: Key) -> datetime | None:
            self.began.set()
            await asyncio.sleep(self.takes)
            self.reconciled.append(key)
            return None

        return reconcile


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    found = Stage()
    found.cluster.put(path_of(KEY), {"apiVersion": API_VERSION, "spec": SPEC})
    monkeypatch.setattr(found.cluster, "close", found.close)
    monkeypatch.setattr(module, "configuration", lambda kubeconfig, context: client.Configuration())
    monkeypatch.setattr(module, "Cluster", found.client)
    monkeypatch.setattr(module, "Informer", FakeInformer)
    yield found


def settings(**changes: Any) -> Settings:
    given = {"identity": "me", "lease_namespace": "here", "aws_region": "eu-west-1", "probe_host": "127.0.0.1"}
    return Settings.parse({**given, "probe_port": 0, "startup_timeout": 1, "retry_period": 0.1, **changes})


def live(stage: Stage, work: Callable[[Replica], Awaitable[None]], **changes: Any) -> Replica:
    """Make a replica and run ``work`` with it."""

    async def run() -> Replica:
        replica = Replica(settings(**changes), stage.reconciler)
        try:
            await work(replica)
        finally:
            await replica.stop(drain_timeout=1)
        return replica

    return asyncio.run(run())


async def asked(replica: Replica, path: str) -> tuple[int, str]:
    def get() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{replica._probes.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    return await asyncio.to_thread(get)


def holder(stage: Stage) -> str:
    return str(stage.cluster.objects[LEASE]["spec"]["holderIdentity"])


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


def test_secret_named_without_region_is_in_the_region_that_its_arn_has_also_with_fips_endpoints(stage: Stage) -> None:
    async def made() -> Index:
        return Replica(settings(aws_region="us-east-1-fips"), stage.reconciler)._index

    index = asyncio.run(made())
    index.observe(transform(stage.cluster.objects[path_of(KEY)], 1))
    arn = Arn("arn:aws:secretsmanager:us-east-1:123456789012:secret:shop/orders-AbCdEf")
    assert index.named_by_operator(arn) == {KEY}


def test_replica_that_watches_is_ready_and_asks_for_no_lease(stage: Stage) -> None:
    async def work(replica: Replica) -> None:
        await replica.watch()
        assert (await asked(replica, "/readyz"))[0] == 200
        text = (await asked(replica, "/readyz"))[1]
        assert "leads: no" in text
        assert "known: 1 RotatedSecrets" in text
        assert replica._informer.alive

    live(stage, work)
    assert LEASE not in stage.cluster.objects
    assert stage.reconciled == []


def test_replica_is_not_ready_before_the_cluster_was_listed(stage: Stage) -> None:
    async def work(replica: Replica) -> None:
        replica._probes.start()
        status, text = await asked(replica, "/readyz")
        assert status == 503
        assert "has not been listed" in text

    live(stage, work)


def test_leader_works_on_everything_there_is_and_gives_the_lease_back(stage: Stage) -> None:
    async def work(replica: Replica) -> None:
        await replica.watch()
        await replica.lead()
        assert holder(stage) == "me"
        working = asyncio.create_task(replica.work())
        await until(lambda: bool(stage.reconciled))
        assert stage.services is not None
        stage.services.guard()
        status, text = await asked(replica, "/healthz")
        assert status == 200, text
        metrics = (await asked(replica, "/metrics"))[1]
        assert "rotatedsecrets_leader 1.0" in metrics
        assert "rotatedsecrets_queue_depth 0.0" in metrics
        working.cancel()

    replica = live(stage, work)
    assert stage.reconciled == [KEY]
    assert holder(stage) == ""
    assert not replica._informer.alive
    assert stage.closed == 2
    assert stage.services is not None
    with pytest.raises(LeadershipLost):
        stage.services.guard()


def test_writes_of_work_ask_for_the_lease_and_events_do_not(stage: Stage) -> None:
    """What happened is told also by a replica that may not act any more."""

    async def work(replica: Replica) -> None:
        await replica.watch()

    replica = live(stage, work)
    guards = [each.get("before_write") for each in stage.clients]
    assert guards == [None, replica._leader.guard, None]
    lease = stage.clients[0]
    assert (lease["connections"], lease["retries"]) == (1, 0)
    assert lease["timeout"] <= (replica.settings.renew_deadline - replica.settings.retry_period) / 2


def test_sigterm_ends_the_work_with_exit_code_0(stage: Stage) -> None:
    async def work(replica: Replica) -> None:
        await replica.watch()
        await replica.lead()
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        with pytest.raises(Ended) as caught:
            await replica.work()
        assert (caught.value.code, caught.value.at_once) == (0, False)

    live(stage, work)


def test_running_work_is_finished_before_the_lease_is_given_back(stage: Stage) -> None:
    stage.takes = 0.2

    async def work(replica: Replica) -> None:
        await replica.watch()
        await replica.lead()
        working = asyncio.create_task(replica.work())
        await stage.began.wait()
        assert await replica.stop(drain_timeout=5)
        assert stage.reconciled == [KEY]
        working.cancel()

    live(stage, work)


def test_work_that_does_not_end_in_time_is_cancelled(stage: Stage) -> None:
    stage.takes = 60.0

    async def work(replica: Replica) -> None:
        await replica.watch()
        await replica.lead()
        working = asyncio.create_task(replica.work())
        await stage.began.wait()
        assert not await replica.stop(drain_timeout=0)
        working.cancel()

    live(stage, work)
    assert stage.reconciled == []
    assert holder(stage) == ""


def test_end_of_the_watch_ends_the_replica(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    async def work(replica: Replica) -> None:
        await replica.watch()
        await replica.lead()
        working = asyncio.create_task(replica.work())
        informer: Any = replica._informer
        informer.stop(0)
        assert "has ended" in (await asked(replica, "/healthz"))[1]
        informer.on_end(RuntimeError("kopf gave up"))
        with pytest.raises(Ended) as caught:
            await working
        assert caught.value.code == 1

    live(stage, work)
    assert "the watch has ended" in caplog.text


def test_lease_of_another_ends_the_replica_at_once(stage: Stage) -> None:
    async def work(replica: Replica) -> None:
        await replica.watch()
        await replica.lead()
        stage.cluster.put(LEASE, {"spec": {"holderIdentity": "other", "leaseDurationSeconds": 15}})
        with pytest.raises(Ended) as caught:
            await replica.work()
        assert (caught.value.code, caught.value.at_once) == (1, True)

    live(stage, work)
    assert holder(stage) == "other"


def test_task_that_ends_by_itself_ends_the_replica(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(module, "resync", fails)

    async def work(replica: Replica) -> None:
        await replica.watch()
        await replica.lead()
        with pytest.raises(Ended) as caught:
            await replica.work()
        assert caught.value.code == 1
        assert "has stopped" in (await asked(replica, "/healthz"))[1]

    live(stage, work)
    (fault,) = [record for record in caplog.records if record.exc_info]
    assert fault.getMessage() == "the resync has ended"


def test_status_that_the_watch_never_shows_makes_the_replica_unhealthy(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(replica: Replica) -> None:
        await replica.watch()
        monkeypatch.setattr(replica._resources, "unseen_write_age", lambda: 1000.0)
        status, text = await asked(replica, "/healthz")
        assert status == 503
        assert "has shown nothing for 1000 s" in text

    live(stage, work)


def test_resource_that_is_gone_leaves_no_due_time_and_no_series(stage: Stage) -> None:
    async def work(replica: Replica) -> None:
        await replica.watch()
        replica._metrics.resource("shop", "orders", ready=True, last_success=None, next_rotation=None)
        replica._queue.scheduler.set(KEY, datetime.now().astimezone())
        handlers: Any = replica._handlers
        handlers.rotated_secret("DELETED", stage.cluster.objects[path_of(KEY)])
        await until(lambda: replica._queue.scheduler.when(KEY) is None)
        labels = {"namespace": "shop", "name": "orders"}
        assert replica._metrics.registry.get_sample_value("rotatedsecrets_ready", labels) is None

    live(stage, work)


def test_writes_at_aws_are_limited_by_the_tenant_whose_work_it_is(stage: Stage) -> None:
    async def work(replica: Replica) -> None:
        await replica.watch()
        own = replica._services.identities.own.stores
        tenant = own._buckets.of("", "eu-west-1")._tenant
        with replica._limits.at_work("shop"):
            assert await replica._limits.run(tenant) == "shop"

    live(stage, work)


def test_rotation_of_what_was_deleted_is_worked_on_from_the_start(stage: Stage) -> None:
    """The journal names it; no watch and no list does."""
    entry = {
        "metadata": {
            "labels": {"rotatedsecrets.io/journal": "rotated-secrets"},
            "annotations": {"rotatedsecrets.io/owner": "shop/gone"},
        }
    }
    path = "/api/v1/namespaces/here/configmaps"
    stage.cluster.put(f"{path}/rotated-secrets-some-uid", entry)

    async def until_looked_at(replica: Replica) -> None:
        await replica.watch()
        await replica.lead()
        working = asyncio.create_task(replica.work())
        await until(lambda: Key("shop", "gone") in stage.reconciled)
        working.cancel()

    live(stage, until_looked_at)


def test_journal_that_cannot_be_read_at_first_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "PAUSE", 0.0)
    answers: list[ClusterError | list[Key]] = [Unreachable("GET: no answer in time"), [KEY]]

    def load() -> list[Key]:
        answer = answers.pop(0)
        if isinstance(answer, ClusterError):
            raise answer
        return answer

    journal: Any = SimpleNamespace(load=load)
    assert asyncio.run(startup.load_journal(journal)) == [KEY]


def test_edits_in_a_loop_are_not_each_looked_at(stage: Stage) -> None:
    async def work(replica: Replica) -> None:
        await replica.watch()
        await replica.lead()
        working = asyncio.create_task(replica.work())
        await until(lambda: stage.reconciled == [KEY])
        secret = {"metadata": {"namespace": "shop", "name": "orders", "resourceVersion": "1"}}
        for number in range(100):
            annotated = {"rotatedsecrets.io/resync": str(number)}
            metadata = {"namespace": "shop", "name": "orders", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
            replica._handlers.rotated_secret("MODIFIED", {"metadata": {**metadata, "annotations": annotated}})
            replica._handlers.target_secret(secret)
            await asyncio.sleep(0)
            await until(lambda: not replica._queue.busy + replica._queue.depth)
        working.cancel()

    live(stage, work)
    assert 5 < len(stage.reconciled) <= CHANGES_AT_ONCE + 5


def test_a_rival_that_is_deleted_in_a_loop_has_another_one_looked_at_as_often_as_an_edit(stage: Stage) -> None:
    async def work(replica: Replica) -> None:
        replica._probes.start()
        working = asyncio.create_task(replica._queue.run(stage.reconciler(replica._services)))
        for _ in range(100):
            replica._handlers._look_again(KEY)
            await asyncio.sleep(0)
            await until(lambda: not replica._queue.busy + replica._queue.depth)
        working.cancel()

    live(stage, work)
    assert 0 < len(stage.reconciled) <= CHANGES_AT_ONCE + 5


def test_what_is_dropped_of_log_and_events_is_counted(stage: Stage) -> None:
    root, handlers = logging.getLogger(), list(logging.getLogger().handlers)
    handler = logs.SharedHandler(io.StringIO())
    root.addHandler(handler)

    async def work(replica: Replica) -> None:
        replica._probes.start()
        handler.dropped()
        for _ in range(100):
            replica._events.record(
                namespace="shop",
                name="orders",
                uid="1",
                resource_version="1",
                reason=EventReason.ROTATION_STARTED,
                message="it began",
            )
        value = replica._metrics.registry.get_sample_value
        assert value("rotatedsecrets_log_lines_dropped_total") == 1
        assert value("rotatedsecrets_events_dropped_total", {"cause": "object"}) == 75

    try:
        live(stage, work)
    finally:
        root.handlers[:] = handlers
