"""How target Secrets are watched: in pages, as metadata, and on through whatever the API server does."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from rotated_secrets.controller.watch import secret_watch
from rotated_secrets.controller.watch.secret_watch import SecretWatch
from sandbox.servers import free_port

PATIENCE = 10.0
Script = Callable[[web.Request], tuple[int, Any]]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_watch, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(secret_watch, "LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(secret_watch, "REOPEN_PAUSE", 0.01)


def secret(name: str, version: str = "1") -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": name, "resourceVersion": version}}


def page(*names: str, token: str = "", version: str = "10") -> dict[str, Any]:
    return {"metadata": {"resourceVersion": version, "continue": token}, "items": [secret(name) for name in names]}


def event(kind: str, name: str, version: str) -> dict[str, Any]:
    return {"type": kind, "object": secret(name, version)}


BOOKMARK = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "20"}}}
TOO_OLD = {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}


class Scripted:
    """An API server that answers one request after the other as told, then keeps the last watch open.

    An answer is a status and a body; for a watch the body is a list of events, and None cuts the connection.
    """

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.left = list(answers)
        self.requests: list[tuple[Mapping[str, str], Mapping[str, str]]] = []
        self.seen: list[str] = []
        self.done = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((dict(request.query), dict(request.headers)))
        status, body = self.left.pop(0) if self.left else (200, [])
        if status != 200 or isinstance(body, dict):
            return web.json_response(body, status=status)
        response = web.StreamResponse()
        await response.prepare(request)
        for each in body:
            if each is None:
                assert request.transport is not None
                request.transport.close()
                return response
            await response.write((each if isinstance(each, str) else json.dumps(each)).encode() + b"\n")
        if not self.left:
            self.done.set()
            await asyncio.sleep(PATIENCE)
        return response

    @property
    def asked(self) -> list[str]:
        """Each request, in a word."""
        return [
            f"watch {query['resourceVersion']}" if "watch" in query else f"list {query.get('continue', '')}".strip()
            for query, _ in self.requests
        ]


def watch(*answers: tuple[int, Any]) -> Scripted:
    """Run a watch until all answers are given."""

    async def run() -> Scripted:
        script = Scripted(*answers)
        app = web.Application()
        app.router.add_get("/api/v1/secrets", script.answer)
        async with TestServer(app) as server, aiohttp.ClientSession() as session:
            watched = SecretWatch(
                session,
                str(server.make_url("/api/v1/secrets")),
                selector="a=b",
                authorization=lambda: {"Authorization": f"Bearer {len(script.requests)}"},
                seen=lambda obj: script.seen.append(f"{obj['metadata']['name']} {obj['metadata']['resourceVersion']}"),
                connect_timeout=5,
                list_timeout=5,
                watch_timeout=300.5,
                inactivity=5,
            )
            task = asyncio.create_task(watched.run())
            async with asyncio.timeout(PATIENCE):
                await script.done.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return script

    return asyncio.run(run())


def test_list_comes_in_pages_and_the_watch_goes_on_from_it() -> None:
    script = watch(
        (200, page("a", "b", token="next")), (200, page("c")), (200, [event("MODIFIED", "a", "11")]), (200, [])
    )
    assert script.asked == ["list", "list next", "watch 10", "watch 11"]
    assert script.seen == ["a 1", "b 1", "c 1", "a 11"]


def test_only_metadata_of_labelled_secrets_is_asked_for_with_the_present_token() -> None:
    script = watch((200, page("a")), (200, []))
    (listed, list_headers), (watched, watch_headers) = script.requests
    assert listed == {"labelSelector": "a=b", "limit": "100"}
    assert watched == {
        "labelSelector": "a=b",
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": "10",
        "timeoutSeconds": "300",
    }
    assert list_headers["Accept"].startswith("application/json;as=PartialObjectMetadataList;")
    assert watch_headers["Accept"].startswith("application/json;as=PartialObjectMetadata;")
    assert (list_headers["Authorization"], watch_headers["Authorization"]) == ("Bearer 0", "Bearer 1")


def test_deletions_are_seen_and_bookmarks_only_move_on() -> None:
    script = watch((200, page()), (200, [event("DELETED", "a", "11"), BOOKMARK]), (200, []))
    assert script.seen == ["a 11"]
    assert script.asked == ["list", "watch 10", "watch 20"]


def test_secret_that_is_nested_too_deeply_does_not_end_the_watch() -> None:
    deep = '{"f:a":' * 9000 + "{}" + "}" * 9000
    text = json.dumps(event("MODIFIED", "a", "11")).replace(
        '"name"', f'"managedFields": [{{"fieldsV1": {deep}}}], "name"'
    )
    script = watch((200, page("a")), (200, [text]), (200, []))
    assert script.asked == ["list", "watch 10", "watch 11"]
    assert script.seen == ["a 1", "a 11"]


def test_watch_that_is_cut_off_goes_on_from_what_was_seen() -> None:
    script = watch((200, page()), (200, [event("ADDED", "a", "11"), None]), (200, []))
    assert script.asked == ["list", "watch 10", "watch 11"]


@pytest.mark.parametrize("too_old", [(200, [TOO_OLD]), (410, {"message": "too old"})])
def test_watch_from_too_long_ago_lists_again(too_old: tuple[int, Any]) -> None:
    script = watch((200, page("a")), too_old, (200, page("a", version="30")), (200, []))
    assert script.asked == ["list", "watch 10", "list", "watch 30"]
    assert script.seen == ["a 1", "a 1"]


def test_list_that_got_too_old_begins_again() -> None:
    script = watch((200, page("a", token="next")), (410, {}), (200, page("a")), (200, []))
    assert script.asked == ["list", "list next", "list", "watch 10"]


@pytest.mark.parametrize(
    "refusal",
    [
        (403, {"message": "may not list"}),
        (401, {}),
        (500, {}),
        (429, {}),
        (200, {"kind": "nonsense"}),
        (200, {"metadata": None}),
    ],
)
def test_what_the_api_server_refuses_is_said_and_tried_again(
    refusal: tuple[int, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        script = watch(refusal, refusal, (200, page("a")), (200, []))
    assert script.asked == ["list", "list", "list", "watch 10"]
    (first, second) = (record.getMessage() for record in caplog.records)
    assert "/api/v1/secrets is not watched: " in first
    assert "tries again in" in second
    assert refusal[1].get("message", "") in first


@pytest.mark.parametrize("refusal", [(403, {}), (200, [{"type": "ERROR", "object": {"code": 500}}]), (200, ["x"])])
def test_watch_that_is_refused_lists_again(refusal: tuple[int, Any]) -> None:
    script = watch((200, page()), refusal, (200, page(version="30")), (200, []))
    assert script.asked == ["list", "watch 10", "list", "watch 30"]


def test_long_refusal_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        watch((403, {"message": "x" * 30_000}), (200, page()), (200, []))
    assert len(caplog.records[0].getMessage()) < 1200


def test_server_that_is_not_there_is_tried_again_with_longer_pauses(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_watch, "FIRST_PAUSE", 1.0)
    monkeypatch.setattr(secret_watch, "LONGEST_PAUSE", 4.0)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 4:
            raise asyncio.CancelledError

    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            watched = SecretWatch(
                session,
                f"http://127.0.0.1:{free_port()}/",
                selector="a=b",
                authorization=dict,
                seen=lambda obj: None,
                connect_timeout=5,
                list_timeout=5,
                watch_timeout=5,
                inactivity=5,
            )
            with pytest.raises(asyncio.CancelledError):
                await watched.run()

    monkeypatch.setattr(asyncio, "sleep", sleep)
    asyncio.run(run())
    assert slept == [1.0, 2.0, 4.0, 4.0]
