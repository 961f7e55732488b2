"""One look at a RotatedSecret: authorise, fetch, interpret, connect, each visited once, in this order.

Changes nothing. What a person has to act on is said by :class:`Unusable`; where nothing has changed since the last
look, nothing is asked of AWS or of a database.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto

from rotated_secrets.api.key import Key
from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.status import Reason
from rotated_secrets.controller.access.policy import AccessPolicy
from rotated_secrets.controller.access.policy_file import AccessPolicyFile, InvalidPolicy
from rotated_secrets.controller.look.authorise import Authoriser
from rotated_secrets.controller.look.connect import Connected, Connector
from rotated_secrets.controller.look.fetch import Fetched, Fetcher
from rotated_secrets.controller.look.interpret import Interpreter
from rotated_secrets.controller.look.validation import Unusable, check_spec
from rotated_secrets.controller.services import Services
from rotated_secrets.controller.settings import InvalidSettings
from rotated_secrets.controller.work.drift_backoff import DriftBackoff, contested_message
from rotated_secrets.controller.work.observed_cache import LookInputs
from rotated_secrets.controller.work.scheduler import utc_now
from rotated_secrets.delivery.errors import DeliveryError, DeliveryRefused
from rotated_secrets.delivery.target import LiveSecret
from rotated_secrets.delivery.targets import TargetSecrets
from rotated_secrets.rotation.observation import Observation, Terms

NO_DATABASE = "none"
"""The engine of what reaches no database, in metrics."""


@dataclass(frozen=True)
class Gathered:
    """All that a run over one RotatedSecret needs."""

    resource: RotatedSecret
    live: LiveSecret | None
    """The target Secret as it was read for this look."""
    inputs: LookInputs
    """What this look depended on."""
    token: object
    """Of this look, for :class:`~rotated_secrets.controller.work.observed_cache.ObservedCache`."""
    connected: Connected
    seen: Observation
    """Without the target Secret's state."""

    @property
    def fetched(self) -> Fetched:
        return self.connected.interpreted.fetched

    @property
    def terms(self) -> Terms:
        return self.connected.interpreted.terms

    @property
    def engine(self) -> str:
        """The engine's name, for metrics."""
        credential = self.seen.credential
        return credential.engine if credential else NO_DATABASE


class TargetNow(Enum):
    """What is so of a target Secret where a look did not come to reading it."""

    AS_LEFT = auto()
    """The last look that came to an end left it so, or nothing is delivered."""
    ABSENT = auto()
    NOT_KNOWN = auto()
    """It has changed, or cannot be read."""


class Gatherer:
    """Looks at RotatedSecrets. One for an operator; safe from several threads."""

    def __init__(self, services: Services) -> None:
        """Raises: InvalidSettings, where a file that the settings name cannot be used."""
        self._services = services
        self.secrets = TargetSecrets(services.cluster)
        self.drift = DriftBackoff()
        try:
            self._policy = AccessPolicyFile(services.settings.access_policy_file)
        except InvalidPolicy as error:
            raise InvalidSettings(f"--access-policy-file: {error}") from error
        services.metrics.follow_access_policy(self._policy.is_current)
        self._authoriser = Authoriser(services)
        self._fetcher = Fetcher(services, self._authoriser)
        self._interpreter = Interpreter(services, self.secrets)
        self._connector = Connector(services, self.secrets, self._policy.current)

    def look(self, resource: RotatedSecret) -> Gathered | datetime | None:
        """Gather what there is to work on; or say when to look again, where nothing has changed.

        Raises:
            Unusable: a person has to act.
            LookAgain: the secret moved while it was looked at.
            StoreError, DeliveryError, Unavailable: something did not answer.
        """
        services, key, now = self._services, resource.key, utc_now()
        policy = self._policy.current()
        inputs = LookInputs.of(resource, policy)
        if (last := services.observed.last_look(key, inputs, now)) is not None:
            if self._target_version(resource) == last.target_version:
                return services.observed.next_check(key, now)
            if self.drift.must_wait(key):
                raise _not_delivered(contested_message(resource.namespace, resource.target_name))
        return self._gathered(resource, inputs, services.observed.start_look(key), policy)

    def look_at_deleted(self, resource: RotatedSecret) -> Gathered:
        """Gather what is needed to end the rotation of a RotatedSecret that is gone. Raises: as :meth:`look`."""
        policy = self._policy.current()
        return self._gathered(resource, LookInputs.of(resource, policy), object(), policy)

    def _gathered(self, resource: RotatedSecret, inputs: LookInputs, token: object, policy: AccessPolicy) -> Gathered:
        authorised = self._authoriser.authorise(resource, policy)
        check_spec(resource, self._services.settings, self._services.renderer)
        fetched = self._fetcher.fetch(authorised)
        interpreted = self._interpreter.interpret(fetched)
        connected = self._connector.connect(interpreted)
        seen = replace(interpreted.seen, obstacle=interpreted.seen.obstacle or connected.obstacle)
        return Gathered(resource, self._target(resource), inputs, token, connected, seen)

    def _target_version(self, resource: RotatedSecret) -> str | None:
        """The target Secret's resourceVersion alone; None where there is none. Raises: Unusable, DeliveryError."""
        if not resource.spec.target.is_delivered:
            return None
        try:
            return self.secrets.version(resource.namespace, resource.target_name)
        except DeliveryRefused as error:
            raise _not_delivered(str(error)) from None

    def target_now(self, resource: RotatedSecret) -> TargetNow:
        """Look at the target Secret's metadata, after a look that was interrupted."""
        try:
            version = self._target_version(resource)
        except (Unusable, DeliveryError):
            return TargetNow.NOT_KNOWN
        if version is None and resource.spec.target.is_delivered:
            return TargetNow.ABSENT
        return TargetNow.AS_LEFT if self._services.observed.is_as_left(resource.key, version) else TargetNow.NOT_KNOWN

    def _target(self, resource: RotatedSecret) -> LiveSecret | None:
        """The target Secret, which may have a megabyte: read last, so that a look that fails has not read it.

        Raises: Unusable, DeliveryError.
        """
        if not resource.spec.target.is_delivered:
            return None
        try:
            return self.secrets.read(resource.namespace, resource.target_name)
        except DeliveryRefused as error:
            if resource.deleting:
                return None  # it cannot be written either, and the rotation is ended without it
            raise _not_delivered(str(error)) from None

    def give_up(self, key: Key) -> None:
        """The spec of a RotatedSecret does not parse: what it asked for counts no longer."""
        self._authoriser.give_up(key)

    def forget(self, key: Key) -> None:
        """The RotatedSecret is gone: it blocks no other one, and nothing is asked for it."""
        self._authoriser.give_up(key)
        self.drift.forget(key)
        self._services.observed.invalidate(key)


def _not_delivered(message: str) -> Unusable:
    return Unusable(Reason.SYNC_FAILED, message, asked_the_store=False)
