"""What the informer needs of the machine that it runs on."""

from __future__ import annotations

import asyncio
import getpass
import threading
from typing import Any

import aiohttp
import kopf
import pytest
from kubernetes import client

from rotated_secrets.controller.namespaces import ServedNamespaces
from rotated_secrets.controller.watch.informer import Informer
from rotated_secrets.controller.watch.secret_watch import SecretWatch
from sandbox.servers import free_port

PATIENCE = 20.0


class Running:
    """An informer of a server that is not there, and how it ended."""

    def __init__(self, *namespaces: str) -> None:
        self.ended = threading.Event()
        self.error: BaseException | None = None
        found = client.Configuration(host=f"http://127.0.0.1:{free_port()}")
        nothing: Any = None
        self.informer = Informer(
            found,
            nothing,
            namespaces=namespaces,
            served=ServedNamespaces(),
            request_timeout=1,
            watch_timeout=1,
            on_end=self._end,
        )

    def _end(self, error: BaseException | None) -> None:
        self.error = error
        self.ended.set()


@pytest.fixture
def _kopf_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """kopf runs until it is stopped, as it does on a cluster."""

    async def operator(*, stop_flag: threading.Event, **_: object) -> None:
        await asyncio.to_thread(stop_flag.wait)

    monkeypatch.setattr(kopf, "operator", operator)


@pytest.mark.usefixtures("_kopf_waits")
def test_each_namespace_has_a_watch_of_its_secrets_and_all_of_them_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    stopped: list[str] = []
    both = threading.Event()

    async def run(self: SecretWatch) -> None:
        started.append(self._url)
        if len(started) == 2:
            both.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(self._url)

    monkeypatch.setattr(SecretWatch, "run", run)
    running = Running("shop", "billing")
    running.informer.start()
    assert both.wait(PATIENCE)
    assert [url.partition("/api/")[2] for url in started] == [
        "v1/namespaces/shop/secrets",
        "v1/namespaces/billing/secrets",
    ]
    running.informer.stop(PATIENCE)
    assert not running.informer.alive
    assert (sorted(stopped), running.error) == (sorted(started), None)


@pytest.mark.usefixtures("_kopf_waits")
def test_watch_of_secrets_that_fails_ends_the_informer_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(self: SecretWatch) -> None:
        raise RuntimeError("a handler has failed")

    monkeypatch.setattr(SecretWatch, "run", run)
    running = Running()
    running.informer.start()
    assert running.ended.wait(PATIENCE)
    assert str(running.error) == "a handler has failed"


def test_credentials_that_were_rejected_are_not_tried_again() -> None:
    informer = Running().informer

    async def twice() -> None:
        first = await informer._login()
        await first.aiohttp_session.close()
        with pytest.raises(kopf.PermanentError, match="rejects the operator's credentials"):
            await informer._login()
        informer._configuration.api_key["BearerToken"] = "Bearer new"
        again = await informer._login()
        assert again.aiohttp_session.headers["Authorization"] == "Bearer new"
        await again.aiohttp_session.close()

    asyncio.run(twice())


def test_lists_of_kopf_come_in_pages() -> None:
    assert Running().informer._settings().watching.chunk_size == 100


def test_informer_runs_with_a_user_id_that_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_user() -> str:
        raise KeyError("getpwuid(): uid not found: 45678")

    monkeypatch.setattr(getpass, "getuser", no_such_user)
    informer = Informer(
        client.Configuration(),
        handlers=None,  # type: ignore[arg-type]  # nothing is watched
        namespaces=("shop",),
        served=ServedNamespaces(),
        request_timeout=1,
        watch_timeout=1,
        on_end=lambda error: None,
    )
    with pytest.raises(aiohttp.ClientError):  # so far does it come: no API server is named
        asyncio.run(asyncio.wait_for(informer._watch(), 30))


@pytest.mark.usefixtures("_kopf_waits")
def test_the_watches_go_through_the_same_proxy_as_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    proxies: list[object] = []

    original = aiohttp.ClientSession

    def session(**settings: Any) -> aiohttp.ClientSession:
        proxies.append(settings["proxy"])
        return original(**settings)

    monkeypatch.setattr(aiohttp, "ClientSession", session)
    running = Running()
    running.informer._configuration.proxy = "http://proxy:3128"

    async def login() -> None:
        session = await running.informer._login()
        await session.aiohttp_session.close()

    asyncio.run(login())
    running.informer.start()
    running.informer.stop(PATIENCE)
    assert proxies == ["http://proxy:3128"] * 2
