"""As whom AWS is asked for each RotatedSecret: as the operator itself, or as what ``source.credentials`` names.

Who may be whom is decided here and by AWS: a ServiceAccount's owner must have agreed, and a role must trust its token
or an ExternalId that no resource can choose. Knows nothing of what is asked.
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

MOST_IN_NAMESPACE: Final = 50
"""Identities of one namespace at a time."""
MOST_IN_MEMORY: Final = 200
"""Identities whose clients and credentials are kept (about 0.5 MB each); those of others are made anew when needed."""
ROLE_SESSION: Final = "rotated-secrets"
"""What a session of the operator's own is called, beside its namespace."""


class Identity:
    """Somebody that AWS knows, and what they can reach there. One object as long as anybody uses it."""

    def __init__(
        self,
        make: Callable[[], AwsStores],
        role: AssumedRole | None = None,
        on_use: Callable[[Identity], None] | None = None,
    ) -> None:
        """``make`` makes its stores, at their first use and at the first after they were let go."""
        self._make = make
        self._on_use = on_use
        self._lock = threading.Lock()
        self._stores: AwsStores | None = None
        self.role = role
        """None for the operator's own identity."""
        self.managed = ManagedSecrets(self._client, str(self))

    @property
    def stores(self) -> AwsStores:
        """AWS as this identity reaches it."""
        with self._lock:
            found = self._stores = self._stores or self._make()
        if self._on_use:
            self._on_use(self)
        return found

    @property
    def account(self) -> str:
        """That it belongs to. May ask AWS who we are, once. Raises: StoreError."""
        return self.role.account if self.role is not None else self.stores.account()

    @property
    def is_kept(self) -> bool:
        """Whether clients of it are in memory."""
        return self._stores is not None

    def _client(self, service: str, region: str) -> Any:
        return self.stores.client(service, region)

    def let_go(self) -> None:
        """Free clients and credentials, as soon as nobody uses them."""
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
        self._users: defaultdict[AssumedRole, set[Key]] = defaultdict(set)
        self._used: OrderedDict[Identity, None] = OrderedDict()

    def of(self, resource: RotatedSecret) -> Identity:
        """As whom to ask for a RotatedSecret, as far as the cluster allows it now; asks nothing of AWS yet.

        Raises:
            AccessDenied: it may not; nor does what was fetched for it before count any longer.
            StoreUnavailable: nobody knows.
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
            self._check_room(key, role)
            identity = self._identities.get(role) or self._made(role, token)
            self._leave(key, unless=identity)
            self._identities[role] = identity
            self._users[role].add(key)
            self._uses[key] = _Use(identity, credentials)
            return identity

    @staticmethod
    def tells_account(resource: RotatedSecret) -> bool:
        """Whether the spec alone says in which account its secret is looked up."""
        source = resource.spec.source
        return source.credentials is None or source.credentials.role_arn is not None or source.is_arn

    @staticmethod
    def account_of(resource: RotatedSecret) -> str | None:
        """That account, where its credentials say it; None is the operator's own, or not known."""
        credentials = resource.spec.source.credentials
        return Arn(credentials.role_arn).account if credentials and credentials.role_arn else None

    def forget(self, key: Key) -> None:
        """This RotatedSecret needs nobody any more."""
        with self._lock:
            self._leave(key)

    def review(self) -> tuple[set[Key], set[Identity]]:
        """Ask the cluster about everybody, by one request for each ServiceAccount in use.

        To be done before anything is asked of AWS that no look at a RotatedSecret has led to.

        Returns:
            RotatedSecrets that may not be who they were, and are to be looked at; and identities that nobody is known
            to be now.
        """
        with self._lock:
            uses = {key: use for key, use in self._uses.items() if use.credentials.service_account_name is not None}
        accounts: dict[tuple[str, str], ServiceAccount | StoreError] = {}
        changed: set[Key] = set()
        sure: set[Identity] = set()
        for key, use in uses.items():
            where = (key.namespace, use.credentials.service_account_name or "")
            if where not in accounts:
                accounts[where] = self._read(*where)
            account = accounts[where]
            if _is_still(key, use, account):
                sure.add(use.identity)
            elif not isinstance(account, StoreUnavailable):
                changed.add(key)
        return changed, {use.identity for use in uses.values()} - sure

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

    def _made(self, role: AssumedRole, token: Token | None) -> Identity:
        return Identity(lambda: stores_for_role(self.own.stores, role, token), role, self._note_use)

    def _note_use(self, identity: Identity) -> None:
        """Whoever has not been used for longest gives up their memory."""
        with self._lock:
            if identity.role is None or self._identities.get(identity.role) is not identity:
                return
            self._used[identity] = None
            self._used.move_to_end(identity)
            late = self._used.popitem(last=False)[0] if len(self._used) > MOST_IN_MEMORY else None
        if late is not None:
            late.let_go()

    def _check_room(self, key: Key, role: AssumedRole) -> None:
        if role in self._identities:
            return
        others = (users - {key} for users in self._users.values())
        taken = sum(any(each.namespace == key.namespace for each in users) for users in others)
        if taken >= MOST_IN_NAMESPACE:
            raise AccessDenied(
                f"namespace {key.namespace} already uses {MOST_IN_NAMESPACE} AWS identities, which is the limit; set "
                "source.credentials to those of another RotatedSecret in the namespace"
            )

    def _leave(self, key: Key, unless: Identity | None = None) -> None:
        """What nobody uses any more is forgotten, credentials and all."""
        used = self._uses.pop(key, None)
        if used is None or used.identity is unless or used.identity.role is None:
            return
        users = self._users[used.identity.role]
        users.discard(key)
        if not users:
            del self._users[used.identity.role], self._identities[used.identity.role]
            self._used.pop(used.identity, None)


def _is_still(key: Key, use: _Use, account: ServiceAccount | StoreError) -> bool:
    if isinstance(account, StoreError):
        return False
    try:
        return _role_of(key, use.credentials, account) == use.identity.role
    except AccessDenied:
        return False


def _role_of(key: Key, credentials: Credentials, account: ServiceAccount) -> AssumedRole:
    """Raises: AccessDenied."""
    account.check_lets(key.name)
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
