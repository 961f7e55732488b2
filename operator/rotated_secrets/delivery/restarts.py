"""Restarts workloads at the API server, as ``kubectl rollout restart`` does, and changes nothing else about them.

A patch carries the uid and resourceVersion that were read, so that the late patch of a frozen replica is rejected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from rotated_secrets.api.names import MANAGED_BY
from rotated_secrets.api.rollout import Workload, WorkloadKind
from rotated_secrets.cluster import MERGE_PATCH, TOO_LARGE, Cluster, ClusterError, Conflict, ObjectTooLarge
from rotated_secrets.delivery.restart import Restart, RestartKind, annotation_of, delay_reason, patch_for, restarted_for
from rotated_secrets.values import VersionId

_PLURALS: Final = {
    WorkloadKind.DEPLOYMENT: "deployments",
    WorkloadKind.STATEFUL_SET: "statefulsets",
    WorkloadKind.DAEMON_SET: "daemonsets",
}
_TRIES: Final = 5
"""Attempts, because a workload's status changes several times a second during a rollout."""

OnRestart = Callable[[Workload, VersionId, Restart], None]
"""Called with the result of each restart."""


class ClusterWorkloads:
    """The workloads in the namespace of one RotatedSecret. See :class:`rotated_secrets.rotation.ports.Workloads`."""

    def __init__(self, cluster: Cluster, *, namespace: str, owner_name: str, on_restart: OnRestart) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._annotation = annotation_of(owner_name)
        self._on_restart = on_restart

    def restart(self, workload: Workload, version_id: VersionId) -> Restart:
        """Restart the pods of this workload with this version, unless this was done before."""
        restart = self._restart(workload, version_id)
        self._on_restart(workload, version_id, restart)
        return restart

    def _restart(self, workload: Workload, version_id: VersionId) -> Restart:
        for _ in range(_TRIES):
            try:
                live = self._request("GET", workload)
                if restarted_for(live, self._annotation) == version_id:
                    return Restart(RestartKind.UNCHANGED)
                live = self._request("PATCH", workload, patch_for(live, self._annotation, version_id))
            except Conflict:
                continue
            except ClusterError as error:
                return _failure(workload, self._namespace, error)
            return Restart(RestartKind.RESTARTED, delay_reason(workload, live))
        return Restart(RestartKind.UNAVAILABLE, "it changes too fast to be patched; trying again")

    def _request(self, method: str, workload: Workload, body: dict[str, Any] | None = None) -> dict[str, Any]:
        path = f"/apis/apps/v1/namespaces/{self._namespace}/{_PLURALS[workload.kind]}/{workload.name}"
        if body is None:
            return self._cluster.request(method, path)
        query = {"fieldManager": MANAGED_BY}
        return self._cluster.request(method, path, query=query, body=body, content_type=MERGE_PATCH)


def _failure(workload: Workload, namespace: str, error: ClusterError) -> Restart:
    """Translate an error. The API server's message is not used: it may repeat data of the workload."""
    if isinstance(error, ObjectTooLarge):
        return Restart(RestartKind.REFUSED, f"the operator cannot read it: {TOO_LARGE}; run kubectl rollout restart")
    match error.status:
        case 404:
            return Restart(
                RestartKind.MISSING,
                f"it does not exist in namespace {namespace}; create it, or remove it from rollout.restart",
            )
        case 401 | 403:
            return Restart(
                RestartKind.REFUSED,
                f"the operator's ServiceAccount may not get and patch {_PLURALS[workload.kind]} in namespace "
                f"{namespace}, or an admission policy forbids it; set rollouts.enabled in the values of the "
                "operator's chart, or check the policies",
            )
        case 0:
            return Restart(RestartKind.UNAVAILABLE, "the API server did not answer; trying again")
        case 400 | 413 | 422:
            return Restart(
                RestartKind.REFUSED,
                f"the API server refuses the restart ({error.status}); run kubectl rollout restart to see why",
            )
        case status:
            return Restart(RestartKind.UNAVAILABLE, f"the API server answered {status}; trying again")
