"""What can be worked on: a spec, a secret and a value that make sense, or a sentence about what a person must mend.

Reads the store; changes nothing. Knows nothing of what is then done.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from rotated_secrets.api.key import Key
from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.spec import Webhook
from rotated_secrets.api.status import Reason
from rotated_secrets.controller.aws.managed_secrets import ManagedSecrets
from rotated_secrets.controller.services import Services
from rotated_secrets.controller.settings import Settings
from rotated_secrets.databases.base import Engine
from rotated_secrets.databases.elasticache.user import place_in
from rotated_secrets.databases.registry import engine_named
from rotated_secrets.databases.webhook.receiver import HTTPS_PORT, InvalidReceiver, Receiver
from rotated_secrets.delivery.errors import TemplateFailed
from rotated_secrets.delivery.render import check_template
from rotated_secrets.rotation.observation import Obstacle, Terms
from rotated_secrets.rotation.password import InvalidPasswordPolicy
from rotated_secrets.rotation.ports import LookAgain
from rotated_secrets.rotation.random_value import check_drawing
from rotated_secrets.rotation.schedule import InvalidSchedule, Schedule, parse_schedule
from rotated_secrets.rotation.strategies import users_of
from rotated_secrets.secretstores.base import (
    AccessDenied,
    SecretDescription,
    SecretNotFound,
    SecretStore,
    StoredVersion,
    StoreRefused,
)
from rotated_secrets.values import Credential, Endpoint, InvalidSecretValue, SecretId, Stage

REQUEST_INTERVAL: Final = timedelta(minutes=10)
"""Source: PutSecretValue, API Reference: more than one version every ten minutes is more than AWS removes, and ends in
the quota of versions."""


class Unusable(Exception):
    """Something that a person must mend stands in the way; ``reason`` is that of the condition Ready."""

    def __init__(self, reason: Reason, message: str, *, asked_the_store: bool = True) -> None:
        super().__init__(message)
        self.reason = reason
        self.asked_the_store = asked_the_store
        """Whether finding that out took a call to the store."""


def check_spec(resource: RotatedSecret, services: Services) -> None:
    """What the CRD's schema cannot say, or an API server without it let through, and nothing can be done with.

    Raises: Unusable.
    """
    try:
        check_template(resource.spec.target)
    except TemplateFailed as error:
        raise Unusable(Reason.INVALID_SPEC, str(error), asked_the_store=False) from None
    if resource.spec.webhook is not None:
        _check_webhook(resource.spec.webhook, services.settings)


def obstacle_in(rotation: Rotation, settings: Settings) -> Obstacle | None:
    """What the CRD's schema cannot say of a rotation. It may have been right before the settings were changed."""
    try:
        check_drawing(rotation)
        if rotation.schedule:
            parse_schedule(rotation.schedule, timedelta(seconds=settings.minimum_interval))
    except (InvalidPasswordPolicy, InvalidSchedule) as error:
        return Obstacle(Reason.INVALID_SPEC, str(error))
    if rotation.strategy is Strategy.ALTERNATING_USERS and rotation.clone_suffix not in settings.clone_suffixes:
        return Obstacle(
            Reason.INVALID_SPEC,
            f"rotation.cloneSuffix {rotation.clone_suffix} is not one that the operator allows; "
            f"write one of {', '.join(settings.clone_suffixes)}, or have it added to --clone-suffixes",
        )
    return None


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


def terms_of(
    resource: RotatedSecret, description: SecretDescription, services: Services, place: Endpoint | None
) -> Terms:
    rotation = resource.spec.rotation
    return Terms(
        arn=description.arn,
        rotation=rotation,
        schedule=_schedule_of(rotation, timedelta(seconds=services.settings.minimum_interval)),
        request=resource.rotate_request,
        resync=resource.resync_request,
        request_interval=REQUEST_INTERVAL,
        created_at=resource.created_at,
        place=place,
        restart=resource.spec.rollout.restart,
    )


def _schedule_of(rotation: Rotation, minimum: timedelta) -> Schedule | None:
    """None also for one that cannot be followed, which is an obstacle of its own."""
    try:
        return parse_schedule(rotation.schedule, minimum) if rotation.schedule else None
    except InvalidSchedule:
        return None


def place_of(
    resource: RotatedSecret, current: StoredVersion, description: SecretDescription, managed: ManagedSecrets
) -> Endpoint | None:
    """Where the credential logs in, as far as its value need not say it.

    Raises:
        Refused, StoreError: AWS was to tell, and did not.
    """
    if (webhook := resource.spec.webhook) is not None:
        receiver = Receiver.at(webhook.url)
        names_user = resource.spec.rotation.strategy is not Strategy.RANDOM_VALUE
        return Endpoint("webhook", receiver.host, receiver.port, names_user=names_user, settles=True)
    if resource.spec.rotation.strategy is Strategy.EXTERNAL:
        return managed.login(current.value, description)
    if resource.spec.rotation.strategy is Strategy.RANDOM_VALUE:
        return None
    return place_in(current.value) or Endpoint()


def description_of(store: SecretStore, secret_id: SecretId) -> SecretDescription:
    try:
        return store.describe(secret_id)
    except AccessDenied as error:
        raise Unusable(Reason.ACCESS_DENIED, str(error)) from None
    except SecretNotFound as error:
        raise Unusable(Reason.SECRET_NOT_FOUND, str(error)) from None
    except StoreRefused as error:
        raise Unusable(Reason.INVALID_SPEC, str(error)) from None


def current_of(store: SecretStore, description: SecretDescription) -> StoredVersion:
    if description.deleted_at is not None:
        raise Unusable(
            Reason.SECRET_NOT_FOUND,
            f"secret {description.arn} is scheduled for deletion; restore it, or delete this RotatedSecret",
        )
    try:
        current = store.get(description.arn, stage=Stage.CURRENT)
    except AccessDenied as error:
        raise Unusable(Reason.ACCESS_DENIED, str(error)) from None
    except SecretNotFound:
        raise Unusable(
            Reason.SECRET_NOT_FOUND, f"secret {description.arn} has no version staged AWSCURRENT; put a value into it"
        ) from None
    except InvalidSecretValue as error:
        raise Unusable(Reason.INVALID_SECRET_VALUE, str(error)) from None
    if Stage.CURRENT not in description.stages.get(current.version_id, frozenset()):
        raise LookAgain("AWSCURRENT was moved between two looks")
    return current


def engine_of(credential: Credential, terms: Terms, webhook: Engine | None = None) -> Engine:
    """The resource's own webhook, else the engine that the value names.

    Raises:
        Refused: there is none, or a user's name doesn't fit it.
    """
    engine = webhook or engine_named(credential.engine)
    users = users_of(terms.rotation, credential.username)
    for user in (users.base, users.clone):
        if user is not None:
            engine.check_username(user)
    return engine


def obstacle_at(engine: Engine, credential: Credential, rotation: Rotation) -> Obstacle | None:
    """What of a rotation this engine cannot do."""
    strategy, possible = rotation.strategy, engine.strategies | {Strategy.EXTERNAL}
    if strategy not in possible:
        return Obstacle(
            Reason.INVALID_SPEC,
            f"{credential.engine} has no {strategy}; write rotation.strategy: {' or '.join(sorted(possible))}",
        )
    if strategy is Strategy.EXTERNAL:
        return None
    try:
        check_drawing(rotation, engine.passwords)
    except InvalidPasswordPolicy as error:
        return Obstacle(Reason.INVALID_SPEC, f"{credential.engine}: {error}")
    return None


def rotated_elsewhere(resource: RotatedSecret, description: SecretDescription, services: Services) -> str | None:
    """Who else rotates this secret, so that we must not."""
    older = services.index.older(Key(resource.namespace, resource.name), description.arn)
    if older is not None:
        return f"RotatedSecret {older} was there first and rotates this secret; delete one of the two"
    if resource.spec.rotation.strategy is not Strategy.EXTERNAL:
        if description.owning_service:
            return (
                f"this secret is managed and rotated by the AWS service {description.owning_service}; "
                "write rotation.strategy: External to follow it"
            )
        if description.rotation_enabled:
            return (
                "AWS rotates this secret itself (RotationEnabled); write rotation.strategy: External to follow it, or "
                f"run aws secretsmanager cancel-rotate-secret --secret-id {description.arn} to have it rotated here"
            )
    if description.primary_region:
        return (
            f"this secret is a replica of the one in {description.primary_region}; "
            "name that one: its replicas follow by themselves"
        )
    return None
