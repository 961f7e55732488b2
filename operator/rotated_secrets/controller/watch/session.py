"""HTTP sessions of the watches: what is read of the API server passes the transform before anyone else has it.

kopf parses whole pages and keeps each object for a while. So that this is bounded, whatever tenants write into their
objects, a session hands on lists and events of RotatedSecrets that hold only what :mod:`transform` keeps. One object at
a time is parsed as the API server sent it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
from aiohttp.connector import Connection

from rotated_secrets.cluster import READ, Json
from rotated_secrets.controller.watch.transform import transform
from rotated_secrets.json_list import ListParser, parse

TOO_OLD: Final = 410
CHANGES: Final = frozenset({"ADDED", "MODIFIED", "DELETED"})
"""Types of events that hold an object."""


class TransformedResponse(aiohttp.ClientResponse):
    """A list or a watch of RotatedSecrets with the transformed objects; other responses as they are."""

    async def start(self, connection: Connection) -> TransformedResponse:
        await super().start(connection)
        is_watch = self.url.query.get("watch") == "true"
        if self.status == TOO_OLD and not is_watch:
            # kopf begins again with a new list after this error, but ends after a 410 in the middle of a list.
            self.close()
            raise aiohttp.ClientPayloadError("the list is too old")
        if self.status == 200 and is_watch:
            self.content = _Lines(self.content)  # type: ignore[assignment]
        return self

    async def json(self, **how: Any) -> Any:
        if self.status != 200 or self.content_type != "application/json":
            # The library's own method keeps what it read: kopf asks for the text of an error that is no JSON. And it
            # names the type of a page that a proxy sent.
            return await super().json(**how)
        parser, items = ListParser(), []
        async for data in self.content.iter_chunked(READ):
            items += [transform(obj, size) for obj, size in parser.feed(data)]
        items += [transform(obj, size) for obj, size in parser.feed(b"", last=True)]
        around = parser.around()
        return around | {"items": items} if "items" in around else around


class _Lines:
    """A stream of watch events, each with its transformed object."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
        async for line in lines(self._content):
            yield transformed_event(line) + b"\n"


async def lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield each line of a response, however long; StreamReader's own way fails at 128 KiB."""
    read: list[bytes] = []
    async for data in content.iter_chunked(READ):
        *complete, rest = data.split(b"\n")
        for end in complete:
            line = b"".join([*read, end])
            read.clear()
            if line:
                yield line
        read.append(rest)


def transformed_event(line: bytes) -> bytes:
    """Return a watch event, as JSON, with its transformed object."""
    event: Json = parse(line)
    if event["type"] in CHANGES:
        event["object"] = transform(event["object"], len(line))
    return json.dumps(event).encode()
