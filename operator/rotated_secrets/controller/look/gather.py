"""One look at a RotatedSecret: what it asks for, whether it may, and what is so now.

Reads the store and the target Secret, and changes nothing. What a person must mend is told by Unusable.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotated_secrets.api.key import Key
from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.spec import TlsSpec
from rotated_secrets.api.status import Reason
from rotated_secrets.controller.access.policy import AccessPolicy, Home, PolicyDenied, Request
from rotated_secrets.controller.access.policy_file import AccessPolicyFile, InvalidPolicy
from rotated_secrets.controller.aws.identities import Identity
from rotated_secrets.controller.look.database_access import DatabaseAccess, Trust
from rotated_secrets.controller.look.validation import (
    Unusable,
    check_spec,
    current_of,
    description_of,
    engine_of,
    obstacle_at,
    obstacle_in,
    place_of,
    rotated_elsewhere,
    terms_of,
)
from rotated_secrets.controller.look.webhooks import engine_of_webhook, trust_of_webhook
from rotated_secrets.controller.reconcile.target_secret import DeliveredSecret, Written
from rotated_secrets.controller.services import Services
from rotated_secrets.controller.settings import InvalidSettings
from rotated_secrets.controller.work.drift_backoff import DriftBackoff, fought_over
from rotated_secrets.controller.work.observed_cache import LookInputs
from rotated_secrets.controller.work.scheduler import utc_now
from rotated_secrets.databases.base import AsksCloud, Engine, Refused
from rotated_secrets.databases.hosts import HostRules, api_servers
from rotated_secrets.delivery.errors import DeliveryRefused
from rotated_secrets.delivery.target import LiveSecret, TargetKind, TargetState
from rotated_secrets.delivery.targets import TargetSecrets
from rotated_secrets.rotation.actions import Hold, Sleep
from rotated_secrets.rotation.observation import Login, Observation, Obstacle, Terms
from rotated_secrets.rotation.status_updates import remembered
from rotated_secrets.rotation.strategies import check_value
from rotated_secrets.secretstores.base import (
    AccessDenied,
    SecretDescription,
    SecretNotFound,
    SecretStore,
    StoredVersion,
    StoreRefused,
)
from rotated_secrets.values import Credential, InvalidSecretValue, SecretId, Stage

LOOK_AT_OBSTACLES = timedelta(minutes=1)
"""How often something that no watch tells of is looked at again: a Secret in the way, a policy, another rotator."""
TRY_AGAIN = timedelta(minutes=5)
"""How often what holds a rotation up is looked at at the store and the database, a login that was rejected among it:
many databases lock a user out after a few."""


@dataclass(frozen=True)
class Subject:
    """Everything that a run over one RotatedSecret needs."""

    services: Services
    token: object
    """Of this look, for settling."""
    resource: RotatedSecret
    terms: Terms
    identity: Identity
    region: str
    store: SecretStore
    connections: DatabaseAccess | None
    engine: str
    server: str
    """Host and port that the credential logs in to; empty where the strategy reaches no database."""
    secrets: TargetSecrets
    live: LiveSecret | None
    policy: AccessPolicy
    repairs: DriftBackoff
    seen: Observation
    """Without the target Secret's state, which the run adds."""

    @property
    def key(self) -> Key:
        return Key(self.resource.namespace, self.resource.name)

    def target(self, on_written: Written) -> DeliveredSecret | None:
        """The target Secret, where one is delivered."""
        if not self.resource.spec.target.is_delivered:
            return None

        def written(live: LiveSecret, before: TargetState, current: StoredVersion) -> None:
            self.repairs.wrote(self.key, current.version_id)
            on_written(live, before, current)

        return DeliveredSecret(self.secrets, self.resource, self.live, written)

    def settle(self, seen: Observation, waiting: Hold | Sleep, live: LiveSecret | None) -> datetime | None:
        """Remember that nothing is to be done for a while; returns when to look again."""
        self.services.feeds.noted(self.key, self.identity, self.region, self.terms.arn, seen.stages)
        now = utc_now()
        if isinstance(waiting, Hold):
            # The watch tells when these two end; nothing tells of the others, and a look costs calls and maybe a login.
            until = None if waiting.reason in (Reason.SUSPENDED, Reason.UNSYNCED) else now + TRY_AGAIN
            until = min(until, waiting.until) if until and waiting.until else until
        else:
            until = waiting.until
        if seen.login is Login.REJECTED or seen.obstacle is not None:
            until = now + TRY_AGAIN
        # What is in the way of a target Secret does not carry our label, so no watch tells when it goes.
        blocked = seen.target is not None and seen.target.kind is TargetKind.CONFLICT
        self.services.observed.settle(
            self.key,
            self.token,
            looks(self.resource, live, self.policy),
            until,
            glance=LOOK_AT_OBSTACLES if blocked else None,
        )
        return self.services.observed.next_look(self.key, now)


def looks(resource: RotatedSecret, live: LiveSecret | None, policy: AccessPolicy) -> LookInputs:
    return LookInputs(
        resource.uid,
        resource.generation,
        (resource.rotate_request, resource.resync_request),
        live.resource_version if live is not None else None,
        policy,
    )


class Looker:
    """Makes subjects. One for an operator; safe from several threads."""

    def __init__(self, services: Services) -> None:
        """Raises: InvalidSettings, where a file that the settings name cannot be used."""
        settings = services.settings
        self._services = services
        apis = api_servers(services.cluster.client.configuration.host, os.environ)
        self._rules = HostRules(settings.allowed_networks, settings.denied_networks, apis)
        self._secrets = TargetSecrets(services.cluster)
        self._repairs = DriftBackoff()
        try:
            self._policy = AccessPolicyFile(settings.access_policy_file)
        except InvalidPolicy as error:
            raise InvalidSettings(f"--access-policy-file: {error}") from error
        services.metrics.follow_access_policy(self._policy.is_well)
        try:
            ca_file = settings.database_ca_file
            self._operator_ca = ca_file.read_text() if ca_file else None
        except (OSError, ValueError) as error:
            raise InvalidSettings(f"--database-ca-file cannot be read: {error}") from error

    def look(self, resource: RotatedSecret) -> Subject | datetime | None:
        """What there is to work on; or when to look again, where nothing has changed since the last look.

        Raises:
            Unusable: see there.
            LookAgain: the secret moved while it was looked at.
            StoreError, DeliveryError: nobody knows.
        """
        services, key = self._services, Key(resource.namespace, resource.name)
        live = self._secrets.read(resource.namespace, resource.target_name) if _is_delivered(resource) else None
        policy = self._policy.current()
        if services.observed.is_settled(key, looks(resource, live, policy), utc_now()):
            return services.observed.next_look(key, utc_now())
        self._leave_alone_what_is_fought_over(resource, looks(resource, live, policy))
        token = services.observed.begin(key)
        home = self._home()
        identity, request = self._identified(resource, home, policy)
        check_spec(resource, services)
        region = _region_of(request)
        store = identity.stores.at(region)
        description, current = self._read(key, identity, request, home, policy)
        try:
            place = place_of(resource, current, description, identity.managed)
            terms = terms_of(resource, description, services, place)
            check_value(terms, current)
            credential = terms.credential(current) if terms.has_database else None
            webhook = self._webhook(resource, credential, current, description)
            engine = engine_of(credential, terms, webhook) if credential else None
            if isinstance(engine, AsksCloud):
                engine = engine.asking(identity.stores.client, str(identity))
        except AccessDenied as error:
            raise Unusable(Reason.ACCESS_DENIED, str(error)) from None
        except (InvalidSecretValue, Refused) as error:
            raise Unusable(Reason.INVALID_SECRET_VALUE, str(error)) from error
        connections, obstacle = None, obstacle_in(terms.rotation, services.settings)
        if credential and engine:
            connections, without_admin = self._connections(resource, engine, credential, identity)
            obstacle = obstacle or obstacle_at(engine, credential, terms.rotation) or without_admin
        return Subject(
            services=services,
            token=token,
            resource=resource,
            terms=terms,
            identity=identity,
            region=region,
            store=store,
            connections=connections,
            engine=credential.engine if credential else "none",
            server=_server(credential, engine) if credential and engine else "",
            secrets=self._secrets,
            live=live,
            policy=policy,
            repairs=self._repairs,
            seen=Observation(
                stages=description.stages,
                current=current,
                status=remembered(resource.status, terms, utc_now()),
                target=None,
                elsewhere=rotated_elsewhere(resource, description, services),
                obstacle=obstacle,
            ),
        )

    def _leave_alone_what_is_fought_over(self, resource: RotatedSecret, seen: LookInputs) -> None:
        """Raises: Unusable, where the target Secret was put back often enough for now."""
        key = Key(resource.namespace, resource.name)
        only_target = self._services.observed.is_settled_but_for_target(key, seen, utc_now())
        if only_target and self._repairs.are_used_up(key):
            told = fought_over(resource.namespace, resource.target_name)
            raise Unusable(Reason.SYNC_FAILED, told, asked_the_store=False)

    def forget(self, key: Key) -> None:
        """The RotatedSecret is gone, and with it the interest in its secret."""
        self._repairs.forget(key)
        self._services.observed.unsettle(key)
        self._services.feeds.forget(key)
        self._services.identities.forget(key)

    def _identified(self, resource: RotatedSecret, home: Home, policy: AccessPolicy) -> tuple[Identity, Request]:
        """As whom to ask for what; nothing is asked of AWS where that could not be allowed.

        Raises: Unusable, StoreUnavailable.
        """
        key, identities = Key(resource.namespace, resource.name), self._services.identities
        request = Request.source(resource, home, identities.account_of(resource))
        if identities.tells_account(resource):
            self._allow(lambda: policy.check_asked(request, home), source_of=key)
        try:
            identity = identities.of(resource)
        except AccessDenied as error:
            self.deny(key)
            raise Unusable(Reason.ACCESS_DENIED, str(error)) from None
        if identity.role is not None:
            self._services.index.asked_in(key, identity.role.account)
            request = Request.source(resource, home, identity.role.account)
            self._allow(lambda: policy.check_asked(request, home), source_of=key)
        return identity, request

    def _read(
        self, key: Key, identity: Identity, request: Request, home: Home, policy: AccessPolicy
    ) -> tuple[SecretDescription, StoredVersion]:
        """The secret that is asked for, and its AWSCURRENT.

        Raises: Unusable, LookAgain, StoreError.
        """
        services, region = self._services, _region_of(request)
        store = identity.stores.at(region)
        try:
            description = description_of(store, request.asked)
            self._allow(lambda: policy.check_returned(request, description.arn, home), source_of=key)
            self._look_anew(services.index.found(key, description.arn))
            services.feeds.noted(key, identity, region, description.arn, description.stages)
            current = current_of(store, description)
        except Unusable:
            if identity.role is not None:
                # Whoever does not get a secret by their role keeps nobody else from it: it may not be theirs.
                self.count(key, allowed=False)
            raise
        self.count(key, allowed=True)
        return description, current

    def _home(self) -> Home:
        stores = self._services.identities.own.stores
        try:
            home = Home(stores.account(), stores.region)
        except AccessDenied as error:
            raise Unusable(Reason.ACCESS_DENIED, str(error)) from None
        self._services.index.at_home(home.account)
        return home

    def _allow(self, check: Callable[[], None], source_of: Key) -> None:
        try:
            check()
        except PolicyDenied as error:
            self.deny(source_of)
            raise Unusable(Reason.ACCESS_DENIED, str(error), asked_the_store=False) from None

    def deny(self, key: Key) -> None:
        """AWS is not asked any more for who may not be whom they say, or not have what they name."""
        self.count(key, allowed=False)
        self._services.feeds.forget(key)
        self._services.identities.forget(key)

    def count(self, key: Key, *, allowed: bool) -> None:
        """Who may not have a secret as its source keeps nobody else from it, however old it is."""
        self._look_anew(self._services.index.set_allowed(key, allowed))

    def _look_anew(self, keys: set[Key]) -> None:
        for key in keys:
            self._services.observed.unsettle(key)
            self._services.look(key)

    def _connections(
        self, resource: RotatedSecret, engine: Engine, credential: Credential, identity: Identity
    ) -> tuple[DatabaseAccess, Obstacle | None]:
        """Logins; and why there are none by an admin where there must be one."""
        spec, home = resource.spec, self._home()
        admin_id = spec.rotation.admin_secret_id or credential.masterarn
        if spec.rotation.strategy is Strategy.EXTERNAL:
            admin_id = None  # the value may name one, for whoever rotates it
        obstacle = None
        account = identity.account
        admin = Request.admin(resource, SecretId(admin_id), home, account) if admin_id is not None else None
        if admin_id is None and spec.webhook is None and spec.rotation.strategy is Strategy.ALTERNATING_USERS:
            obstacle = Obstacle(
                Reason.INVALID_SPEC,
                "AlternatingUsers needs an admin secret to create the clone user: write its name into "
                "rotation.adminSecretId, or its ARN into masterarn of the secret value",
            )
        if admin is not None:
            try:
                self._policy.current().check_asked(admin, home)
            except PolicyDenied as error:
                obstacle = Obstacle(Reason.ACCESS_DENIED, str(error))

        def read_admin() -> Credential:
            if obstacle is not None or admin is None:
                raise Refused(obstacle.message if obstacle else "there is no admin secret")
            return self._admin(admin, home, identity)

        connections = DatabaseAccess(
            engine,
            application=credential,
            trust=self._trust(resource, credential),
            rules=self._rules,
            read_admin=read_admin if obstacle is not None or admin is not None else None,
            is_copy=identity.managed.is_copy,
            metrics=self._services.metrics,
        )
        return connections, obstacle

    def _admin(self, request: Request, home: Home, identity: Identity) -> Credential:
        """Read the admin secret, and look once more whether it may be: now its ARN is known."""
        try:
            store = identity.stores.at(_region_of(request))
            version = store.get(request.asked, stage=Stage.CURRENT)
            self._policy.current().check_returned(request, version.arn, home)
            place = identity.managed.place(version.value, lambda: store.describe(version.arn))
            return Credential.of(version.value, place, arn=version.arn, version_id=version.version_id)
        except (InvalidSecretValue, PolicyDenied, AccessDenied, SecretNotFound, StoreRefused, Refused) as error:
            raise Refused(f"admin secret {request.asked}: {error}") from None

    def _webhook(
        self,
        resource: RotatedSecret,
        credential: Credential | None,
        current: StoredVersion,
        description: SecretDescription,
    ) -> Engine | None:
        webhook = resource.spec.webhook
        if webhook is None or credential is None:
            return None
        return engine_of_webhook(resource, webhook, credential, current, description, self._secrets)

    def _trust(self, resource: RotatedSecret, credential: Credential) -> Trust:
        if (webhook := resource.spec.webhook) is not None:
            return trust_of_webhook(resource, webhook, self._secrets)
        spec = (resource.spec.database.tls if resource.spec.database else None) or TlsSpec()
        tenant_ca = None
        if spec.ca_secret_name is not None:
            try:
                tenant_ca = self._secrets.certificate_authorities(resource.namespace, spec.ca_secret_name)
            except DeliveryRefused as error:
                return Trust(spec, None, None, missing=str(error))
        is_admin = credential.arn is not None and self._policy.current().is_for_admins(credential.arn)
        return Trust(spec, tenant_ca, self._operator_ca, is_admin=is_admin)


def _is_delivered(resource: RotatedSecret) -> bool:
    return resource.spec.target.is_delivered


def _server(credential: Credential, engine: Engine) -> str:
    """One name for a server, however it is written."""
    return f"{credential.host.rstrip('.').lower()}:{credential.port or engine.default_port}"


def _region_of(request: Request) -> str:
    """Where the secret is: an ARN says so itself (``arn:partition:service:region:…``)."""
    return request.asked.split(":")[3] if request.asked.startswith("arn:") else request.region
