"""One replica of the operator: its parts, and the phases of its life in order: watch, lead, work, stop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, NoReturn

from rotated_secrets.api.key import Key
from rotated_secrets.api.names import API_VERSION, KIND
from rotated_secrets.cells import CellLimits, Cells, CellSettings
from rotated_secrets.cluster import Cluster
from rotated_secrets.cluster_access import configuration
from rotated_secrets.controller.aws.change_feeds import ChangeFeeds
from rotated_secrets.controller.aws.identities import Identities
from rotated_secrets.controller.aws.service_accounts import ServiceAccounts
from rotated_secrets.controller.journal import Journal
from rotated_secrets.controller.namespaces import ServedNamespaces
from rotated_secrets.controller.process.leader import Leader
from rotated_secrets.controller.process.probes import Heartbeat, Probes
from rotated_secrets.controller.process.set_aside import LEASE_KIND, LEASE_VERSION, SetAsideReports
from rotated_secrets.controller.process.shutdown import Shutdown
from rotated_secrets.controller.process.startup import (
    check_memory,
    first_contact,
    load_journal,
)
from rotated_secrets.controller.services import Reconciler, Services
from rotated_secrets.controller.settings import Settings
from rotated_secrets.controller.watch.handlers import Handlers
from rotated_secrets.controller.watch.index import Index
from rotated_secrets.controller.watch.informer import Informer
from rotated_secrets.controller.watch.resources import Resources
from rotated_secrets.controller.watch.resync import resync
from rotated_secrets.controller.work.limits import Limits
from rotated_secrets.controller.work.observed_cache import ObservedCache
from rotated_secrets.controller.work.queue import WorkQueue
from rotated_secrets.controller.work.tenants import current_tenant
from rotated_secrets.databases.logins import CellLogins
from rotated_secrets.databases.registry import engine_modules
from rotated_secrets.delivery.rendering import CellRenderer
from rotated_secrets.observability import logs
from rotated_secrets.observability.events import Events
from rotated_secrets.observability.metrics import Metrics
from rotated_secrets.secretstores.aws import AwsSettings, AwsStores

log = logging.getLogger(__name__)

WORKERS = 128
"""RotatedSecrets in work at the same time: more than threads, since some wait for a host. What each holds, a value of
64 KiB and what it parses to, must fit into the memory."""
LONGEST_BLINDNESS = 120.0
"""Seconds after a status write in which the watch must show an event; otherwise it counts as dead."""
STOP_INFORMER, FLUSH_EVENTS = 2.0, 5.0
"""Seconds."""


class Replica:
    """One replica: it watches, tries to acquire the Lease, works while it leads, and stops cleanly."""

    def __init__(self, settings: Settings, reconciler: Reconciler) -> None:
        """
        Raises:
            NoCluster: no kubeconfig and no ServiceAccount name the API server.
            InvalidSettings: the reconcile cannot be made with these settings.
            CannotServe: the address of the probes is in use.
        """
        self.settings = settings
        self._end = Shutdown()
        self._end.on_signals()
        self._tasks: list[asyncio.Task[None]] = []
        self._watching = self._leading = False
        self._make_cluster()
        self._make_work(reconciler)
        self._make_watch()
        self._make_probes()

    def _make_cluster(self) -> None:
        settings = self.settings
        # Two requests must fit between a renewal and its deadline, however busy the other connections are.
        lease_timeout = (settings.renew_deadline - settings.retry_period) / 2
        self._acquired = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._leader = Leader(
            Cluster(
                configuration(settings.kubeconfig, settings.kube_context),
                timeout=lease_timeout,
                connections=1,
                retries=0,
            ),
            namespace=settings.lease_namespace,
            name=settings.lease_name,
            identity=settings.identity,
            lease_duration=settings.lease_duration,
            renew_deadline=settings.renew_deadline,
            retry_period=settings.retry_period,
            on_acquired=lambda: loop.call_soon_threadsafe(self._acquired.set),
            on_lost=lambda: self._end(1, "another replica may lead now", at_once=True),
        )
        self._configuration = configuration(settings.kubeconfig, settings.kube_context)
        self._cluster = Cluster(
            self._configuration,
            timeout=settings.api_timeout,
            connections=settings.threads + 4,
            retries=2,
            before_write=self._leader.guard,
        )
        self._served = ServedNamespaces(self._set_aside)
        self._resources = Resources(self._cluster, settings.namespaces, self._served)
        self._journal = Journal(self._cluster, namespace=settings.lease_namespace, lease=settings.lease_name)

    def _make_work(self, reconciler: Reconciler) -> None:
        settings = self.settings
        self._metrics = Metrics()
        logs.count_dropped(self._metrics.log_line_dropped)
        # Without the leader's guard: a replica that may no longer act must still report what it did.
        self._events_cluster = Cluster(
            configuration(settings.kubeconfig, settings.kube_context),
            timeout=settings.api_timeout,
            connections=1,
            retries=2,
        )
        self._events = Events(
            self._events_cluster,
            api_version=API_VERSION,
            kind=KIND,
            instance=settings.identity,
            dropped=self._metrics.event_dropped,
        )
        self._lease_events = Events(
            self._events_cluster, api_version=LEASE_VERSION, kind=LEASE_KIND, instance=settings.identity
        )
        self._queue = WorkQueue(workers=WORKERS, backoff_base=settings.backoff_base, backoff_cap=settings.backoff_cap)
        self._limits = Limits(
            threads=settings.threads,
            per_host=settings.connections_per_host,
            breaker_failures=settings.breaker_failures,
            breaker_seconds=settings.breaker_time,
        )
        stores = AwsStores(
            AwsSettings(
                region=settings.aws_region,
                endpoint_url=settings.aws_endpoint_url,
                connect_timeout=settings.aws_connect_timeout,
                read_timeout=settings.aws_read_timeout,
                connections=settings.threads,
                writes_per_second=settings.aws_write_rate,
            ),
            lambda operation, outcome: self._metrics.aws_request(operation=operation, outcome=outcome),
            before_write=self._leader.guard,
            tenant=current_tenant.get,
        )
        self._index = Index(stores.region)
        self._cells = Cells(
            CellSettings(
                memory=settings.cells_memory,
                limits=CellLimits(memory=settings.cell_memory),
                modules=(
                    *engine_modules(settings.engines),
                    "rotated_secrets.databases.logins",
                    "rotated_secrets.delivery.rendering",
                ),
                variables=settings.engine_variables,
                paths=settings.engine_paths,
            ),
            self._metrics.cell_ended,
        )
        identities = Identities(stores, ServiceAccounts(self._cluster), settings.cluster_name)
        self._feeds = ChangeFeeds(identities, self._index, self._look_again)
        self._services = Services(
            settings=settings,
            cluster=self._cluster,
            resources=self._resources,
            index=self._index,
            journal=self._journal,
            identities=identities,
            feeds=self._feeds,
            limits=self._limits,
            observed=ObservedCache(),
            logins=lambda engine, name, tenant: CellLogins(self._cells, engine, name, tenant),
            renderer=CellRenderer(self._cells),
            events=self._events,
            metrics=self._metrics,
            guard=self._leader.guard,
            look=self._queue.add,
        )
        self._reconcile = reconciler(self._services)
        self._metrics.follow_queue(lambda: self._queue.depth)
        self._metrics.follow_cells(lambda: self._cells.running)
        self._metrics.follow_leader(self._leader.holds)

    def _make_watch(self) -> None:
        self._handlers = Handlers(
            self._index,
            look=self._queue.add_changed,
            look_again=self._look_again_at_change,
            gone=self._forget,
            delivered=self._resources.watch_delivered,
        )
        self._set_aside_reports = SetAsideReports(
            self._events_cluster,
            self._lease_events,
            self._metrics,
            self._index,
            lease_namespace=self.settings.lease_namespace,
            lease_name=self.settings.lease_name,
            look=self._look_again,
        )
        self._informer = Informer(
            self._configuration,
            self._handlers,
            namespaces=self.settings.namespaces,
            served=self._served,
            request_timeout=self.settings.api_timeout,
            watch_timeout=self.settings.watch_timeout,
            on_end=self._watch_ended,
        )

    def _make_probes(self) -> None:
        self._heartbeat = Heartbeat()
        self._probes = Probes(
            self.settings.probe_host,
            self.settings.probe_port,
            health={
                "event loop": self._heartbeat.check,
                "work queue": lambda: _unless(not self._leading or self._tasks_run(), "has stopped"),
                "lease": lambda: _unless(not self._watching or self._leader.alive, "renewal has stopped"),
                "watch": self._check_watch,
            },
            readiness={"watch": lambda: _unless(self._watching, "the cluster has not been listed yet")},
            facts={
                "leads": lambda: "yes" if self._leader.holds() else "no",
                "last event": lambda: f"{time.monotonic() - self._handlers.last_event:.1f} s ago",
                "event loop's lag": lambda: f"{self._heartbeat.lag:.1f} s",
                "known": lambda: f"{len(self._index)} RotatedSecrets",
                "in progress": lambda: str(self._queue.busy),
            },
            metrics=self._metrics.registry,
        )

    async def watch(self) -> None:
        """Wait for a usable cluster, fill the index and start the watches. Replicas that do not lead stay here."""
        self._start(self._heartbeat.run(), "the heartbeat")
        self._probes.start()
        log.info("probes and metrics are served on port %d", self._probes.port)
        check_memory(self.settings.cells_memory)
        # A replica that does not lead has them too: one that takes over works at once.
        timeout = self.settings.startup_timeout
        count = await self._end.run_until_ended(
            first_contact(self._cells, self._resources, self._leader, self._journal, self._handlers, timeout)
        )
        self._informer.start()
        self._watching = True
        log.info("%d RotatedSecrets are known and watched", count)

    async def lead(self) -> None:
        """Wait until this replica holds the Lease."""
        self._leader.start()
        await self._end.run_until_ended(self._acquired.wait())

    async def work(self) -> NoReturn:
        """Work on RotatedSecrets until the operator ends.

        Raises:
            Ended: always.
        """
        begun = await self._end.run_until_ended(load_journal(self._journal))
        self._start(self._queue.run(self._reconcile), "the work queue")
        for key in begun:
            self._queue.add(key)
        self._start(
            resync(self._resources, self._index, self._handlers, self._queue.add, self.settings.resync_interval),
            "the resync",
        )
        self._start(self._feeds.run(self._limits, self.settings.poll_interval), "the change feed")
        self._leading = True
        await self._end.wait()

    async def stop(self, drain_timeout: float) -> bool:
        """Let running work finish, then release the Lease. Returns whether it finished within ``drain_timeout``."""
        self._limits.drain()
        drained = await self._queue.drain(drain_timeout)
        if not drained:
            log.warning("running work was cancelled after %.0f s; the next leader continues it", drain_timeout)
        self._leading = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(
            asyncio.to_thread(self._leader.release),
            asyncio.to_thread(self._informer.stop, STOP_INFORMER),
            asyncio.to_thread(self._events.flush, FLUSH_EVENTS),
            asyncio.to_thread(self._lease_events.flush, FLUSH_EVENTS),
            *self._tasks,
            return_exceptions=True,
        )
        self._limits.close()
        await asyncio.to_thread(self._cells.close)
        self._probes.stop()
        self._cluster.close()
        self._events_cluster.close()
        return drained

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._end.on_end_of(task)
        self._tasks.append(task)

    def _tasks_run(self) -> bool:
        return not any(task.done() for task in self._tasks)

    def _look_again(self, key: Key) -> None:
        """Enqueue a RotatedSecret for which something changed that its object does not show. From any thread."""
        self._services.look_again((key,))

    def _look_again_at_change(self, key: Key) -> None:
        """The same, because another RotatedSecret was deleted. From any thread."""
        self._services.observed.invalidate(key)
        self._queue.add_changed(key)

    def _forget(self, key: Key) -> None:
        """Drop what is kept of a RotatedSecret that is gone. From any thread."""
        self._metrics.forget(*key)
        self._queue.forget(key)

    def _set_aside(self, namespace: str, why: str | None) -> None:
        self._set_aside_reports(namespace, why)

    def _check_watch(self) -> str | None:
        if not self._watching:
            return None
        if not self._informer.alive:
            return "has ended"
        blind = self._resources.unseen_write_age()
        return _unless(blind < LONGEST_BLINDNESS, f"has shown nothing for {blind:.0f} s after a status was written")

    def _watch_ended(self, error: BaseException | None) -> None:
        cause = "kopf gave no reason" if error is None else logs.describe(error)
        self._end(1, f"the watch has ended: {cause}")


def _unless(is_ok: bool, problem: str) -> str | None:
    return None if is_ok else problem
