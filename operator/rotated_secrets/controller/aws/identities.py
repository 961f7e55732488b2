"""Which AWS identity each RotatedSecret uses: the operator's own, or the one that ``source.credentials`` names.

Both the cluster and AWS must allow it: the owner of a ServiceAccount must name the RotatedSecret, and a role must trust
the ServiceAccount's token or an ExternalId that no resource can choose. Knows nothing of the requests.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from rotated_secrets.api.fields import ROLE_ARN
from rotated_secrets.api.key import Key
from rotated_secrets.api.names import ROLE_ANNOTATION
from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.spec import Credentials
from rotated_secrets.controller.aws.managed_secrets import ManagedSecrets
from rotated_secrets.controller.aws.service_accounts import ServiceAccount, ServiceAccounts
from rotated_secrets.secretstores.aws import AwsStores
from rotated_secrets.secretstores.aws_errors import OPERATOR
from rotated_secrets.secretstores.base import AccessDenied, StoreError, StoreUnavailable
from rotated_secrets.secretstores.roles import AssumedRole, Token, session_name, stores_for_role
from rotated_secrets.secretstores.sts_errors import AUDIENCE
from rotated_secrets.values import Arn

MAX_IN_NAMESPACE: Final = 50
"""Most identities that one namespace may use at a time."""
MAX_IN_MEMORY: Final = 200
"""Most identities whose clients and credentials are kept; others are made again when needed."""
ROLE_SESSION: Final = "rotated-secrets"
"""Second part of the name of a role session that uses no ServiceAccount; the first is the namespace."""


class Identity:
    """An identity at AWS, and its clients. There is one object for each identity in use."""

    def __init__(
        self,
        make: Callable[[], AwsStores],
        role: AssumedRole | None = None,
        on_use: Callable[[Identity], None] | None = None,
    ) -> None:
        """``make`` makes its stores, when they are first used and when they are used again after :meth:`evict`."""
        self._make = make
        self._on_use = on_use
        self._lock = threading.Lock()
        self._stores: AwsStores | None = None
        self.role = role
        """None for the operator's own identity."""
        self.managed = ManagedSecrets(self._client, str(self))

    @property
    def stores(self) -> AwsStores:
        """Access to AWS with this identity."""
        with self._lock:
            found = self._stores = self._stores or self._make()
        if self._on_use:
            self._on_use(self)
        return found

    @property
    def account(self) -> str:
        """Account of the identity. May ask AWS for it, once. Raises: StoreError."""
        return self.role.account if self.role is not None else self.stores.account()

    @property
    def has_clients(self) -> bool:
        """Whether its clients are in memory."""
        return self._stores is not None

    def _client(self, service: str, region: str) -> Any:
        return self.stores.client(service, region)

    def evict(self) -> None:
        """Free clients and credentials, once no running call uses them."""
        with self._lock:
            self._stores = None

    def __str__(self) -> str:
        return OPERATOR if self.role is None else str(self.role)


@dataclass(frozen=True)
class _Use:
    identity: Identity
    credentials: Credentials


class Identities:
    """The identities of one operator. Safe from several threads."""

    def __init__(self, own: AwsStores, accounts: ServiceAccounts, cluster_name: str | None) -> None:
        self.own = Identity(lambda: own)
        self._accounts = accounts
        self._cluster_name = cluster_name
        self._lock = threading.Lock()
        self._uses: dict[Key, _Use] = {}
        self._identities: dict[AssumedRole, Identity] = {}
        self._keys: defaultdict[AssumedRole, set[Key]] = defaultdict(set)
        self._recent: OrderedDict[Identity, None] = OrderedDict()

    def of(self, resource: RotatedSecret) -> Identity:
        """The identity of a RotatedSecret, if the cluster allows it now. Makes no request to AWS.

        Raises:
            AccessDenied: the cluster does not allow it; the identity that it used before is forgotten.
            StoreUnavailable: the ServiceAccount cannot be read now.
        """
        key, credentials = resource.key, resource.spec.source.credentials
        if credentials is None:
            self.forget(key)
            return self.own
        try:
            role, token = self._role(key, credentials)
        except AccessDenied:
            self.forget(key)
            raise
        with self._lock:
            self._check_limit(key, role)
            identity = self._identities.get(role) or self._new_identity(role, token)
            self._remove_use(key, keep=identity)
            self._identities[role] = identity
            self._keys[role].add(key)
            self._uses[key] = _Use(identity, credentials)
            return identity

    @staticmethod
    def names_account(resource: RotatedSecret) -> bool:
        """Whether the spec alone says in which account the secret is looked up."""
        source = resource.spec.source
        return source.credentials is None or source.credentials.role_arn is not None or source.is_arn

    @staticmethod
    def account_of(resource: RotatedSecret) -> str | None:
        """Account of the role in the spec; None if the spec names no role."""
        credentials = resource.spec.source.credentials
        return Arn(credentials.role_arn).account if credentials and credentials.role_arn else None

    def forget(self, key: Key) -> None:
        """Record that this RotatedSecret uses no identity any more."""
        with self._lock:
            self._remove_use(key)

    def review(self) -> tuple[set[Key], set[Identity]]:
        """Check again which identities may be used, with one request to the cluster for each ServiceAccount in use.

        Call it before requests to AWS that are not part of a look at a RotatedSecret.

        Returns:
            RotatedSecrets that may not use their identity any more, and need a look; and identities that no
            RotatedSecret is known to be allowed to use now.
        """
        with self._lock:
            uses = {key: use for key, use in self._uses.items() if use.credentials.service_account_name is not None}
        accounts: dict[tuple[str, str], ServiceAccount | StoreError] = {}
        changed: set[Key] = set()
        allowed: set[Identity] = set()
        for key, use in uses.items():
            where = (key.namespace, use.credentials.service_account_name or "")
            if where not in accounts:
                accounts[where] = self._read(*where)
            account = accounts[where]
            if _is_still_allowed(key, use, account):
                allowed.add(use.identity)
            elif not isinstance(account, StoreUnavailable):
                changed.add(key)
        return changed, {use.identity for use in uses.values()} - allowed

    def _read(self, namespace: str, name: str) -> ServiceAccount | StoreError:
        try:
            return self._accounts.read(namespace, name)
        except (AccessDenied, StoreUnavailable) as error:
            return error

    def _role(self, key: Key, credentials: Credentials) -> tuple[AssumedRole, Token | None]:
        name = credentials.service_account_name
        if name is not None:
            account = self._accounts.read(key.namespace, name)
            return _role_of(key, credentials, account), self._token_of(account)
        if self._cluster_name is None:
            raise AccessDenied(
                "the operator cannot assume a role with its own identity: it has no name of this cluster to send as "
                "ExternalId; ask the operator's administrator to set --cluster-name, or set "
                "source.credentials.serviceAccountName"
            )
        external_id = f"{self._cluster_name}/{key.namespace}"
        session = session_name(key.namespace, ROLE_SESSION)
        return AssumedRole(Arn(credentials.role_arn or ""), session, external_id=external_id), None

    def _token_of(self, account: ServiceAccount) -> Token:
        return lambda: self._accounts.token(account.namespace, account.name, AUDIENCE)

    def _new_identity(self, role: AssumedRole, token: Token | None) -> Identity:
        return Identity(lambda: stores_for_role(self.own.stores, role, token), role, self._mark_used)

    def _mark_used(self, identity: Identity) -> None:
        """Evict the least recently used identity's clients."""
        with self._lock:
            if identity.role is None or self._identities.get(identity.role) is not identity:
                return
            self._recent[identity] = None
            self._recent.move_to_end(identity)
            oldest = self._recent.popitem(last=False)[0] if len(self._recent) > MAX_IN_MEMORY else None
        if oldest is not None:
            oldest.evict()

    def _check_limit(self, key: Key, role: AssumedRole) -> None:
        if role in self._identities:
            return
        others = (users - {key} for users in self._keys.values())
        taken = sum(any(each.namespace == key.namespace for each in users) for users in others)
        if taken >= MAX_IN_NAMESPACE:
            raise AccessDenied(
                f"namespace {key.namespace} already uses {MAX_IN_NAMESPACE} AWS identities, which is the limit; set "
                "source.credentials to those of another RotatedSecret in the namespace"
            )

    def _remove_use(self, key: Key, keep: Identity | None = None) -> None:
        """Remove the use of a RotatedSecret, and its identity with all credentials if no other one uses it."""
        used = self._uses.pop(key, None)
        if used is None or used.identity is keep or used.identity.role is None:
            return
        users = self._keys[used.identity.role]
        users.discard(key)
        if not users:
            del self._keys[used.identity.role], self._identities[used.identity.role]
            self._recent.pop(used.identity, None)


def _is_still_allowed(key: Key, use: _Use, account: ServiceAccount | StoreError) -> bool:
    if isinstance(account, StoreError):
        return False
    try:
        return _role_of(key, use.credentials, account) == use.identity.role
    except AccessDenied:
        return False


def _role_of(key: Key, credentials: Credentials, account: ServiceAccount) -> AssumedRole:
    """Raises: AccessDenied."""
    account.check_allows(key.name)
    arn = credentials.role_arn or account.role_arn
    if arn is None or not re.fullmatch(ROLE_ARN, arn):
        names = "no role" if arn is None else "a role that is not the ARN of an IAM role"
        raise AccessDenied(
            f"ServiceAccount {account.name} names {names}: set source.credentials.roleArn, or "
            f"kubectl annotate serviceaccount {account.name} --namespace {account.namespace} --overwrite "
            f"{ROLE_ANNOTATION}=arn:aws:iam::ACCOUNT:role/NAME"
        )
    return AssumedRole(
        Arn(arn), session_name(account.namespace, account.name), subject=account.subject, subject_uid=account.uid
    )
