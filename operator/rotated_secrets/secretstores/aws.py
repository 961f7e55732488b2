"""AWS as one identity reaches it: a store for each region, and clients of whatever else must be asked.

Knows time-outs, retries, endpoints and how requests are counted; not what is asked, nor why somebody asks as whom.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import boto3
import botocore.loaders
import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.credentials import CredentialProvider, CredentialResolver, RefreshableCredentials

from rotated_secrets.observability.logs import silence_aws_debug_logs
from rotated_secrets.secretstores.aws_errors import BAD_CREDENTIALS, OPERATOR, AwsCall, outcome_of
from rotated_secrets.secretstores.aws_store import AwsStore, ask
from rotated_secrets.secretstores.quota import Buckets

T = TypeVar("T")

OnRequest = Callable[[str, str], None]
"""Told of every request with its operation and :class:`Outcome`: each attempt of a retried call is one."""

READING: Final = ("Assume", "Describe", "Get", "List")
"""How the names begin of operations that change nothing."""
MOST_CLIENTS: Final = 64
"""Of one identity. Each is of a service in a region; some regions are named by secret values, so by tenants."""


@dataclass(frozen=True)
class AwsSettings:
    """How to reach AWS; credentials come from the SDK's own chain. Seconds, unless said otherwise."""

    region: str | None = None
    """Where secrets are that name no region; None takes the SDK's own setting."""
    endpoint_url: str | None = None
    """Of Secrets Manager in ``region``; every other endpoint is the SDK's own."""
    connect_timeout: float = 3.0
    read_timeout: float = 10.0
    attempts: int = 4
    """Requests a call may take, the first included (botocore's standard mode)."""
    connections: int = 32
    writes_per_second: float = 40.0
    """Of PutSecretValue and UpdateSecretVersionStage in one account and region, whose quota is 50 a second and not
    adjustable.

    Source: "AWS Secrets Manager quotas", AWS Secrets Manager User Guide.
    """


class AwsStores:
    """The stores of one identity, one for each region. Safe to use from several threads."""

    def __init__(
        self,
        settings: AwsSettings,
        on_request: OnRequest | None = None,
        session: boto3.session.Session | botocore.session.Session | None = None,
        *,
        whom: str = OPERATOR,
        account: str | None = None,
        on_rejected: Callable[[], None] | None = None,
        buckets: Buckets | None = None,
        before_write: Callable[[], None] | None = None,
    ) -> None:
        """The operator's own identity, unless told otherwise; :meth:`with_credentials` makes others.

        Args:
            settings: how to reach AWS.
            on_request: see there.
            session: whose credentials are used.
            whom: who asks, in words.
            account: that the identity belongs to, where that is known.
            on_rejected: called when AWS does not accept the credentials (any more).
            buckets: shared with other identities.
            before_write: called before each request that changes something, each attempt of a retried one included;
                what it raises is raised instead.
        """
        silence_aws_debug_logs()
        if isinstance(session, botocore.session.Session):
            self._create: Callable[..., Any] = session.create_client
        else:
            session = session or boto3.session.Session()
            self._create = session.client
            settings = replace(settings, region=settings.region or session.region_name)
        self.whom = whom
        self._settings = settings
        self._on_request = on_request
        self._on_rejected = on_rejected
        self._buckets = buckets or Buckets(settings.writes_per_second)
        self._before_write = before_write
        self._account = account
        self._stores: dict[str, AwsStore] = {}
        self._clients: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._lock = threading.Lock()  # sessions are not safe to use from several threads, clients are
        self._account_lock = threading.Lock()

    def with_credentials(
        self, credentials: RefreshableCredentials, *, whom: str, account: str, on_rejected: Callable[[], None]
    ) -> AwsStores:
        """The same AWS as somebody else, who never falls back to the operator's own credentials. See ``__init__``."""
        session = botocore.session.Session()
        session.register_component("data_loader", _loader())
        session.register_component("credential_provider", CredentialResolver([_Given(credentials)]))
        return AwsStores(
            self._settings,
            self._on_request,
            session,
            whom=whom,
            account=account,
            on_rejected=on_rejected,
            buckets=self._buckets,
            before_write=self._before_write,
        )

    @property
    def region(self) -> str:
        """The operator's own region; empty where none is set."""
        return self._settings.region or ""

    def at(self, region: str | None = None) -> AwsStore:
        """The store in this region, or in the operator's own.

        Raises:
            StoreRefused: there is no such region, or none is set.
        """
        name = region or self.region
        with self._lock:
            if name not in self._stores:
                client = ask(self._asked("a client", name), lambda: self._made("secretsmanager", name))
                bucket = self._buckets.of(self._account or "", name)
                self._stores[name] = AwsStore(client, bucket, self.whom, self._before_write)
            return self._stores[name]

    def account(self) -> str:
        """The twelve digits of the account that this identity belongs to, asked for once.

        Raises: StoreError, as every call to the store.
        """
        with self._account_lock:
            if self._account is None:
                asked = self._asked("GetCallerIdentity", self.region)
                client = self.client("sts", self.region)
                self._account = ask(asked, lambda: client.get_caller_identity()["Account"])
            return self._account

    def client(self, service: Any, region: str | None, *, signed: bool = True) -> Any:
        """A client of one of AWS's services, with this identity, these time-outs and retries, and the same counting.

        Args:
            service: as boto3 calls it.
            region: where.
            signed: whether as this identity, or as nobody.

        Raises:
            StoreRefused: there is no such region, or none is set.
        """
        key = (service if signed else f"unsigned {service}", region or "")
        with self._lock:
            if key not in self._clients:
                asked = self._asked(f"a client of {service}", region or "")
                self._clients[key] = ask(asked, lambda: self._made(service, region, signed=signed))
                if len(self._clients) > MOST_CLIENTS:
                    self._clients.popitem(last=False)
            self._clients.move_to_end(key)
            return self._clients[key]

    def _asked(self, operation: str, region: str) -> AwsCall:
        return AwsCall(operation, region, whom=self.whom)

    def _made(self, service: Any, region: str | None, *, signed: bool = True) -> Any:
        # An endpoint serves one service in one region: elsewhere it would answer with other secrets of the same name.
        is_ours = service == "secretsmanager" and region == self._settings.region
        client = self._create(
            service,
            region_name=region or None,
            endpoint_url=self._settings.endpoint_url if is_ours else None,
            config=Config(
                connect_timeout=self._settings.connect_timeout,
                read_timeout=self._settings.read_timeout,
                retries={"mode": "standard", "total_max_attempts": self._settings.attempts},
                max_pool_connections=self._settings.connections,
                tcp_keepalive=True,
                user_agent_extra="rotated-secrets",
                # Only set where it is wanted: what is None here would be no signature either.
                **({} if signed else {"signature_version": UNSIGNED}),
            ),
        )
        client.meta.events.register("response-received", self._seen)
        if self._before_write is not None and service != "secretsmanager":  # whose store sees to that itself
            client.meta.events.register("before-send", self._about_to_send)
        return client

    def _about_to_send(self, event_name: str, **_: object) -> None:
        if self._before_write is not None and not event_name.rpartition(".")[2].startswith(READING):
            self._before_write()

    def _seen(self, event_name: str, parsed_response: Mapping[str, Any] | None, **_: object) -> None:
        if self._on_request:
            self._on_request(event_name.rpartition(".")[2], outcome_of(parsed_response))
        if self._on_rejected and parsed_response and parsed_response.get("Error", {}).get("Code") in BAD_CREDENTIALS:
            self._on_rejected()


class _Given(CredentialProvider):
    """Hands one client's session the credentials that it is to have."""

    METHOD = "rotated-secrets"

    def __init__(self, credentials: RefreshableCredentials) -> None:
        super().__init__()
        self._credentials = credentials

    def load(self) -> RefreshableCredentials:
        return self._credentials


@functools.cache
def _loader() -> Any:
    """Of the models of AWS's services, which are large: one for all identities."""
    return botocore.loaders.create_loader()
