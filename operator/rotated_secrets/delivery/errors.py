"""The ways in which delivering a Secret can fail. No message holds a value, of a secret or of a template."""

from __future__ import annotations

from rotated_secrets.api.status import Reason


class DeliveryError(Exception):
    """The target Secret was not written; ``reason`` is that of the condition Synced."""

    reason: Reason = Reason.SYNC_FAILED


class TemplateFailed(DeliveryError):
    """The Secret's content cannot be made from this value; whoever wrote the resource or the value can mend it."""

    reason = Reason.TEMPLATE_FAILED


class SecretConflict(DeliveryError):
    """A Secret is in the way that we must not, or cannot, change; the message says how to let us."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class DeliveryRefused(DeliveryError):
    """The API server doesn't take what we write, or lacks what we read; whoever wrote the resource can mend it."""


class DeliveryDenied(DeliveryError):
    """The operator's ServiceAccount may not do this; its administrator can mend it."""


class DeliveryUnavailable(DeliveryError):
    """The API server could not be reached, or the Secret changed while we looked: try again."""
