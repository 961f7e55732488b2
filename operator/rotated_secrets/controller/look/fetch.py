"""Second stage of a look: the secret that was asked for, by AWS's word, and the version staged AWSCURRENT.

What AWS returned is held against the access policy before any value is read: a name may be resolved to another secret.
"""

from __future__ import annotations

from dataclasses import dataclass

from rotated_secrets.api.status import Reason
from rotated_secrets.controller.look.authorise import Authorised, Authoriser
from rotated_secrets.controller.look.validation import Unusable
from rotated_secrets.controller.services import Services
from rotated_secrets.rotation.observation import version_at
from rotated_secrets.rotation.ports import LookAgain
from rotated_secrets.secretstores.base import (
    AccessDenied,
    SecretDescription,
    SecretNotFound,
    SecretStore,
    StoredVersion,
    StoreRefused,
)
from rotated_secrets.values import InvalidSecretValue, SecretId, Stage


@dataclass(frozen=True)
class Fetched:
    """The secret of one RotatedSecret, as the store has it."""

    authorised: Authorised
    description: SecretDescription
    current: StoredVersion
    """The version that carries AWSCURRENT."""


class Fetcher:
    """Reads the store. Follows in the change feeds what was found there."""

    def __init__(self, services: Services, authoriser: Authoriser) -> None:
        self._services = services
        self._authoriser = authoriser

    def fetch(self, authorised: Authorised) -> Fetched:
        """
        Raises:
            Unusable: there is no such secret or version, or it may not be read.
            LookAgain: the secret moved meanwhile.
            StoreError: it is not known.
        """
        key = authorised.resource.key
        try:
            fetched = self._fetched(authorised)
        except Unusable:
            if authorised.identity.role is not None:
                # A secret that a role does not get may not be the tenant's: it does not keep others from it.
                self._authoriser.set_allowed(key, allowed=False)
            raise
        self._authoriser.set_allowed(key, allowed=True)
        return fetched

    def _fetched(self, authorised: Authorised) -> Fetched:
        services, key, request = self._services, authorised.resource.key, authorised.request
        store = authorised.store
        description = describe(store, request.secret_id)
        arn = description.arn
        self._authoriser.check(key, lambda: authorised.policy.check_returned(request, arn, authorised.home))
        services.look_again(services.index.record_arn(key, arn))
        if (current := version_at(description.stages, Stage.CURRENT)) is not None:
            services.look_again(services.index.record_current(key, arn, current))
        services.feeds.track(
            key, authorised.identity, request.lookup_region, arn, description.stages, description.aws_rotation
        )
        return Fetched(authorised, description, read_current(store, description))


def describe(store: SecretStore, secret_id: SecretId) -> SecretDescription:
    """Raises: Unusable, where a person has to act; StoreUnavailable."""
    try:
        return store.describe(secret_id)
    except AccessDenied as error:
        raise Unusable(Reason.ACCESS_DENIED, str(error)) from None
    except SecretNotFound as error:
        raise Unusable(Reason.SECRET_NOT_FOUND, str(error)) from None
    except StoreRefused as error:
        raise Unusable(Reason.INVALID_SPEC, str(error)) from None


def read_current(store: SecretStore, description: SecretDescription) -> StoredVersion:
    """Read the version staged AWSCURRENT.

    Raises:
        Unusable: there is none, or a person has to act.
        LookAgain: AWSCURRENT was moved after the secret was described.
        StoreError: it is not known.
    """
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
