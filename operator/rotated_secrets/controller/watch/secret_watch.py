"""Watches the metadata of Secrets with our label: lists them, then follows what changes.

kopf would list whole Secrets, all at once, and anyone may set the label. Here only metadata is transferred, in pages,
and one object is in memory at a time, until the handler has seen it. Knows neither kopf nor what a change means.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NoReturn

import aiohttp

from rotated_secrets.cluster import CHUNK, METADATA, METADATA_LIST, READ
from rotated_secrets.controller.watch.session import CHANGES, TOO_OLD, lines, refusal
from rotated_secrets.json_list import ListParser, parse
from rotated_secrets.observability.logs import describe

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before the next try after an error; each error in a row doubles the pause."""
REOPEN_PAUSE: Final = 0.1
"""Seconds before a watch that has ended is opened again, so that a server that ends each at once is not flooded."""

Seen = Callable[[Mapping[str, Any]], None]
"""Called with the metadata of a Secret that is there, that changed or that is gone, as ``{"metadata": …}``."""


class SecretWatch:
    """Watches the Secrets of one list: of one namespace, or of all."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        selector: str,
        authorization: Callable[[], Mapping[str, str]],
        seen: Seen,
        told: Callable[[str | None], None] = lambda _: None,
        connect_timeout: float,
        list_timeout: float,
        watch_timeout: float,
        inactivity: float,
    ) -> None:
        """Timeouts are in seconds. ``authorization`` returns the headers of each request: tokens expire.

        ``told`` is called with why the API server refuses the list or the watch, and with None where it watches.
        """
        self._session = session
        self._url = url
        self._selector = selector
        self._authorization = authorization
        self._seen = seen
        self._told = told
        # No time for the whole: how long a page takes depends on what is in it.
        self._list_timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout, sock_read=list_timeout)
        self._watch_timeout = aiohttp.ClientTimeout(
            total=watch_timeout + 30, sock_connect=connect_timeout, sock_read=inactivity
        )
        # A whole number: the API server refuses a fraction.
        self._server_timeout = str(int(watch_timeout))

    async def run(self) -> NoReturn:
        """Watch until cancelled. What the API server refuses, or does not answer, is tried again for ever."""
        version, pause = "", FIRST_PAUSE
        while True:
            try:
                if not version:
                    version = await self._list()
                    pause = FIRST_PAUSE
                version = await self._follow(version)
                pause = FIRST_PAUSE
            except _TooOld:
                version = ""
            except _RequestRefused as error:
                self._told(str(error))
                log.warning("%s is not watched: %s; tries again in %.0f s", self._url, error, pause)
                version, pause = "", await _rest(pause)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                log.warning("%s is not watched: %s; tries again in %.0f s", self._url, describe(error), pause)
                pause = await _rest(pause)
            else:
                await asyncio.sleep(REOPEN_PAUSE)

    async def _list(self) -> str:
        """Show every Secret once, and return the version to watch from. Raises: _TooOld, in the middle of the list."""
        asked: dict[str, str] = {"limit": str(CHUNK)}
        while True:
            parser = ListParser()
            async with await self._request(asked, METADATA_LIST, self._list_timeout) as response:
                async for data in response.content.iter_chunked(READ):
                    for obj, _ in parser.feed(data):
                        self._seen(obj)
                for obj, _ in parser.feed(b"", last=True):
                    self._seen(obj)
            with _understood():
                about = parser.around()["metadata"]
                if not about.get("continue"):
                    return str(about["resourceVersion"])
                asked["continue"] = about["continue"]

    async def _follow(self, version: str) -> str:
        """Show what changes after a version, and return the version to go on from. Raises: _TooOld."""
        asked = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": self._server_timeout,
        }
        try:
            async with await self._request(asked, METADATA, self._watch_timeout) as response:
                self._told(None)
                async for line in lines(response.content):
                    with _understood():
                        event = parse(line)
                        kind, obj = event["type"], event["object"]
                        if kind == "ERROR":
                            code = obj.get("code", 0)
                            raise (
                                _TooOld if code == TOO_OLD else _RequestRefused(refusal(code, json.dumps(obj).encode()))
                            )
                        version = obj["metadata"]["resourceVersion"]
                    if kind in CHANGES:
                        self._seen(obj)
        except (aiohttp.ClientPayloadError, TimeoutError) as error:
            # Cut off, or silent: nothing is lost, the next watch goes on from here.
            log.debug("the watch of %s has ended: %s", self._url, describe(error))
        return version

    async def _request(
        self, asked: Mapping[str, str], accept: str, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """Raises: _RequestRefused, _TooOld, aiohttp.ClientError, TimeoutError."""
        response = await self._session.get(
            self._url,
            params={"labelSelector": self._selector, **asked},
            headers={"Accept": accept, **self._authorization()},
            timeout=timeout,
        )
        if response.status == 200:
            return response
        async with response:
            said = await response.content.read(READ)
        raise _TooOld if response.status == TOO_OLD else _RequestRefused(refusal(response.status, said))


class _RequestRefused(Exception):
    """The API server answered with an error; the message says which."""


class _TooOld(Exception):
    """What was listed is too long ago to go on from."""


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    """Raises: _RequestRefused, where the response is not what the API server's would be."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _RequestRefused("the API server did not answer with a list or a watch of it") from error


async def _rest(pause: float) -> float:
    """Sleep, and return the pause after the next error."""
    await asyncio.sleep(pause)
    return min(2 * pause, LONGEST_PAUSE)
