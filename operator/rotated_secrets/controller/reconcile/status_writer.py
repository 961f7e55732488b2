"""Writes the status of one RotatedSecret, and never overwrites a claim of another operator.

What the journal has to hold is written before the status that needs it, and removed at the write after the claim's end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.status import RotatedSecretStatus
from rotated_secrets.cluster import Conflict, NotFound
from rotated_secrets.controller.journal import Journal
from rotated_secrets.controller.watch.resources import Resources
from rotated_secrets.rotation.deletion import needs_entry
from rotated_secrets.rotation.ports import LookAgain

StatusChanged = Callable[[RotatedSecret, RotatedSecretStatus], None]
"""Called with the resource as it was, and the status that was written."""


class ResourceStatusWriter:
    """Writes with the resourceVersion that was read. Only a change of what rotations depend on prevents the write."""

    def __init__(
        self, resources: Resources, journal: Journal, resource: RotatedSecret, on_change: StatusChanged
    ) -> None:
        self._resources = resources
        self._journal = journal
        self._on_change = on_change
        self.resource = resource
        """As last read or written."""

    def write(self, status: RotatedSecretStatus) -> None:
        """See :class:`rotated_secrets.rotation.ports.StatusWriter`."""
        before = self.resource
        if before.status.rotation is None:
            self._journal.close(before.key, before.uid)
        if status == before.status:
            return
        if status.rotation is not None and needs_entry(status, before.spec.rotation.strategy):
            self._journal.open(before, status.rotation)
        try:
            self.resource = self._written(before, status)
        except Conflict:
            self.resource = self._written_over(before, status)
        except NotFound:
            raise LookAgain(f"RotatedSecret {before} is gone") from None
        self._on_change(before, status)

    def _written(self, resource: RotatedSecret, status: RotatedSecretStatus) -> RotatedSecret:
        return self._resources.write_status(resource, status.to_patch())

    def _written_over(self, before: RotatedSecret, status: RotatedSecretStatus) -> RotatedSecret:
        now = self._resources.read(before.key)
        if now is None or now.uid != before.uid or _memory(now.status) != _memory(before.status):
            raise LookAgain(f"another operator wrote the status of RotatedSecret {before}")
        try:
            return self._written(now, status)
        except (Conflict, NotFound):
            raise LookAgain(f"RotatedSecret {before} is changing too fast to be written") from None


class DeletedStatusWriter:
    """Keeps the status of a deleted RotatedSecret in memory: another run begins with the journal's entry again."""

    def __init__(self, journal: Journal, resource: RotatedSecret, on_change: StatusChanged) -> None:
        self._journal = journal
        self._on_change = on_change
        self.resource = resource
        """As last written."""

    def write(self, status: RotatedSecretStatus) -> None:
        """See :class:`rotated_secrets.rotation.ports.StatusWriter`."""
        before = self.resource
        if status.rotation is None:
            self._journal.close(before.key, before.uid)
        self.resource = replace(before, status=status)
        self._on_change(before, status)


def _memory(status: RotatedSecretStatus) -> tuple[object, ...]:
    """What rotations depend on; the rest is for people."""
    rollout = (status.rolled_out_version_id, status.rolling_out_version_id)
    return status.rotation, status.handled_requests, status.history, rollout
