"""HTTP sessions of the watches: what is read of the API server passes the transform before anyone else has it.

kopf parses whole pages and keeps each object for a while. So that this is bounded, whatever tenants write into their
objects, a session hands on lists and events of RotatedSecrets that hold only what :mod:`transform` keeps. One object at
a time is parsed as the API server sent it.

kopf ends when a list or a watch is refused, and with it the operator of all namespaces. So a refusal is recorded here,
and kopf begins again with a new list.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any, ClassVar, Final

import aiohttp
from aiohttp.connector import Connection

from rotated_secrets.api.names import GROUP, PLURAL
from rotated_secrets.cluster import READ, Json
from rotated_secrets.controller.namespaces import EVERYWHERE, ServedNamespaces
from rotated_secrets.controller.watch.transform import transform
from rotated_secrets.json_list import ListParser, parse

log = logging.getLogger(__name__)

REJECTED: Final = 401
"""kopf loads the credentials again after it."""
TOO_OLD: Final = 410
JSON_TYPE: Final = "application/json"
NOT_SERVED: Final = 404, "text/plain"
"""Status and type of the API server's answer for a group of which it has no kind."""
CHANGES: Final = frozenset({"ADDED", "MODIFIED", "DELETED"})
"""Types of events that hold an object."""


BEGIN_AGAIN: Final = json.dumps({"type": "ERROR", "object": {"code": TOO_OLD}}).encode()
"""The event after which kopf begins again with a new list, after its pause."""


class TransformedResponse(aiohttp.ClientResponse):
    """A list or a watch of RotatedSecrets with the transformed objects; other responses as they are."""

    namespaces: ClassVar = ServedNamespaces()

    async def start(self, connection: Connection) -> TransformedResponse:
        await super().start(connection)
        is_watch = self.url.query.get("watch") == "true"
        if not self.url.path.endswith(f"/{PLURAL}") or self.status == REJECTED:
            return self
        if self.status == 200 and self.content_type == JSON_TYPE:
            if is_watch:
                self.namespaces.answered(self._namespace, PLURAL)
                self.content = _Lines(self.content)  # type: ignore[assignment]
            return self
        if self.status != TOO_OLD:
            why = refusal(self.status, await self.content.read(READ))
            if (self.status, self.content_type) == NOT_SERVED:
                why += f", as for a kind that it does not know; is the CustomResourceDefinition {PLURAL}.{GROUP} there?"
            elif self.content_type != JSON_TYPE:
                why += f" and {self.content_type} instead of {JSON_TYPE}; a proxy may have answered"
            self.namespaces.refused(self._namespace, PLURAL, why)
        if is_watch:
            # After an error kopf would open the same watch again, at once.
            self.status, self.content = 200, _BeginAgain(self.content)  # type: ignore[assignment]
            return self
        self.close()
        raise aiohttp.ClientPayloadError("the list is too old, or refused")

    async def json(self, **how: Any) -> Any:
        if self.status != 200 or self.content_type != JSON_TYPE:
            # The library's own method keeps what it read: kopf asks for the text of an error that is no JSON.
            return await super().json(**how)
        parser, items = ListParser(), []
        try:
            async for data in self.content.iter_chunked(READ):
                items += [transform(obj, size) for obj, size in parser.feed(data)]
            items += [transform(obj, size) for obj, size in parser.feed(b"", last=True)]
            around = parser.around()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise aiohttp.ClientPayloadError("the API server did not answer with a list") from error
        return around | {"items": items} if "items" in around else around

    @property
    def _namespace(self) -> str:
        _, _, after = self.url.path.partition("/namespaces/")
        return after.partition("/")[0] if after else EVERYWHERE


def told_to(namespaces: ServedNamespaces) -> type[TransformedResponse]:
    """Return the class of the responses of a session whose refusals are recorded."""
    return type("ToldResponse", (TransformedResponse,), {"namespaces": namespaces})


def refusal(status: int, body: bytes) -> str:
    """Say what the API server answered, with the message of its ``Status``."""
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = ""
    return f"the API server answered {status}" + (f": {message[:1000]}" if message else "")


class _Lines:
    """A stream of watch events, each with its transformed object."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
        async for line in lines(self._content):
            yield transformed_event(line) + b"\n"


class _BeginAgain(_Lines):
    """A watch that was refused."""

    async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
        yield BEGIN_AGAIN + b"\n"


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
    """Return a watch event, as JSON, with its transformed object; after an error the watch begins again."""
    try:
        event: Json = parse(line)
        if event["type"] in CHANGES:
            event["object"] = transform(event["object"], len(line))
        elif event["type"] == "ERROR":
            if event["object"].get("code") != TOO_OLD:
                log.warning("the watch of RotatedSecrets begins again: %s", event["object"].get("message"))
            return BEGIN_AGAIN
    except (ValueError, KeyError, TypeError, AttributeError):
        log.warning("the watch of RotatedSecrets begins again: the API server did not answer with an event")
        return BEGIN_AGAIN
    return json.dumps(event).encode()
