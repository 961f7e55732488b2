"""What kopf gets of lists and watches of RotatedSecrets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kopf._cogs.clients.errors import APITooManyRequestsError, check_response

from rotated_secrets.api.names import PLURAL
from rotated_secrets.controller.namespaces import EVERYWHERE, ServedNamespaces
from rotated_secrets.controller.watch.session import TransformedResponse, told_to
from rotated_secrets.controller.watch.transform import LARGEST

Ask = Callable[[aiohttp.ClientSession, Any], Awaitable[Any]]
SEEN = {"namespace": "shop", "name": "orders", "uid": "u", "resourceVersion": "7"}
METADATA: dict[str, Any] = SEEN | {"labels": {"a": "x" * 200_000}}
OBJECT: dict[str, Any] = {"metadata": METADATA, "spec": {"source": {"secretId": "shop/orders"}}}


ALL, IN_SHOP = (
    f"/apis/rotatedsecrets.io/v1alpha1/{PLURAL}",
    f"/apis/rotatedsecrets.io/v1alpha1/namespaces/shop/{PLURAL}",
)


def ask(
    body: bytes,
    use: Ask,
    *,
    status: int = 200,
    content_type: str = "application/json",
    path: str = ALL,
    response: type[TransformedResponse] = TransformedResponse,
) -> Any:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status, content_type=content_type)

    async def run() -> Any:
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        async with TestServer(app) as server, aiohttp.ClientSession(response_class=response) as session:
            return await use(session, server.make_url(path))

    return asyncio.run(run())


async def listed(session: aiohttp.ClientSession, url: Any) -> Any:
    async with await session.get(url) as response:
        return await response.json()


async def watched(session: aiohttp.ClientSession, url: Any) -> list[Any]:
    async with await session.get(url, params={"watch": "true"}) as response:
        read = b"".join([data async for data in response.content.iter_chunked(1 << 20)])
    return [json.loads(line) for line in read.splitlines()]


def test_list_holds_transformed_objects() -> None:
    body = json.dumps({"kind": "List", "metadata": {"resourceVersion": "9"}, "items": [OBJECT, OBJECT]}).encode()
    found = ask(body, listed)
    assert (found["kind"], found["metadata"]) == ("List", {"resourceVersion": "9"})
    assert [SEEN.items() <= obj["metadata"].items() for obj in found["items"]] == [True, True]
    assert len(json.dumps(found)) < 1000


def test_other_responses_are_as_they_are() -> None:
    for body in ({"kind": "APIGroupList", "groups": [{"name": "a"}]}, {"kind": "Status", "code": 500}):
        assert ask(json.dumps(body).encode(), listed) == body


@pytest.mark.parametrize("content_type", ["text/plain", "application/json"])
def test_text_of_an_error_reaches_kopf(content_type: str) -> None:
    """The API server says "Too many requests" in plain text."""

    async def checked(session: aiohttp.ClientSession, url: Any) -> None:
        await check_response(await session.get(url))

    with pytest.raises(APITooManyRequestsError, match=r"^too many requests$"):
        ask(b"too many requests\n", checked, status=429, content_type=content_type, path="/apis")


def test_page_of_a_proxy_is_told_by_its_type() -> None:
    with pytest.raises(aiohttp.ContentTypeError, match="text/html"):
        ask(b"<html>Please log in</html>", listed, content_type="text/html", path="/apis")


def test_list_that_is_too_old_begins_again_instead_of_ending_kopf() -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        ask(b"{}", listed, status=410)


BEGIN_AGAIN = [{"type": "ERROR", "object": {"code": 410}}]
"""What makes kopf begin again with a new list."""


def test_watch_that_is_too_old_begins_again_with_a_list() -> None:
    """kopf would end after the status, and open the same watch again and again after the error for lists."""
    assert ask(b'{"code": 410}', watched, status=410) == BEGIN_AGAIN


REFUSALS = [403, 404, 422, 429, 500, 503]


class Told(list[tuple[str, str | None]]):
    def __call__(self, namespace: str, why: str | None) -> None:
        self.append((namespace, why))


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize(("path", "namespace"), [(ALL, EVERYWHERE), (IN_SHOP, "shop")])
def test_refusal_sets_its_namespace_aside_and_does_not_end_kopf(status: int, path: str, namespace: str) -> None:
    told = Told()
    refused = told_to(ServedNamespaces(told))
    said = b'{"kind": "Status", "message": "you may not"}'
    with pytest.raises(aiohttp.ClientPayloadError):
        ask(said, listed, status=status, path=path, response=refused)
    assert ask(said, watched, status=status, path=path, response=refused) == BEGIN_AGAIN
    assert told == [(namespace, f"the API server answered {status}: you may not")]
    assert ask(b"", watched, path=path, response=refused) == []
    assert told[1:] == [(namespace, None)]


def test_page_of_a_proxy_in_place_of_a_list_or_a_watch_is_told_and_does_not_end_kopf() -> None:
    told, page = Told(), b"<html>Please log in</html>"
    response = told_to(ServedNamespaces(told))
    with pytest.raises(aiohttp.ClientPayloadError):
        ask(page, listed, content_type="text/html", path=IN_SHOP, response=response)
    assert ask(page, watched, content_type="text/html", path=ALL, response=response) == BEGIN_AGAIN
    why = "the API server answered 200 and text/html instead of application/json; a proxy may have answered"
    assert told == [("shop", why), (EVERYWHERE, why)]


def test_definition_that_is_missing_is_not_taken_for_a_proxy() -> None:
    """The API server's answer, seen on kube-apiserver 1.36."""
    told = Told()
    response = told_to(ServedNamespaces(told))
    ask(b"404 page not found", watched, status=404, content_type="text/plain", path=IN_SHOP, response=response)
    ((_, why),) = told
    assert why == (
        "the API server answered 404, as for a kind that it does not know; is the CustomResourceDefinition "
        "rotatedsecrets.rotatedsecrets.io there?"
    )


def test_list_alone_does_not_bring_a_namespace_back() -> None:
    told = Told()
    refused = told_to(ServedNamespaces(told))
    ask(b"no JSON", watched, status=403, response=refused)
    ask(b'{"items": []}', listed, response=refused)
    assert told == [(EVERYWHERE, "the API server answered 403")]


@pytest.mark.parametrize(("status", "path"), [(401, ALL), (404, "/apis/rotatedsecrets.io/v1alpha1")])
def test_rejected_credentials_and_other_requests_are_left_to_kopf(status: int, path: str) -> None:
    told = Told()
    said = {"kind": "Status", "code": status}
    assert (
        ask(json.dumps(said).encode(), listed, status=status, path=path, response=told_to(ServedNamespaces(told)))
        == said
    )
    assert told == []


@pytest.mark.parametrize(
    "line",
    [
        b'{"type": "ERROR", "object": {"code": 500, "message": "etcd is away"}}',
        b'{"type": "ADDED", "object": {}}',
        b"<html>",
        b"[]",
    ],
)
def test_watch_that_shows_an_error_or_nonsense_begins_again(line: bytes) -> None:
    assert ask(line + b"\n", watched) == BEGIN_AGAIN


def test_list_that_is_none_begins_again() -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        ask(b"<html>", listed)


def test_events_hold_transformed_objects_however_long_their_lines_are() -> None:
    large = {"metadata": {**METADATA, "labels": {"a": "x" * LARGEST}}, "spec": OBJECT["spec"]}
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}
    events = [{"type": kind, "object": OBJECT} for kind in ("ADDED", "MODIFIED", "DELETED")]
    error = {"type": "ERROR", "object": {"code": 410}}
    lines: list[dict[str, Any]] = [*events, {"type": "MODIFIED", "object": large}, bookmark, error]
    found = ask(b"\n".join(json.dumps(line).encode() for line in lines) + b"\n", watched)
    assert [event["type"] for event in found] == [line["type"] for line in lines]
    assert all(SEEN.items() <= event["object"]["metadata"].items() for event in found[:4])
    assert [("spec" in event["object"]) for event in found[:4]] == [True, True, True, False]
    assert found[4:] == lines[4:]
    assert len(json.dumps(found)) < 4000


def test_object_that_is_nested_too_deeply_ends_neither_list_nor_watch() -> None:
    deep = '{"f:a":' * 9000 + "{}" + "}" * 9000
    obj = json.dumps(OBJECT)[:-1] + f', "managedFields": [{{"fieldsV1": {deep}}}]}}'
    (event,) = ask(f'{{"type": "ADDED", "object": {obj}}}\n'.encode(), watched)
    (item,) = ask(f'{{"metadata": {{}}, "items": [{obj}]}}'.encode(), listed)["items"]
    assert SEEN.items() <= event["object"]["metadata"].items()
    assert SEEN.items() <= item["metadata"].items()
