"""Writes the status of one RotatedSecret, and never overwrites a claim of another operator.

What the journal has to hold is written before the status that needs it, and removed after the one that ends the claim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.status import RotatedSecretStatus
from rotated_secrets.cluster import ClusterError, Conflict, NotFound
from rotated_secrets.controller.journal import Journal
from rotated_secrets.controller.watch.resources import Resources
from rotated_secrets.rotation.deletion import needs_entry
from rotated_secrets.rotation.ports import LookAgain
from rotated_secrets.rotation.run import TryAgain

StatusChanged = Callable[[RotatedSecret, RotatedSecretStatus], None]
"""Called with the resource as it was, and the status that was written."""


class _WithNotes:
    """A RotatedSecret whose status is partly noted and not yet written."""

    def __init__(self, journal: Journal, resource: RotatedSecret, on_change: StatusChanged) -> None:
        self._journal = journal
        self._on_change = on_change
        self._written = resource
        self._noted = resource.status

    @property
    def resource(self) -> RotatedSecret:
        """As last read or written, with the status that was noted since."""
        return replace(self._written, status=self._noted)

    def note(self, status: RotatedSecretStatus) -> None:
        """See :class:`rotated_secrets.rotation.ports.StatusWriter`."""
        self._noted = status


class ResourceStatusWriter(_WithNotes):
    """Writes with the resourceVersion that was read. Only a change of what rotations depend on prevents the write."""

    def __init__(
        self, resources: Resources, journal: Journal, resource: RotatedSecret, on_change: StatusChanged
    ) -> None:
        super().__init__(journal, resource, on_change)
        self._resources = resources

    def write(self, status: RotatedSecretStatus) -> None:
        """See :class:`rotated_secrets.rotation.ports.StatusWriter`."""
        before = self._written
        if status.rotation is not None and needs_entry(status, before.spec.rotation.strategy):
            self._journal.open(before, status.rotation)
        if status != before.status:
            try:
                self._written = self._write(before, status)
            except Conflict:
                self._written = self._write_over(before, status)
            except NotFound:
                raise LookAgain(f"RotatedSecret {before} is gone") from None
            self._noted = status
            self._on_change(before, status)
        if status.rotation is None:
            self._close_journal(before)

    def _close_journal(self, of: RotatedSecret) -> None:
        """What is written is true, so this is no trouble of the rotation's. Raises: TryAgain."""
        try:
            self._journal.close(of.key, of.uid)
        except ClusterError as error:
            raise TryAgain(
                f"the rotation has ended, and its entry in the journal cannot be removed: {error}"
            ) from error

    def _write(self, resource: RotatedSecret, status: RotatedSecretStatus) -> RotatedSecret:
        return self._resources.write_status(resource, status.to_patch())

    def _write_over(self, before: RotatedSecret, status: RotatedSecretStatus) -> RotatedSecret:
        now = self._resources.read(before.key)
        if now is None or now.uid != before.uid or _memory(now.status) != _memory(before.status):
            raise LookAgain(f"another operator wrote the status of RotatedSecret {before}")
        try:
            return self._write(now, status)
        except (Conflict, NotFound):
            raise LookAgain(f"RotatedSecret {before} is changing too fast to be written") from None


class DeletedStatusWriter(_WithNotes):
    """Keeps the status of a deleted RotatedSecret in memory: another run begins with the journal's entry again."""

    def write(self, status: RotatedSecretStatus) -> None:
        """See :class:`rotated_secrets.rotation.ports.StatusWriter`."""
        before = self._written
        if status.rotation is None:
            self._journal.close(before.key, before.uid)
        self._written, self._noted = replace(before, status=status), status
        self._on_change(before, status)


def _memory(status: RotatedSecretStatus) -> tuple[object, ...]:
    """What rotations depend on; the rest is for people."""
    rollout = (status.rolled_out_version_id, status.rolling_out_version_id)
    return status.rotation, status.handled_requests, status.history, rollout
