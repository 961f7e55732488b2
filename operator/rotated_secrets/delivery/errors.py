"""Errors of delivery. Messages never contain a value of a secret or of a template."""

from __future__ import annotations

from rotated_secrets.api.status import Reason


class DeliveryError(Exception):
    """The target Secret was not written; ``reason`` is the reason of the condition Synced."""

    reason: Reason = Reason.SYNC_FAILED


class TemplateFailed(DeliveryError):
    """The Secret's content cannot be rendered from this value; the author of the resource or the value can fix it."""

    reason = Reason.TEMPLATE_FAILED


class SecretConflict(DeliveryError):
    """An existing Secret must not or cannot be changed; the message says how to allow it."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class DeliveryRefused(DeliveryError):
    """The API server rejects what is written, or lacks what is read; the author of the resource can fix it."""


class SecretTooLarge(DeliveryRefused):
    """The Secret is larger than the operator reads or Kubernetes takes: nothing else than another content helps."""


class DeliveryDenied(DeliveryError):
    """A role, an admission policy, a webhook or a quota of the cluster does not allow it; the message names which."""


class DeliveryUnavailable(DeliveryError):
    """The API server could not be reached, or the Secret changed meanwhile: try again."""
