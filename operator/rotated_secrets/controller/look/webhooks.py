"""The webhook of a resource: the engine that sends its requests, and the certificates that it trusts.

Reads the Secrets that the resource names at each look, so that a new key or CA is used as soon as it is written there.
"""

from __future__ import annotations

import base64
import binascii

from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.spec import TlsMode, TlsSpec, Webhook
from rotated_secrets.api.status import Reason
from rotated_secrets.controller.look.database_access import Trust
from rotated_secrets.controller.look.validation import Unusable
from rotated_secrets.databases.base import Users
from rotated_secrets.databases.webhook import InvalidKey, Purpose, Receiver, SigningKey, WebhookEngine
from rotated_secrets.delivery.errors import DeliveryRefused
from rotated_secrets.delivery.targets import TargetSecrets
from rotated_secrets.rotation.random_value import random_settings
from rotated_secrets.rotation.strategies import users_of
from rotated_secrets.secretstores.base import SecretDescription, StoredVersion
from rotated_secrets.values import Credential, Stage

KEY = "key"
"""The key of the Secret under which the signing key is."""


def engine_of_webhook(
    resource: RotatedSecret,
    webhook: Webhook,
    credential: Credential,
    current: StoredVersion,
    description: SecretDescription,
    secrets: TargetSecrets,
) -> WebhookEngine:
    """
    Raises:
        Unusable: the Secret with the key is not there, or holds none worth the name.
        DeliveryError: it cannot be read now.
    """
    rotation = resource.spec.rotation
    random = rotation.strategy is Strategy.RANDOM_VALUE
    replaced = random_settings(rotation).keys if random else ("username", "password")
    purpose = Purpose(
        namespace=resource.namespace,
        name=resource.name,
        strategy=rotation.strategy,
        keys=replaced if current.value.fields is not None else (),
        users=_users(resource, credential),
        settled=frozenset(
            version for version, stages in description.stages.items() if stages & {Stage.CURRENT, Stage.PREVIOUS}
        ),
    )
    return WebhookEngine(Receiver.at(webhook.url), _key(resource, webhook, secrets), purpose)


def trust_of_webhook(resource: RotatedSecret, webhook: Webhook, secrets: TargetSecrets) -> Trust:
    """Trust the resource's CA, or the system's. The certificate is always verified.

    Raises:
        Unusable: the Secret with the CA is not there, or holds none.
        DeliveryError: it cannot be read now.
    """
    name = webhook.ca_secret_name
    try:
        authorities = (
            secrets.certificate_authorities(resource.namespace, name, "database.webhook.caSecretName") if name else None
        )
    except DeliveryRefused as error:
        raise Unusable(Reason.INVALID_SPEC, str(error)) from None
    return Trust(TlsSpec(mode=TlsMode.VERIFY_FULL), authorities, None)


def _users(resource: RotatedSecret, credential: Credential) -> Users | None:
    users = users_of(resource.spec.rotation, credential.username)
    return users if users.clone is not None else None


def _key(resource: RotatedSecret, webhook: Webhook, secrets: TargetSecrets) -> SigningKey:
    where = f"Secret {resource.namespace}/{webhook.auth_secret_name}"
    try:
        encoded = secrets.entry(resource.namespace, webhook.auth_secret_name, KEY, "database.webhook.authSecretName")
        return SigningKey.parse(base64.b64decode(encoded.reveal()))
    except DeliveryRefused as error:
        raise Unusable(Reason.INVALID_SPEC, str(error)) from None
    except (InvalidKey, binascii.Error) as error:
        raise Unusable(
            Reason.INVALID_SPEC,
            f"{where}, key {KEY}: {error}; put 32 random bytes there, best as whsec_ and their base64",
        ) from None
