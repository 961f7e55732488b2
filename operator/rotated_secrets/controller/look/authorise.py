"""First stage of a look: may this RotatedSecret have what it names, and as which AWS identity is it asked for?

Decided before AWS is asked for anything: a name that is denied costs no call, and does not show whether it exists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rotated_secrets.api.key import Key
from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.status import Reason
from rotated_secrets.controller.access.policy import AccessPolicy, Home, PolicyDenied, Request
from rotated_secrets.controller.aws.identities import Identity
from rotated_secrets.controller.look.validation import Unusable
from rotated_secrets.controller.services import Services
from rotated_secrets.secretstores.base import AccessDenied, SecretStore


@dataclass(frozen=True)
class Authorised:
    """What may be asked of AWS for one RotatedSecret."""

    resource: RotatedSecret
    policy: AccessPolicy
    home: Home
    identity: Identity
    request: Request
    """The source secret, as the resource names it."""

    @property
    def store(self) -> SecretStore:
        """The identity's view of the region that the secret is in."""
        return self.identity.stores.at(self.request.lookup_region)


class Authoriser:
    """Holds requests against the access policy. Remembers in the index who is denied its secret."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def authorise(self, resource: RotatedSecret, policy: AccessPolicy) -> Authorised:
        """
        Raises:
            Unusable: the policy, the ServiceAccount's owner or AWS does not allow it.
            StoreUnavailable: it is not known.
        """
        identities, home = self._services.identities, self.home()
        request = Request.source(resource, home, identities.account_of(resource))
        if identities.names_account(resource):
            self.check(resource.key, lambda: policy.check_asked(request, home))
        try:
            identity = identities.of(resource)
        except AccessDenied as error:
            self.give_up(resource.key)
            raise Unusable(Reason.ACCESS_DENIED, str(error)) from None
        if identity.role is not None:
            self._services.index.record_account(resource.key, identity.role.account)
            request = Request.source(resource, home, identity.role.account)
            self.check(resource.key, lambda: policy.check_asked(request, home))
        return Authorised(resource, policy, home, identity, request)

    def home(self) -> Home:
        """The operator's own account and region. Raises: Unusable, StoreUnavailable."""
        stores = self._services.identities.own.stores
        try:
            home = Home(stores.account(), stores.region)
        except AccessDenied as error:
            raise Unusable(Reason.ACCESS_DENIED, str(error)) from None
        self._services.index.record_own_account(home.account)
        return home

    def check(self, key: Key, check: Callable[[], None]) -> None:
        """Have the policy check what was asked, or what was returned. Raises: Unusable, where it denies it."""
        try:
            check()
        except PolicyDenied as error:
            self.give_up(key)
            raise Unusable(Reason.ACCESS_DENIED, str(error), asked_the_store=False) from None

    def give_up(self, key: Key) -> None:
        """Ask AWS nothing more for a RotatedSecret that may not use its identity, or not have its secret."""
        self.set_allowed(key, allowed=False)
        self._services.feeds.forget(key)
        self._services.identities.forget(key)

    def set_allowed(self, key: Key, *, allowed: bool) -> None:
        """A RotatedSecret that is denied its secret does not block younger ones."""
        self._services.look_again(self._services.index.set_allowed(key, allowed))
