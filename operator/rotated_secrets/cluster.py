"""Requests to the Kubernetes API: JSON in, JSON out, with timeouts and limits, and errors that say what to do.

The official client provides addresses, certificates, tokens and connections. Its models and calls are not used, because
they cost more than the rest of a request. Safe to use from several threads.

A tenant decides what is in its objects, so no response is held whole without a limit: a list is read object by object
(:class:`ListParser`), and a single object that is too large is refused (:class:`ObjectTooLarge`).
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit

import urllib3
from kubernetes import client

from rotated_secrets.cluster_access import proxy_of
from rotated_secrets.json_list import ListParser, parse

MERGE_PATCH = "application/merge-patch+json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
CHUNK = 100
"""Objects in one response to a list request. The API server has 60 s to answer: also if each object has 1.5 MiB, which
etcd takes, that is 2.5 MiB a second; and 10,000 small objects take 100 requests of some milliseconds."""
RESTARTS: Final = 3
"""How often one list is started again because it got too old before its end."""
READ: Final = 1 << 16
"""Bytes of a response that are read at once."""
LARGEST_RESPONSE: Final = 16 << 20
"""Bytes. etcd takes 1.5 MiB for one object unless it is set otherwise; in JSON a control character takes six bytes."""
MOST_VALUES: Final = 10_000
"""Most entries of maps and texts in lists in one object. Each takes about 250 bytes in Python: 1.5 MiB of labels
would take 30 MiB, in each of many threads."""
TOO_LARGE: Final = f"it has more than {LARGEST_RESPONSE >> 20} MiB or {MOST_VALUES:,} values, with its managedFields"
"""What an :class:`ObjectTooLarge` says, for messages that do not quote errors."""

Json = dict[str, Any]
T = TypeVar("T")
Keep = Callable[[Json, int], T]
"""Makes what is kept of an object in a list, from the object and its length as JSON. The object itself is dropped."""

# The client logs the bodies of responses at DEBUG, and some of these are Secrets.
logging.getLogger("kubernetes.client.rest").setLevel(logging.INFO)


class ClusterError(Exception):
    """The API server refused a request or did not answer; the message names the request and the cause.

    The message may quote the response, which may quote the request: if that is a Secret, show only ``status`` and the
    field names in ``answer``.
    """

    def __init__(self, message: str, status: int = 0, answer: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status; 0 if there was no response."""
        self.answer = answer or {}
        """The ``Status`` object in the response, if there was one."""


class Unreachable(ClusterError):
    """The API server could not be reached, timed out, had an internal error or is too busy: try again later."""


class NotFound(ClusterError):
    """The object, or the kind of object, does not exist."""


class Conflict(ClusterError):
    """The object has changed since it was read, or exists already: read it again."""


class Gone(ClusterError):
    """The list cannot be continued, because it is too old."""


class Forbidden(ClusterError):
    """The operator's ServiceAccount may not do this; the message names the permission that is missing."""


class Rejected(ClusterError):
    """The API server refused the request as invalid."""


class ObjectTooLarge(ClusterError):
    """The object is larger than the operator keeps in memory. It was read, or even written, but not returned."""


ERRORS: Mapping[int, type[ClusterError]] = {401: Forbidden, 403: Forbidden, 404: NotFound, 409: Conflict, 410: Gone}


class Cluster:
    """One pool of connections to the API server."""

    def __init__(
        self,
        found: client.Configuration,
        *,
        timeout: float,
        connections: int,
        retries: int,
        before_write: Callable[[], None] | None = None,
    ) -> None:
        """``timeout`` is in seconds and for each try; only requests that change nothing are tried again.

        ``before_write`` is called before each request that changes something; if it raises, no request is made.
        """
        found.connection_pool_maxsize = connections
        # A server's Retry-After may be hours; our own queue retries earlier, and works on other keys meanwhile.
        found.retries = urllib3.Retry(
            retries, redirect=0, allowed_methods=("GET",), backoff_factor=0.1, respect_retry_after_header=False
        )
        self.client = client.ApiClient(found)
        self._connections: urllib3.PoolManager = self.client.rest_client.pool_manager
        self._host = found.host
        self._headers = dict(self.client.default_headers)
        self._through = _through(proxy_of(found), found.host)
        self._timeout = timeout
        self._before_write = before_write

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        largest: int | None = LARGEST_RESPONSE,
    ) -> Json:
        """Make one request and return its response.

        Args:
            method: of HTTP.
            path: below the API server's address.
            query: after the path.
            body: as JSON.
            content_type: of the body.
            accept: the forms of the response.
            largest: most bytes of the response, which then has at most :data:`MOST_VALUES` too; None for no limit.

        Raises:
            ClusterError: one of its subclasses.
        """
        what = f"{method} {path}"
        with self._opened(method, path, query, body, content_type, accept) as response:
            data = bytearray()
            for read in response.stream(READ):
                data += read
                if largest is not None and len(data) > largest:
                    raise ObjectTooLarge(f"{what}: the object has more than {largest >> 10} KiB")
        if largest is not None and _most_values(data) > MOST_VALUES:
            raise ObjectTooLarge(f"{what}: the object has more than {MOST_VALUES} values")
        with _parsing(what):
            found: Json = parse(data)
        return found

    def pages(
        self,
        path: str,
        keep: Keep[T],
        *,
        query: Mapping[str, str | int] | None = None,
        accept: str = "application/json",
    ) -> Iterator[list[T]]:
        """Yield what ``keep`` makes of each object of a list, in chunks; one object is in memory at a time.

        If the list gets too old before its end, it goes on with what is there now, or starts again from the beginning.

        Raises:
            ClusterError: one of its subclasses; Gone, if it got too old again and again.
        """
        continue_token, restarts = "", 0
        while True:
            try:
                kept, continue_token = self.page(
                    path, keep, query={**(query or {}), "continue": continue_token}, accept=accept
                )
            except Gone as error:
                # Source: the Kubernetes API Concepts, "Retrieving large results sets in chunks": a 410 may bring a
                # token to go on with.
                continue_token = (error.answer.get("metadata") or {}).get("continue") or ""
                restarts += 1
                if restarts > RESTARTS:
                    raise
                continue
            yield kept
            if not continue_token:
                return

    def page(
        self,
        path: str,
        keep: Keep[T],
        *,
        query: Mapping[str, str | int] | None = None,
        accept: str = "application/json",
    ) -> tuple[list[T], str]:
        """Read one chunk of a list. Returns what ``keep`` makes of each object, and the token of the next chunk.

        Raises:
            ClusterError: one of its subclasses; Gone, if the list is too old.
        """
        parser, kept, query = ListParser(), [], {"limit": CHUNK, **(query or {})}
        with self._opened("GET", path, query, None, "application/json", accept) as response:
            for data in response.stream(READ):
                kept += [keep(obj, size) for obj, size in parser.feed(data)]
        kept += [keep(obj, size) for obj, size in parser.feed(b"", last=True)]
        with _parsing(f"GET {path}"):
            return kept, (parser.around().get("metadata") or {}).get("continue") or ""

    @contextlib.contextmanager
    def _opened(
        self, method: str, path: str, query: Mapping[str, str | int] | None, body: Any, content_type: str, accept: str
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """A response that says that the request succeeded, to read from. Raises: ClusterError."""
        if self._before_write is not None and method != "GET":
            self._before_write()
        url = f"{self._host}{path}?{urlencode(query)}" if query else f"{self._host}{path}"
        response: urllib3.BaseHTTPResponse | None = None
        try:
            response = self._connections.request(
                method,
                url,
                body=None if body is None else json.dumps(body).encode(),
                headers={**self._headers, "Accept": accept, "Content-Type": content_type, **self._authorization()},
                timeout=urllib3.Timeout(total=self._timeout),
                preload_content=False,
            )
            if not 200 <= response.status < 300:
                raise _error(f"{method} {path}", response.status, b"".join(islice(response.stream(READ), 16)))
            yield response
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unreachable(
                f"{method} {path}: the API server could not be reached{self._through}: {_cause(error)}"
            ) from error
        finally:
            if response is not None:
                # A response that was read to its end has given its connection back, and this does nothing.
                response.close()

    def _authorization(self) -> Mapping[str, str]:
        """The token, which the client reads again where it is about to expire."""
        settings = self.client.configuration.auth_settings().get("BearerToken")
        return {settings["key"]: settings["value"]} if settings else {}

    def close(self) -> None:
        self.client.close()  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _parsing(what: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise Unreachable(f"{what}: the API server did not answer with JSON") from error


def _most_values(data: bytearray) -> int:
    """An upper bound for the number of values, without parsing: what looks like one inside of a text is counted too."""
    return data.count(b'":') + data.count(b'","')


def _error(what: str, status: int, data: bytes) -> ClusterError:
    try:
        answer = parse(data)
        message = answer.get("message") or ""
    except (ValueError, AttributeError):
        answer, message = {}, ""
    kind = ERRORS.get(status) or (Unreachable if status == 429 or status >= 500 else Rejected)
    return kind(f"{what}: the API server answered {status}" + (f": {message}" if message else ""), status, answer)


def _through(proxy: str | None, host: str) -> str:
    """Say by which proxy, without a password, and how to go without it; empty where there is none."""
    name = urlsplit(proxy or "").netloc.rpartition("@")[2]
    return f" through the proxy {name} (to ask it directly, add {urlsplit(host).hostname} to NO_PROXY)" if name else ""


def _cause(error: Exception) -> str:
    """Return the innermost reason, without the layers that the HTTP library wraps around it."""
    if isinstance(error, urllib3.exceptions.ProxyError):
        return _cause(error.original_error)
    reason = getattr(error, "reason", None)
    if isinstance(error, urllib3.exceptions.MaxRetryError) and isinstance(reason, Exception):
        return _cause(reason)
    if isinstance(error, urllib3.exceptions.NewConnectionError) and isinstance(error.__cause__, OSError):
        return _cause(error.__cause__)
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error).rpartition(": ")[2]
