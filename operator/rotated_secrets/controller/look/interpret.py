"""Third stage of a look: what the spec and the value mean, and what stands in the way of a rotation.

Asks AWS only what a value leaves open, and no database. An obstacle stops rotations, and no delivery.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import Final

from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.status import Reason
from rotated_secrets.controller.aws.managed_secrets import ManagedSecrets
from rotated_secrets.controller.look.fetch import Fetched
from rotated_secrets.controller.look.validation import Unusable
from rotated_secrets.controller.look.webhooks import engine_of_webhook
from rotated_secrets.controller.services import Services
from rotated_secrets.controller.settings import Settings
from rotated_secrets.controller.work.scheduler import utc_now
from rotated_secrets.databases.base import AsksCloud, Engine, Refused
from rotated_secrets.databases.disclosure import without_unproven
from rotated_secrets.databases.elasticache.user import place_in
from rotated_secrets.databases.registry import WEBHOOK, EngineSwitchedOff, check_enabled, engine_named
from rotated_secrets.databases.webhook.receiver import Receiver
from rotated_secrets.delivery.targets import TargetSecrets
from rotated_secrets.rotation.deletion import as_left_behind
from rotated_secrets.rotation.external import not_configured
from rotated_secrets.rotation.observation import Observation, Obstacle, Terms
from rotated_secrets.rotation.password import InvalidPasswordPolicy
from rotated_secrets.rotation.random_value import check_generator
from rotated_secrets.rotation.schedule import InvalidSchedule, Schedule, parse_schedule
from rotated_secrets.rotation.status_updates import initialised
from rotated_secrets.rotation.strategies import check_value, users_of
from rotated_secrets.secretstores.base import AccessDenied, SecretDescription, StoredVersion
from rotated_secrets.values import Credential, Endpoint, InvalidSecretValue

REQUEST_INTERVAL: Final = timedelta(minutes=10)
"""Source: PutSecretValue, API Reference: more than one version every ten minutes is more than AWS removes, and ends in
the quota of versions."""


@dataclass(frozen=True)
class Interpreted:
    """What is to be rotated, and by which engine."""

    fetched: Fetched
    terms: Terms
    engine: Engine | None
    """None where the strategy reaches no database."""
    seen: Observation
    """Without the target Secret's state."""

    @property
    def credential(self) -> Credential | None:
        """What is in AWSCURRENT; None where the strategy reaches no database."""
        return self.seen.credential


class Interpreter:
    """Makes sense of specs and values."""

    def __init__(self, services: Services, secrets: TargetSecrets) -> None:
        self._services = services
        self._secrets = secrets

    def interpret(self, fetched: Fetched) -> Interpreted:
        """
        Raises:
            Unusable: the value makes no sense for this strategy.
            StoreError, DeliveryError: it is not known.
        """
        try:
            return self._interpreted(fetched)
        except (AccessDenied, EngineSwitchedOff) as error:
            raise Unusable(Reason.ACCESS_DENIED, str(error)) from None
        except (InvalidSecretValue, Refused) as error:
            raise Unusable(Reason.INVALID_SECRET_VALUE, str(error)) from error

    def _interpreted(self, fetched: Fetched) -> Interpreted:
        settings, resource, identity = self._services.settings, fetched.authorised.resource, fetched.authorised.identity
        description, current = fetched.description, fetched.current
        endpoint = endpoint_of(resource, current, description, identity.managed)
        terms = terms_of(resource, description, endpoint, minimum_interval=timedelta(seconds=settings.minimum_interval))
        status = initialised(resource.status, terms, utc_now())
        seen = Observation.first(
            terms,
            description.stages,
            current,
            as_left_behind(status, terms) if terms.deleted else status,
            elsewhere=self._rotated_elsewhere(fetched),
        )
        check_value(terms, current)
        engine, obstacle = None, obstacle_in(terms.rotation, settings) or obstacle_at_aws(terms.rotation, description)
        if seen.credential is not None:
            engine = self._engine(fetched, seen.credential)
            check_usernames(engine, terms.rotation, seen.credential, resource.status.active_user)
            if isinstance(engine, AsksCloud):
                engine = engine.asking(identity.stores.client, str(identity))
            obstacle = obstacle or obstacle_at(engine, seen.credential, terms.rotation)
        left = self._services.journal.count_left(resource.namespace, self._services.index.uid)
        return Interpreted(fetched, terms, engine, replace(seen, obstacle=obstacle, left_unfinished=left))

    def _engine(self, fetched: Fetched, credential: Credential) -> Engine:
        """The resource's own webhook, else the engine that the value names."""
        resource, switched_on = fetched.authorised.resource, self._services.settings.engines
        if (webhook := resource.spec.webhook) is None:
            return engine_named(credential.engine, switched_on)
        check_enabled(WEBHOOK, switched_on)
        return engine_of_webhook(resource, webhook, credential, fetched.current, fetched.description, self._secrets)

    def _rotated_elsewhere(self, fetched: Fetched) -> str | None:
        """Who else rotates this secret, so that we must not."""
        resource, description = fetched.authorised.resource, fetched.description
        policy, home = fetched.authorised.policy, fetched.authorised.home
        # A namespace may have thousands that name this secret.
        allowed = cache(lambda namespace: policy.may_rotate(namespace, description.arn, home))
        older = self._services.index.oldest_rival(resource.key, description.arn, lambda key: allowed(key.namespace))
        if older is not None and not resource.deleting:
            return f"RotatedSecret {older} was there first and rotates this secret; delete one of the two"
        return rotated_by_aws(resource.spec.rotation, description)


def terms_of(
    resource: RotatedSecret,
    description: SecretDescription,
    endpoint: Endpoint | None,
    *,
    minimum_interval: timedelta,
) -> Terms:
    """What a rotation depends on of a resource and its secret."""
    rotation = resource.spec.rotation
    return Terms(
        arn=description.arn,
        rotation=rotation,
        schedule=_schedule_of(rotation, minimum_interval),
        request=resource.rotate_request,
        resync=resource.resync_request,
        request_interval=REQUEST_INTERVAL,
        created_at=resource.created_at,
        endpoint=endpoint,
        restart=resource.spec.rollout.restart,
        deleted=resource.deleting,
        request_is_older=resource.rotate_request_is_older,
    )


def _schedule_of(rotation: Rotation, minimum: timedelta) -> Schedule | None:
    """None also for one that cannot be followed, which is an obstacle of its own."""
    try:
        return parse_schedule(rotation.schedule, minimum) if rotation.schedule else None
    except InvalidSchedule:
        return None


def endpoint_of(
    resource: RotatedSecret, current: StoredVersion, description: SecretDescription, managed: ManagedSecrets
) -> Endpoint | None:
    """Where the credential logs in, as far as its value need not say it; None where it logs in nowhere.

    Raises:
        Refused, StoreError: AWS was to tell, and did not.
    """
    if (webhook := resource.spec.webhook) is not None:
        receiver = Receiver.at(webhook.url)
        has_user = resource.spec.rotation.strategy is not Strategy.RANDOM_VALUE
        return Endpoint(WEBHOOK, receiver.host, receiver.port, has_user=has_user, overrides_value=True)
    if resource.spec.rotation.strategy is Strategy.EXTERNAL:
        return managed.login_endpoint(current.value, description)
    if resource.spec.rotation.strategy is Strategy.RANDOM_VALUE:
        return None
    return place_in(current.value) or Endpoint()


def check_usernames(engine: Engine, rotation: Rotation, credential: Credential, known_user: str | None = None) -> None:
    """Raises: Refused, where a user's name does not fit the engine; it names the user only if that has logged in."""
    users = users_of(rotation, credential.username)
    names = [user for user in (users.base, users.clone) if user is not None]
    for user in names:
        try:
            engine.check_username(user)
        except Refused as error:
            if known_user in names:
                raise
            raise without_unproven(error, credential, users=names) from None


def obstacle_in(rotation: Rotation, settings: Settings) -> Obstacle | None:
    """What the CRD's schema cannot say of a rotation. It may have been right before the settings were changed."""
    try:
        check_generator(rotation)
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


def obstacle_at_aws(rotation: Rotation, description: SecretDescription) -> Obstacle | None:
    """What of a scheduled rotation AWS is not set up for, though it may be due only in weeks."""
    wants = rotation.strategy is Strategy.EXTERNAL and rotation.schedule is not None and not rotation.suspend
    if not wants or description.rotation_enabled or description.primary_region:
        return None
    return Obstacle(Reason.INVALID_SPEC, not_configured(description.arn))


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
        check_generator(rotation, engine.passwords)
    except InvalidPasswordPolicy as error:
        return Obstacle(Reason.INVALID_SPEC, f"{credential.engine}: {error}")
    return None


def rotated_by_aws(rotation: Rotation, description: SecretDescription) -> str | None:
    """A sentence where AWS rotates this secret, or replicates it from elsewhere; None where it does not."""
    if rotation.strategy is not Strategy.EXTERNAL:
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
