"""Access to AWS with one identity: a store for each region, and clients of other services.

Knows timeouts, retries, endpoints and how requests are counted. Must not know which calls are made, nor why an identity
is used.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import boto3
import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError, InvalidRegionError, NoRegionError
from botocore.model import ServiceModel

from rotated_secrets.observability.logs import silence_aws_debug_logs
from rotated_secrets.secretstores.answers import UNPARSED, checked, is_of_aws, refuse_swollen
from rotated_secrets.secretstores.aws_errors import (
    BAD_CREDENTIALS,
    OPERATOR,
    AwsCall,
    CallOutcome,
    outcome_of,
    unusable_settings,
)
from rotated_secrets.secretstores.aws_store import AwsStore, ask
from rotated_secrets.secretstores.bounded_http import bound_answers
from rotated_secrets.secretstores.least_recent import LeastRecent
from rotated_secrets.secretstores.own_identity import OwnSession, configured_region
from rotated_secrets.secretstores.quota import Buckets, no_tenant
from rotated_secrets.secretstores.regions import plain_region

T = TypeVar("T")

OnRequest = Callable[[str, str], None]
"""Called with the operation and the :class:`CallOutcome` of every request; each attempt of a retried call is one."""

READ_PREFIXES: Final = ("Assume", "Describe", "Get", "List")
"""Prefixes of the names of operations that change nothing."""
MAX_CLIENTS: Final = 256
"""Most clients of all identities together (0.17 MB each): each is for a service in a region. Tenants name roles and
regions, also regions that do not exist."""


@dataclass(frozen=True)
class AwsSettings:
    """How to reach AWS; credentials come from the SDK's credential chain. Times are in seconds."""

    region: str | None = None
    """Region of secrets whose name contains none; None takes the SDK's setting."""
    endpoint_url: str | None = None
    """Endpoint of Secrets Manager in ``region``; every other endpoint is the SDK's default."""
    connect_timeout: float = 3.0
    read_timeout: float = 10.0
    attempts: int = 4
    """Attempts of one call, the first included (botocore's standard mode)."""
    connections: int = 32
    writes_per_second: float = 40.0
    """Rate limit of PutSecretValue and UpdateSecretVersionStage in one account and region. The quota is 50 a second and
    not adjustable.

    Source: "AWS Secrets Manager quotas", AWS Secrets Manager User Guide.
    """
    use_fips: bool = False
    """Whether FIPS endpoints are used although the SDK's setting does not say so: ``region`` may, as us-east-1-fips."""


class AwsStores:
    """The stores of one identity, one for each region. Safe to use from several threads."""

    def __init__(
        self,
        settings: AwsSettings,
        on_request: OnRequest | None = None,
        session: boto3.session.Session | RoleSession | None = None,
        *,
        identity_name: str = OPERATOR,
        account: str | None = None,
        on_rejected: Callable[[], None] | None = None,
        buckets: Buckets | None = None,
        recent: LeastRecent | None = None,
        before_write: Callable[[], None] | None = None,
        tenant: Callable[[], str] = no_tenant,
    ) -> None:
        """Use the operator's own identity by default; :meth:`with_credentials` returns stores of other identities.

        Args:
            settings: how to reach AWS.
            on_request: see there.
            session: makes clients, with the credentials; None makes them with the operator's own.
            identity_name: description of the identity, for messages.
            account: the identity's account, if it is known.
            on_rejected: called when AWS does not accept the credentials, or no longer does.
            buckets: rate limits, shared with other identities.
            recent: which clients were used last, shared with other identities.
            before_write: called before each request that changes something, including each attempt of a retried one;
                an error that it raises replaces the request.
            tenant: returns for whom the current thread makes a request: writes are limited fairly between tenants.
        """
        silence_aws_debug_logs()
        bound_answers()
        if session is None or isinstance(session, boto3.session.Session):
            configured = configured_region() if session is None else session.region_name
            settings = _with_plain_region(replace(settings, region=settings.region or configured))
        if session is None:
            own = OwnSession(settings.region, _config(settings, attempts=2), self._watch)
            on_rejected = on_rejected or own.credentials.discard
        elif isinstance(session, boto3.session.Session):
            session.events.register("creating-client-class", checked, unique_id="rotated-secrets")
        self._session = session if session is not None else own
        self.identity_name = identity_name
        self._settings = settings
        self._on_request = on_request
        self._on_rejected = on_rejected
        self._buckets = buckets or Buckets(settings.writes_per_second, tenant)
        self._before_write = before_write
        self._account = account
        self._recent = recent or LeastRecent(MAX_CLIENTS)
        self._clients: dict[tuple[str, str], Any] = {}
        """Clients, and stores, by service and region."""
        self._lock = threading.Lock()  # sessions are not safe to use from several threads, clients are
        self._account_lock = threading.Lock()

    def with_credentials(
        self, credentials: RefreshableCredentials, *, identity_name: str, account: str, on_rejected: Callable[[], None]
    ) -> AwsStores:
        """Return stores of another identity, which never uses the operator's own credentials. See ``__init__``."""
        return AwsStores(
            replace(self._settings, region=self.region or None),
            self._on_request,
            RoleSession(credentials),
            identity_name=identity_name,
            account=account,
            on_rejected=on_rejected,
            buckets=self._buckets,
            recent=self._recent,
            before_write=self._before_write,
        )

    @property
    def region(self) -> str:
        """The operator's own region; empty where none is set."""
        if self._settings.region or isinstance(self._session, RoleSession):
            return self._settings.region or ""
        return self._session.region_name or ""

    def at(self, region: str | None = None) -> AwsStore:
        """Return the store of this region, or of the operator's own.

        Raises:
            StoreRefused: there is no such region, or none is set.
        """
        name = region or self.region
        return self._kept(("store", name), "a client", lambda: self._new_store(name))

    def account(self) -> str:
        """Return the twelve digits of this identity's account; AWS is asked once.

        Raises: StoreError, as every call to the store.
        """
        with self._account_lock:
            if self._account is None:
                aws_call = self._call("GetCallerIdentity", self.region)
                client = self.client("sts", self.region)
                self._account = ask(aws_call, lambda: client.get_caller_identity()["Account"])
            return self._account

    def client(self, service: Any, region: str | None, *, signed: bool = True) -> Any:
        """Return a client of an AWS service with this identity and settings, whose requests are counted too.

        Args:
            service: its name in boto3.
            region: its region; None or empty takes the SDK's setting.
            signed: whether requests are signed with this identity's credentials.

        Raises:
            StoreRefused: there is no such region, or none is set.
        """
        name = service if signed else f"unsigned {service}"
        make = functools.partial(self._new_client, service, region, signed=signed)
        return self._kept((name, region or ""), f"a client of {service}", make)

    def _kept(self, key: tuple[str, str], what: str, make: Callable[[], T]) -> T:
        """What was made before, unless others were used so often since that it was dropped; ``what`` is for errors."""
        with self._lock:
            if (found := self._clients.get(key)) is None:
                found = self._clients[key] = ask(self._call(what, key[1]), make)
        self._recent.use(self, key)
        kept: T = found
        return kept

    def drop(self, key: tuple[str, str]) -> None:
        """Keep this client no longer; calls that use it go on."""
        with self._lock:
            self._clients.pop(key, None)

    def _call(self, operation: str, region: str) -> AwsCall:
        return AwsCall(operation, region, identity_name=self.identity_name)

    def _new_store(self, region: str) -> AwsStore:
        bucket = self._buckets.of(self._account or "", region)
        return AwsStore(self._new_client("secretsmanager", region), bucket, self.identity_name, self._before_write)

    def _new_client(self, service: Any, region: str | None, *, signed: bool = True) -> Any:
        # The endpoint serves one service in one region: for another it would return other secrets of the same name.
        is_ours = service == "secretsmanager" and region == self.region
        try:
            client = self._session.client(
                service,
                region_name=region or None,
                endpoint_url=self._settings.endpoint_url if is_ours else None,
                config=_config(self._settings, signed=signed),
            )
        except (NoRegionError, InvalidRegionError):
            raise
        except (BotoCoreError, ValueError) as error:  # ValueError where an endpoint is no URL
            raise unusable_settings(error) from None
        self._watch(client)
        if self._before_write is not None and service != "secretsmanager":  # AwsStore does this itself
            client.meta.events.register("before-send", self._before_send)
        return client

    def _watch(self, client: Any) -> None:
        """Bound and count what a client gets for answers."""
        client.meta.events.register("before-parse", refuse_swollen)
        on_response = functools.partial(self._on_response, client.meta.service_model)
        client.meta.events.register("response-received", on_response)
        client.meta.events.register(UNPARSED, self._on_unparsed)

    def _before_send(self, event_name: str, **_: object) -> None:
        if self._before_write is not None and not event_name.rpartition(".")[2].startswith(READ_PREFIXES):
            self._before_write()

    def _on_response(
        self, service: ServiceModel, event_name: str, parsed_response: Mapping[str, Any] | None, **_: object
    ) -> None:
        operation = service.operation_model(event_name.rpartition(".")[2])
        is_answer = parsed_response is not None and is_of_aws(parsed_response, operation)
        if self._on_request:
            outcome = outcome_of(parsed_response) if is_answer else CallOutcome.UNAVAILABLE
            self._on_request(operation.name, outcome)
        if self._on_rejected and parsed_response and parsed_response.get("Error", {}).get("Code") in BAD_CREDENTIALS:
            self._on_rejected()

    def _on_unparsed(self, event_name: str, **_: object) -> None:
        if self._on_request:
            self._on_request(event_name.rpartition(".")[2], CallOutcome.UNAVAILABLE)


def _with_plain_region(settings: AwsSettings) -> AwsSettings:
    """Say by ``use_fips`` what a region's name may say too."""
    region = plain_region(settings.region or "")
    return settings if region == (settings.region or "") else replace(settings, region=region, use_fips=True)


def _config(settings: AwsSettings, *, signed: bool = True, attempts: int | None = None) -> Config:
    return Config(
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        retries={"mode": "standard", "total_max_attempts": attempts or settings.attempts},
        max_pool_connections=settings.connections,
        tcp_keepalive=True,
        user_agent_extra="rotated-secrets",
        use_fips_endpoint=settings.use_fips or None,  # None takes the SDK's setting
        # Set only if needed: None would mean an unsigned request too.
        **({} if signed else {"signature_version": UNSIGNED}),
    )


class RoleSession:
    """Makes clients with the credentials of one role, and never with the operator's own."""

    def __init__(self, credentials: RefreshableCredentials) -> None:
        self._credentials = credentials

    def client(self, service: str, **arguments: Any) -> Any:
        """See boto3's ``Session.client``."""
        return _session_of_roles().client_with(self._credentials, service, **arguments)


class _SessionOfRoles(botocore.session.Session):
    """One session for the clients of all roles: each further one would take 0.13 MB and 9 ms. Knows no credentials."""

    def __init__(self) -> None:
        super().__init__()
        self.get_component("event_emitter").register("creating-client-class", checked, unique_id="rotated-secrets")
        self._given: RefreshableCredentials | None = None
        self._making = threading.Lock()

    def client_with(self, credentials: RefreshableCredentials, service: str, **arguments: Any) -> Any:
        with self._making:
            self._given = credentials
            try:
                return self.create_client(service, **arguments)
            finally:
                self._given = None

    def get_credentials(self) -> RefreshableCredentials | None:
        return self._given


@functools.cache
def _session_of_roles() -> _SessionOfRoles:
    return _SessionOfRoles()
