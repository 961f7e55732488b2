"""What of a spec can be refused without asking anything, and how a look says that a person has to act."""

from __future__ import annotations

from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.spec import Webhook
from rotated_secrets.api.status import Reason
from rotated_secrets.controller.settings import Settings
from rotated_secrets.databases.webhook.receiver import HTTPS_PORT, InvalidReceiver, Receiver
from rotated_secrets.delivery.errors import TemplateFailed
from rotated_secrets.delivery.rendering import Renderer


class Unusable(Exception):
    """A person has to act before this RotatedSecret can be worked on; ``reason`` is that of the condition Ready."""

    def __init__(self, reason: Reason, message: str, *, asked_the_store: bool = True) -> None:
        super().__init__(message)
        self.reason = reason
        self.asked_the_store = asked_the_store
        """Whether finding that out took a call to the store."""


def check_spec(resource: RotatedSecret, settings: Settings, renderer: Renderer) -> None:
    """Check what the CRD's schema cannot say, or an API server without it let through, and no look can work with.

    Raises:
        Unusable: it must be corrected.
        DeliveryUnavailable: it is not known now.
    """
    try:
        renderer.check(resource.spec.target, resource.namespace)
    except TemplateFailed as error:
        raise Unusable(Reason.INVALID_SPEC, str(error), asked_the_store=False) from None
    if resource.spec.webhook is not None:
        _check_webhook(resource.spec.webhook, settings)


def _check_webhook(webhook: Webhook, settings: Settings) -> None:
    try:
        receiver = Receiver.at(webhook.url)
    except InvalidReceiver as error:
        raise Unusable(Reason.INVALID_SPEC, str(error), asked_the_store=False) from None
    if not receiver.is_among(settings.webhook_hosts):
        allowed = f"they allow {', '.join(settings.webhook_hosts)}" if settings.webhook_hosts else "they allow none"
        entry = receiver.host if receiver.port == HTTPS_PORT else str(receiver)
        raise Unusable(
            Reason.INVALID_SPEC,
            f"database.webhook.url: the operator's settings do not allow webhooks at {entry} ({allowed}); "
            f"have it added to --webhook-hosts",
            asked_the_store=False,
        )
