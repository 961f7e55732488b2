"""kopf as the informer of RotatedSecrets: it watches, and calls :mod:`handlers` for each event. The only file that
imports kopf. Target Secrets are watched beside it, by :mod:`secret_watch`.

It runs in a separate thread with a separate event loop, as kopf's documentation of embedding shows: when kopf ends, it
cancels every task of its loop that was started after it, and it handles the process's signals. Nothing here writes:
there are no timers, daemons, indexes, change handlers or finalizers, and posting of events and peering are off.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

import aiohttp
import kopf
from kubernetes import client

from rotated_secrets.api.names import GROUP, PLURAL, VERSION
from rotated_secrets.cluster import CHUNK
from rotated_secrets.cluster_access import proxy_of
from rotated_secrets.controller.namespaces import EVERYWHERE, ServedNamespaces
from rotated_secrets.controller.watch.handlers import Handlers
from rotated_secrets.controller.watch.resources import OUR_SECRETS, SECRETS, secret_lists
from rotated_secrets.controller.watch.secret_watch import SecretWatch
from rotated_secrets.controller.watch.session import told_to

log = logging.getLogger(__name__)

INACTIVITY = 70.0
"""Seconds without any event or bookmark after which a watch is opened again; the API server sends one every 60."""
PATIENCE: Final = 6
"""How many times longer than another request a page of a list may take."""
PAUSE: Final = 2.0
"""Seconds before a list of RotatedSecrets that was refused, or that is too old, is tried again."""

# Used for peering only, which is off.
_IDENTITY: Any = "rotated-secrets"


class Informer:
    """Watches RotatedSecrets and target Secrets until it is stopped or fails."""

    def __init__(
        self,
        configuration: client.Configuration,
        handlers: Handlers,
        *,
        namespaces: tuple[str, ...],
        served: ServedNamespaces,
        request_timeout: float,
        watch_timeout: float,
        on_end: Callable[[BaseException | None], None],
    ) -> None:
        """Timeouts are in seconds. ``on_end`` is called from the thread, with the error if there was one."""
        self._configuration = configuration
        self._handlers = handlers
        self._namespaces = namespaces
        self._served = served
        self._request_timeout = request_timeout
        self._watch_timeout = watch_timeout
        self._on_end = on_end
        self._credentials: kopf.ConnectionInfo | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="informer", daemon=True)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Stop watching. Blocks for at most ``timeout`` seconds."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._watch())
        except BaseException as ended:  # noqa: BLE001 - any error ends the operator, which logs it
            error = ended
        self._on_end(error)

    async def _watch(self) -> None:
        found = self._configuration
        async with aiohttp.ClientSession(connector=_connector(_connection(found)), proxy=proxy_of(found)) as session:
            # Before kopf, which cancels at its end what was started after it.
            secrets: list[asyncio.Task[Any]] = [
                asyncio.create_task(self._secret_watch(session, *which).run()) for which in self._secret_lists()
            ]
            resources: asyncio.Task[Any] = asyncio.create_task(self._watch_resources())
            try:
                done, _ = await asyncio.wait((resources, *secrets), return_when=asyncio.FIRST_COMPLETED)
            finally:
                # kopf waits for the flag in a thread, which would keep the loop alive after a watch has failed.
                self._stop.set()
                for task in secrets:
                    task.cancel()
                await asyncio.gather(resources, *secrets, return_exceptions=True)
            for task in done:
                task.result()

    async def _watch_resources(self) -> None:
        await kopf.operator(
            registry=self._registry(),
            settings=self._settings(),
            stop_flag=self._stop,
            standalone=True,
            # Without an identity kopf looks up the user's name, which a container's user id may not have.
            identity=_IDENTITY,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
        )

    def _secret_lists(self) -> list[tuple[str, str]]:
        """Namespaces, and where their Secrets are listed."""
        host = self._configuration.host.rstrip("/")
        paths = secret_lists(self._namespaces)
        return [(each, host + path) for each, path in zip(self._namespaces or (EVERYWHERE,), paths, strict=True)]

    def _secret_watch(self, session: aiohttp.ClientSession, namespace: str, url: str) -> SecretWatch:
        def told(why: str | None) -> None:
            if why is None:
                self._served.answered(namespace, SECRETS)
            else:
                self._served.refused(namespace, SECRETS, why)

        return SecretWatch(
            session,
            url,
            selector=OUR_SECRETS,
            authorization=lambda: _connection(self._configuration).as_http_headers(),
            seen=self._target_secret,
            told=told,
            connect_timeout=self._request_timeout,
            list_timeout=self._request_timeout * PATIENCE,
            watch_timeout=self._watch_timeout,
            inactivity=INACTIVITY,
        )

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        kopf.on.event(GROUP, VERSION, PLURAL, registry=registry, id="rotated-secret")(self._rotated_secret)
        return registry

    async def _login(self, **_: Any) -> kopf.AiohttpSession:
        """Open kopf's session. Called again when the API server has rejected the credentials.

        Raises:
            PermanentError: they are the same as before, so they would be rejected again.
        """
        found = _connection(self._configuration)
        if found == self._credentials:
            raise kopf.PermanentError("the API server rejects the operator's credentials")
        self._credentials = found
        session = aiohttp.ClientSession(
            connector=_connector(found),
            headers=found.as_http_headers(),
            response_class=told_to(self._served),
            proxy=proxy_of(self._configuration),
        )
        return kopf.AiohttpSession(server=found.server, aiohttp_session=session)

    async def _rotated_secret(self, event: Any, **_: Any) -> None:
        self._handlers.rotated_secret(event["type"], event["object"])

    def _target_secret(self, obj: Mapping[str, Any]) -> None:
        self._handlers.target_secret(obj)

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.peering.standalone = True
        # Kinds and namespaces do not change: missing ones are reported at the start, and scanning would need rights.
        settings.scanning.disabled = True
        settings.queueing.idle_timeout = 0.1
        settings.watching.chunk_size = CHUNK
        # A whole number: the API server refuses a fraction.
        settings.watching.server_timeout = int(self._watch_timeout)
        settings.watching.client_timeout = self._watch_timeout + 30
        settings.watching.connect_timeout = self._request_timeout
        settings.watching.inactivity_timeout = INACTIVITY
        settings.watching.reconnect_backoff = PAUSE
        settings.networking.request_timeout = self._request_timeout * PATIENCE
        settings.networking.connect_timeout = self._request_timeout
        settings.process.ultimate_exiting_timeout = None
        return settings


def _connector(found: kopf.ConnectionInfo) -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(limit=0, ssl=found.as_ssl_context())


def _connection(found: client.Configuration) -> kopf.ConnectionInfo:
    """Convert the official client's configuration to kopf's. Called again when a token has expired."""
    scheme, _, token = (found.get_api_key_with_prefix("BearerToken") or "").rpartition(" ")
    return kopf.ConnectionInfo(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        insecure=not found.verify_ssl,
        username=found.username or None,
        password=found.password or None,
        scheme=scheme or None,
        token=token or None,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
    )
