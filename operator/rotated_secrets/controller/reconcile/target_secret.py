"""The target Secret of one RotatedSecret, as its rotation sees it: compared with AWSCURRENT, and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.delivery.errors import (
    DeliveryDenied,
    DeliveryError,
    DeliveryRefused,
    SecretConflict,
    SecretTooLarge,
    TemplateFailed,
)
from rotated_secrets.delivery.rendering import Renderer
from rotated_secrets.delivery.target import DesiredSecret, LiveSecret, TargetKind, TargetState, compare
from rotated_secrets.delivery.targets import TargetSecrets
from rotated_secrets.secretstores.base import StoredVersion
from rotated_secrets.values import SecretText, SecretValue

Write = Callable[[DesiredSecret, LiveSecret | None], LiveSecret]
"""See :meth:`rotated_secrets.delivery.targets.TargetSecrets.write`."""
Written = Callable[[TargetState, StoredVersion], None]
"""Called with the state of the Secret before it was written, and the version that it holds now."""


class DeliveredSecret:
    """See :class:`rotated_secrets.rotation.ports.TargetSecret`."""

    def __init__(
        self,
        secrets: TargetSecrets,
        resource: RotatedSecret,
        live: LiveSecret | None,
        renderer: Renderer,
        write: Write,
        on_written: Written,
    ) -> None:
        """``live`` is the Secret as it was just read."""
        self._secrets = secrets
        self._write = write
        self._resource = resource
        self._renderer = renderer
        self._rendered: tuple[SecretValue, Mapping[str, SecretText]] | None = None
        self._on_written = on_written
        self._live = live
        self._was_let_go = False
        self.version = live.resource_version if live else None
        """The resourceVersion as last read or written; None if there is no Secret."""

    def let_go(self) -> None:
        """Drop what was read while the run waits, since a Secret may have a megabyte; it is read again when needed."""
        self._live = self._rendered = None
        self._was_let_go = True

    def look(self, current: StoredVersion) -> TargetState:
        """Compare with what was last read. If the Secret has changed since, the write fails.

        Raises: DeliveryDenied, DeliveryUnavailable, if it has to be read again.
        """
        if self._was_let_go:
            return self.look_again(current)
        try:
            return compare(self._live, self._desired(current))
        except TemplateFailed as error:
            return _in_the_way(error)

    def look_again(self, current: StoredVersion) -> TargetState:
        """Read it now, and compare. Raises: DeliveryDenied, DeliveryUnavailable."""
        self._read(self._secrets.read(self._resource.namespace, self._resource.target_name))
        return self.look(current)

    def write(self, current: StoredVersion) -> TargetState:
        """Write AWSCURRENT into it. Raises: DeliveryRefused, DeliveryDenied, DeliveryUnavailable."""
        before = self.look(current)
        try:
            live = self._write(self._desired(current), self._live)
        except (SecretConflict, SecretTooLarge) as error:
            return _in_the_way(error)
        except (DeliveryRefused, DeliveryDenied) as error:
            if not self._resource.deleting:
                raise  # and tried again: nothing shows when it is no longer refused
            return _in_the_way(error)  # the rotation is ended without it
        # Equal, as written: if an admission webhook changed it, another comparison would start a fight with it.
        self._read(live)
        self._on_written(before, current)
        return TargetState(TargetKind.EQUAL, current.version_id)

    def _read(self, live: LiveSecret | None) -> None:
        self._live, self._was_let_go = live, False
        self.version = live.resource_version if live else None

    def _desired(self, current: StoredVersion) -> DesiredSecret:
        return DesiredSecret.of(
            self._resource,
            self._render(current.value),
            version_id=current.version_id,
            secret_arn=current.arn,
            rotated_at=current.created_at,
        )

    def _render(self, value: SecretValue) -> Mapping[str, SecretText]:
        """Render each value once: a run compares, writes and compares again."""
        if self._rendered is None or self._rendered[0] is not value:
            rendered = self._renderer.render(self._resource.spec.target, value, self._resource.namespace)
            self._rendered = value, rendered
        return self._rendered[1]


def _in_the_way(error: DeliveryError) -> TargetState:
    return TargetState(TargetKind.CONFLICT, reason=error.reason, message=str(error))
