"""Tells that a namespace is set aside, and that it is watched again: by a log line, a metric and an Event on the Lease.

The operator may have no way to write into the namespace itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from rotated_secrets.api.key import Key
from rotated_secrets.cluster import Cluster, ClusterError
from rotated_secrets.controller.namespaces import EVERYWHERE
from rotated_secrets.controller.watch.index import Index
from rotated_secrets.observability.event_reasons import EventReason
from rotated_secrets.observability.events import Events
from rotated_secrets.observability.metrics import Metrics

log = logging.getLogger(__name__)

LEASE_VERSION: Final = "coordination.k8s.io/v1"
LEASE_KIND: Final = "Lease"


class SetAsideReports:
    """Has the type :data:`~rotated_secrets.controller.namespaces.Changed`."""

    def __init__(
        self,
        cluster: Cluster,
        events: Events,
        metrics: Metrics,
        index: Index,
        *,
        lease_namespace: str,
        lease_name: str,
        look: Callable[[Key], None],
    ) -> None:
        """``events`` are those of Leases. ``look`` enqueues a RotatedSecret."""
        self._cluster = cluster
        self._events = events
        self._metrics = metrics
        self._index = index
        self._lease_namespace = lease_namespace
        self._lease_name = lease_name
        self._look = look

    def __call__(self, namespace: str, why: str | None) -> None:
        """Tell it, and look at the RotatedSecrets of a namespace that is back. From any thread; does not wait."""
        where = "the cluster" if namespace == EVERYWHERE else f"namespace {namespace}"
        self._metrics.namespace_set_aside(namespace, is_so=why is not None)
        keys = [key for key in self._index.uids() if namespace in (EVERYWHERE, key.namespace)]
        if why is None:
            message = f"{where} is watched again, and its {len(keys)} RotatedSecrets are looked at"
            log.info("%s", message)
            self._record(EventReason.NAMESPACE_SERVED, message)
            for key in keys:
                self._look(key)
            return
        message = (
            f"{where} is set aside, and its {len(keys)} RotatedSecrets are not watched: {why}; it is tried again, and "
            "other namespaces are served; apply the operator's chart again, or take it from the operator's namespaces"
        )
        log.warning("%s", message)
        self._record(EventReason.NAMESPACE_SET_ASIDE, message)
        for key in keys:
            # Of what was so, nothing is known to be so still.
            self._metrics.forget(*key)

    def _record(self, reason: EventReason, message: str) -> None:
        threading.Thread(target=self._record_on_lease, args=(reason, message), daemon=True).start()

    def _record_on_lease(self, reason: EventReason, message: str) -> None:
        namespace, name = self._lease_namespace, self._lease_name
        metadata = {}
        try:
            metadata = self._cluster.request("GET", f"/apis/{LEASE_VERSION}/namespaces/{namespace}/leases/{name}")[
                "metadata"
            ]
        except ClusterError as error:
            log.debug("the Lease of an Event cannot be read: %s", error)  # there is none before the first leader
        self._events.record(
            namespace=namespace,
            name=name,
            uid=metadata.get("uid", ""),
            resource_version=metadata.get("resourceVersion", ""),
            reason=reason,
            message=message,
        )
