"""What a RotatedSecret does to workloads when its Secret has a new value. Docstrings are for ``kubectl explain``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from rotated_secrets.api.fields import KubernetesName
from rotated_secrets.api.rules import WrittenModel


class WorkloadKind(StrEnum):
    """What can be restarted: the kinds that ``kubectl rollout restart`` takes."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"


class Workload(WrittenModel):
    """A workload in the namespace of this resource."""

    kind: WorkloadKind
    """Kind of the workload."""

    name: KubernetesName
    """Name of the workload, in the namespace of this resource."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Rollout(WrittenModel):
    """What happens to workloads when the target Secret has a new value."""

    restart: Annotated[tuple[Workload, ...], Field(max_length=16)] = ()
    """Workloads to restart, as `kubectl rollout restart` does: once for each new value, after the target Secret has it.
    Neither the first delivery nor a restart of the operator restarts anything."""
