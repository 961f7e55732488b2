"""Leader election with a Lease: of several replicas, only its holder works.

``kubernetes.leaderelection`` was considered first. Its loop ends only when the Lease is lost, so the Lease cannot be
released on shutdown; it uses the wall clock; its requests have no timeouts; and a network error ends its thread. To fix
that means to replace nearly all of it, so this is the same algorithm (that of client-go's ``leaderelection``) in a
separate thread, which a busy event loop cannot starve.

A Lease does not fence. :meth:`Leader.guard`, called before every side effect, makes overlap rare; the rotation makes
overlap harmless. Knows nothing of what the leader does.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from rotated_secrets.api.names import MANAGED_BY, MANAGED_BY_LABEL
from rotated_secrets.cluster import Cluster, ClusterError, Json, NotFound
from rotated_secrets.controller.work.queue import RetryLater
from rotated_secrets.databases.idle import seconds_since_boot

log = logging.getLogger(__name__)

_LEASES: Final = "/apis/coordination.k8s.io/v1"
_LABELS: Final = {MANAGED_BY_LABEL: MANAGED_BY}
_SHOWN: Final = 5
"""Leaders that are named in one message."""


def leaders_in(cluster: Cluster) -> list[str]:
    """Describe the operators that lead in a cluster, each with its Lease. Raises: ClusterError."""
    query: dict[str, str | int] = {"labelSelector": f"{MANAGED_BY_LABEL}={MANAGED_BY}"}
    pages = cluster.pages(f"{_LEASES}/leases", lambda lease, _: _leader_of(lease), query=query)
    return list(islice((leader for page in pages for leader in page if leader), _SHOWN))


def _leader_of(lease: Json) -> str:
    metadata, spec = lease["metadata"], lease.get("spec") or {}
    if not (holder := spec.get("holderIdentity")):
        return ""
    where = f"--lease-namespace {metadata['namespace']} --lease-name {metadata['name']}"
    return f"{holder} (its Lease: {where}; last renewed at {spec.get('renewTime', 'an unknown time')})"


class LeadershipLost(RetryLater):
    """This replica does not hold the Lease, or no longer does, so it must not act."""


class Leader:
    """One replica's part in the election.

    Times are in seconds of a local clock that cannot be set and that continues while the machine is suspended. A
    replica leads only once: when it has lost the Lease, other replicas may have led and ended meanwhile.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        name: str,
        identity: str,
        lease_duration: float,
        renew_deadline: float,
        retry_period: float,
        on_acquired: Callable[[], object],
        on_lost: Callable[[], object],
        clock: Callable[[], float] = seconds_since_boot,
    ) -> None:
        """``cluster``'s requests must time out before ``renew_deadline``. Callbacks are called from the thread."""
        self._cluster = cluster
        self._leases = f"{_LEASES}/namespaces/{namespace}/leases"
        self._name = name
        self._identity = identity
        self._lease_duration = lease_duration
        self._renew_deadline = renew_deadline
        self._retry_period = retry_period
        self._on_acquired = on_acquired
        self._on_lost = on_lost
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._renewed_at: float | None = None
        self._observed: tuple[str, str] | None = None
        self._observed_at = self._observed_for = 0.0

    @property
    def alive(self) -> bool:
        """Whether the thread runs that acquires and renews the Lease."""
        return self._thread.is_alive()

    def holds(self) -> bool:
        """Whether this replica may act now: it has renewed the Lease within the renew deadline."""
        return self._held_at(self._clock())

    def _held_at(self, now: float) -> bool:
        renewed_at = self._renewed_at
        return renewed_at is not None and now < renewed_at + self._renew_deadline

    def guard(self) -> None:
        """Call before every side effect.

        Raises:
            LeadershipLost: another replica may have taken over.
        """
        if not self.holds():
            raise LeadershipLost(f"{self._identity} does not hold the Lease {self._name}; the leader continues")

    def check_access(self) -> None:
        """Read the Lease, which need not exist.

        Raises:
            ClusterError: Forbidden if the permission is missing, Unreachable.
        """
        with contextlib.suppress(NotFound):
            self._cluster.request("GET", f"{self._leases}/{self._name}")

    def start(self) -> None:
        self._thread.start()

    def release(self) -> None:
        """Stop, and release the Lease if we hold it, so that other replicas need not wait until it expires. Blocks."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        held, self._renewed_at = self.holds(), None
        if not held:
            return
        try:
            lease = self._cluster.request("GET", f"{self._leases}/{self._name}")
            if lease["spec"].get("holderIdentity") == self._identity:
                # client-go writes the same: a duration of 0 is refused, 1 s is the least.
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
                self._cluster.request("PUT", f"{self._leases}/{self._name}", body=lease)
                log.info("released the Lease %s", self._name)
        except ClusterError as error:
            log.warning("could not release the Lease, so other replicas wait until it expires: %s", error)

    def _run(self) -> None:
        log.info("%s tries to acquire the Lease %s", self._identity, self._name)
        leading = False
        while not self._stopping.is_set():
            self._try_to_hold()
            if self.holds() and not leading:
                leading = True
                log.info("%s leads", self._identity)
                self._on_acquired()
            elif not self.holds():
                self._renewed_at = None
                if leading:
                    log.error("%s could not renew the Lease %s in time and stops", self._identity, self._name)
                    self._on_lost()
                    return
            self._stopping.wait(self._retry_period)

    def _try_to_hold(self) -> None:
        # The time before the request counts: other replicas count from when they see its effect, which is later.
        started = self._clock()
        if self._renewed_at is not None and not self._held_at(started):
            return
        try:
            if self._acquire_or_renew():
                self._renewed_at = started
        except ClusterError as error:
            log.warning("the Lease %s could not be read or renewed: %s", self._name, error)
        except Exception:
            log.exception("the Lease %s could not be read or renewed", self._name)

    def _acquire_or_renew(self) -> bool:
        try:
            lease = self._cluster.request("GET", f"{self._leases}/{self._name}")
        except NotFound:
            if self._renewed_at is None and not self._observation_is_old():
                # Someone deleted it. Until it would have expired, its holder may still lead and create it again.
                return False
            metadata = {"name": self._name, "labels": _LABELS}
            fresh = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
            self._cluster.request("POST", self._leases, body=fresh | {"spec": self._record({})})
            return True
        held: Json = lease.get("spec") or {}
        holder = held.get("holderIdentity") or ""
        if holder not in ("", self._identity):
            if self._renewed_at is not None:
                # Another replica holds it already, so do not wait for the renew deadline.
                self._renewed_at = None
                return False
            if not self._has_expired(holder, held):
                return False
            log.info("the Lease %s of %s has expired", self._name, holder)
        # The body has the resourceVersion that was read, so if two replicas try, one of them gets a conflict.
        labels = {"labels": (lease["metadata"].get("labels") or {}) | _LABELS}
        ours = {"metadata": lease["metadata"] | labels, "spec": held | self._record(held)}
        self._cluster.request("PUT", f"{self._leases}/{self._name}", body=lease | ours)
        return True

    def _has_expired(self, holder: str, held: Json) -> bool:
        """Whether the Lease has not changed for its duration, by our clock: the holder's clock may be wrong."""
        seen = (holder, str(held.get("renewTime")))
        if self._observed is None or self._observed[0] != holder:
            log.info("%s holds the Lease %s; %s stands by", holder, self._name, self._identity)
        if seen != self._observed:
            self._observed, self._observed_at = seen, self._clock()
        self._observed_for = float(held.get("leaseDurationSeconds") or self._lease_duration)
        return self._observation_is_old()

    def _observation_is_old(self) -> bool:
        return self._observed is None or self._clock() >= self._observed_at + self._observed_for

    def _record(self, held: Json) -> Json:
        ours = held.get("holderIdentity") == self._identity
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._lease_duration)),
            "acquireTime": held.get("acquireTime") if ours and held.get("acquireTime") else _now(),
            "renewTime": _now(),
            "leaseTransitions": int(held.get("leaseTransitions") or 0) + (0 if ours or not held else 1),
        }


def _now() -> str:
    """A metav1.MicroTime."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
