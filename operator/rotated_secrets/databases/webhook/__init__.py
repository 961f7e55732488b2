"""The engine for everything else: a webhook sets and tests credentials."""

from rotated_secrets.databases.webhook.engine import Purpose, WebhookEngine
from rotated_secrets.databases.webhook.receiver import InvalidReceiver, Receiver
from rotated_secrets.databases.webhook.signing import InvalidKey, SigningKey

__all__ = ["InvalidKey", "InvalidReceiver", "Purpose", "Receiver", "SigningKey", "WebhookEngine"]
