"""The operator's own AWS identity: credentials by the SDK's chain of providers, loaded when a request first needs them.

They are loaded again after AWS rejected them, from files and settings as they are then. A failure is AccessDenied or
StoreUnavailable, never another exception. Must not know what is asked with them.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import botocore.session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleProvider,
    CredentialProvider,
    Credentials,
    ProcessProvider,
    ReadOnlyCredentials,
    RefreshableCredentials,
    create_credential_resolver,
)
from botocore.exceptions import BotoCoreError
from botocore.loaders import create_loader

from rotated_secrets.secretstores.answers import checked
from rotated_secrets.secretstores.base import StoreError
from rotated_secrets.secretstores.credential_errors import (
    CredentialSource,
    UnwritableCredentials,
    failure_of,
    nothing_found,
    unreadable_files,
)

T = TypeVar("T")

REMEMBERED_SECONDS: Final = 5.0
"""Seconds for which a failure is not tried again, however many RotatedSecrets need the credentials: each try may be a
request to STS or to an agent."""
LOADED_SECONDS: Final = 5.0
"""Seconds after loading for which a rejection loads nothing again: it is of a request that was made before."""
REFRESH_SECONDS: Final = 600
"""Seconds before they expire from which credentials must be refreshed. As in the SDK's RefreshableCredentials, which
until then goes on with the old ones where a refresh fails."""
_WRITABLE: Final = re.compile("[!-~]+")
PROCESS_SECONDS: Final = 30.0
"""Seconds after which ``credential_process`` is ended."""


class OwnCredentials(Credentials):
    """The SDK's credentials, which can also be discarded. Safe to use from several threads."""

    def __init__(
        self,
        load: Callable[[], Credentials],
        failed: Callable[[Exception], StoreError],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Load nothing yet.

        Args:
            load: asks the providers.
            failed: says of an exception why there are none.
            clock: returns seconds.
        """
        # Without the base class's own, which would have to know the keys.
        self.method = "rotated-secrets"
        self._load = load
        self._failed = failed
        self._clock = clock
        self._lock = threading.Lock()
        self._found: Credentials | None = None
        self._loaded_at = -LOADED_SECONDS
        self._failure: StoreError | None = None
        self._failed_at = 0.0

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Return what a request is signed with.

        Raises:
            AccessDenied: a person has to act before there are credentials.
            StoreUnavailable: what gives them does not answer.
        """
        found = self._found
        if found is not None and not _must_refresh(found):
            return self._tried(found.get_frozen_credentials)
        with self._lock:  # all others would ask for the same
            if self._failure is not None and self._clock() - self._failed_at < REMEMBERED_SECONDS:
                raise type(self._failure)(str(self._failure))
            if self._found is None:
                self._found = self._tried(self._load)
                self._loaded_at = self._clock()
            return self._tried(self._found.get_frozen_credentials)

    def discard(self) -> None:
        """Load them again for the next request: AWS does not accept them."""
        if self._clock() - self._loaded_at >= LOADED_SECONDS:
            self._found = None

    def _tried(self, call: Callable[[], T]) -> T:
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 - providers raise whatever their parsers do
            failure = self._failed(error)
        else:
            self._failure = None
            return result
        self._found, self._failure, self._failed_at = None, failure, self._clock()
        # Raised outside the handler: the context may quote what was read.
        raise failure


def _must_refresh(found: Credentials) -> bool:
    return isinstance(found, RefreshableCredentials) and found.refresh_needed(REFRESH_SECONDS)


class OwnSession:
    """Makes clients with the operator's own credentials. Stands in for a session of boto3."""

    def __init__(
        self,
        region: str | None,
        timeouts: Config,
        on_client: Callable[[Any], None],
    ) -> None:
        """``on_client`` is called with each client by which the SDK itself asks STS for credentials."""
        self._region = region
        self._timeouts = timeouts
        self._on_client = on_client
        self._clients: _ClientSession | None = None
        self._chain: _ChainSession | None = None
        self._provider = ""
        self.credentials = OwnCredentials(self._load, lambda error: failure_of(error, self._source()))

    @property
    def region_name(self) -> str | None:
        """The region to use where none is given."""
        self._region = self._region or configured_region()
        return self._region

    def client(self, service: str, **arguments: Any) -> Any:
        """See boto3's ``Session.client``."""
        try:
            return self._session().create_client(service, **arguments)
        except (BotoCoreError, ValueError):
            self._clients = None  # a session keeps what it has read of files, and they may be corrected
            raise

    def _session(self) -> _ClientSession:
        if self._clients is None:
            self._clients = _ClientSession(self.credentials)
        return self._clients

    def _load(self) -> Credentials:
        # A session of its own each time: it keeps what it has read.
        self._provider = ""
        chain = self._chain = _ChainSession(self._on_client)
        chain.set_default_client_config(self._timeouts)
        resolver = create_credential_resolver(chain, region_name=self.region_name)
        profile = chain.get_config_variable("profile") or "default"
        for provider in _with_bounded_programs(resolver.providers, profile, chain):
            self._provider = str(provider.METHOD)
            found: Credentials | None = provider.load()
            if found is not None:
                return _checked(found)
        raise nothing_found(self._source())

    def _source(self) -> CredentialSource:
        chain = self._chain
        return CredentialSource(
            self._provider,
            chain.sts_region if chain is not None else "",
            dict(os.environ),
            chain.asked if chain is not None else None,
            unreadable_files(os.environ),
        )


def _checked(found: Credentials) -> Credentials:
    """Raises: UnwritableCredentials, if a request cannot be signed with these."""
    frozen = found.get_frozen_credentials()
    parts = {"access key id": frozen.access_key, "secret access key": frozen.secret_key, "session token": frozen.token}
    for part, value in parts.items():
        if not (value is None and part == "session token") and not (
            isinstance(value, str) and _WRITABLE.fullmatch(value)
        ):
            raise UnwritableCredentials(part)
    return found


@functools.cache
def _models() -> Any:
    """The SDK's descriptions of services, which are read once for all sessions that load credentials."""
    return create_loader()


def configured_region() -> str | None:
    """Return the region of the SDK's settings; None also where they cannot be used, which every request then tells."""
    try:
        region: str | None = botocore.session.Session().get_config_variable("region")
    except BotoCoreError:
        return None
    return region


class _ClientSession(botocore.session.Session):
    """Makes clients of the services that the operator asks."""

    def __init__(self, credentials: OwnCredentials) -> None:
        super().__init__()
        self._own = credentials
        self.get_component("event_emitter").register("creating-client-class", checked, unique_id="rotated-secrets")

    def get_credentials(self) -> OwnCredentials:
        return self._own


class _ChainSession(botocore.session.Session):
    """Of the providers, which make clients of STS by it. Remembers what was asked, for messages."""

    def __init__(self, on_client: Callable[[Any], None]) -> None:
        super().__init__()
        self._on_client = on_client
        self.asked: dict[str, Any] | None = None
        self.sts_region = ""
        self.register_component("data_loader", _models())
        self.get_component("event_emitter").register("creating-client-class", checked, unique_id="rotated-secrets")

    def create_client(self, service_name: str, *args: Any, **kwargs: Any) -> Any:
        client = super().create_client(service_name, *args, **kwargs)
        self.sts_region = client.meta.region_name or ""
        client.meta.events.register("before-parameter-build.sts", self._remember)
        self._on_client(client)
        return client

    def _remember(self, params: dict[str, Any], **_: object) -> None:
        self.asked = dict(params)


class _BoundedProcess(subprocess.Popen[bytes]):
    """A ``credential_process``, for which the SDK would wait for ever."""

    def __init__(self, args: list[str], **options: Any) -> None:
        super().__init__(args, start_new_session=True, **options)

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[bytes, bytes]:  # noqa: A002
        try:
            return super().communicate(input, timeout or PROCESS_SECONDS)
        except subprocess.TimeoutExpired:
            # With what it has started. A part that left the group may keep the output open: its end is not awaited.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            for output in (self.stdout, self.stderr):
                if output is not None:
                    output.close()
            self.wait()
            raise


def _with_bounded_programs(
    providers: Iterable[CredentialProvider], profile: str, chain: _ChainSession
) -> list[CredentialProvider]:
    """Return these providers, with a bound on each ``credential_process``: of the profile, or of its source profile."""
    bounded: list[CredentialProvider] = []
    for each in providers:
        if isinstance(each, ProcessProvider):
            bounded.append(ProcessProvider(profile, lambda: chain.full_config, popen=_BoundedProcess))
            continue
        if isinstance(each, AssumeRoleProvider):
            assuming: Any = each  # the SDK's public names reach no further
            assuming._profile_provider_builder = _BoundedSources(assuming._profile_provider_builder, chain)
        bounded.append(each)
    return bounded


class _BoundedSources:
    """Makes the providers of a profile that another one names as its ``source_profile``."""

    def __init__(self, sources: Any, chain: _ChainSession) -> None:
        self._sources = sources
        self._chain = chain

    def providers(self, profile_name: str, disable_env_vars: bool = False) -> list[CredentialProvider]:
        """See the SDK's ``ProfileProviderBuilder``."""
        made = self._sources.providers(profile_name=profile_name, disable_env_vars=disable_env_vars)
        return _with_bounded_programs(made, profile_name, self._chain)
