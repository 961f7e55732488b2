"""Requests to the Kubernetes API: JSON in, JSON out, with timeouts, and errors that say what to do.

The official client provides addresses, certificates, tokens and connections. Its models are not used, because to build
them from each response costs more than the rest of a request. Safe to use from several threads.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

MERGE_PATCH = "application/merge-patch+json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
CHUNK = 500
"""Objects in one response to a list request."""

Json = dict[str, Any]

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


ERRORS: Mapping[int, type[ClusterError]] = {401: Forbidden, 403: Forbidden, 404: NotFound, 409: Conflict, 410: Gone}


class NoCluster(Exception):
    """No kubeconfig and no ServiceAccount name the API server."""


def configuration(kubeconfig: Path | None, context: str | None) -> client.Configuration:
    """Load the address of the API server and our credentials for it.

    Raises:
        NoCluster: neither a kubeconfig file nor the pod's ServiceAccount has them.
    """
    found = client.Configuration()
    try:
        if kubeconfig is None and "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
        else:
            path = str(kubeconfig) if kubeconfig else None
            config.load_kube_config(path, context, found)  # type: ignore[no-untyped-call]
    except config.ConfigException as error:
        raise NoCluster(f"{error}; set --kubeconfig, or run in a pod with a ServiceAccount") from None
    return found


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
    ) -> Json:
        """Make one request and return its response.

        Raises:
            ClusterError: one of its subclasses.
        """
        if self._before_write is not None and method != "GET":
            self._before_write()
        headers = {"Accept": accept, "Content-Type": content_type}
        try:
            method, url, headers, _, _ = self.client.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params=headers,
                auth_settings=["BearerToken"],
            )
            answer = self.client.call_api(method, url, headers, body, _request_timeout=self._timeout)
            data = answer.read()  # type: ignore[no-untyped-call]
        except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
            raise Unreachable(f"{method} {path}: the API server could not be reached: {_cause(error)}") from error
        if 200 <= answer.status < 300:
            found: Json = json.loads(data)
            return found
        raise _error(f"{method} {path}", answer.status, data)

    def pages(
        self, path: str, *, query: Mapping[str, str | int] | None = None, accept: str = "application/json"
    ) -> Iterator[list[Json]]:
        """Yield all objects of a list in chunks; if the list gets too old before its end, all again in one chunk."""
        wanted, continue_token = dict(query or {}), ""
        while True:
            try:
                chunk = wanted | {"limit": CHUNK, "continue": continue_token}
                answer = self.request("GET", path, query=chunk, accept=accept)
            except Gone:
                answer = self.request("GET", path, query=wanted, accept=accept)
            yield answer.get("items") or []
            continue_token = answer.get("metadata", {}).get("continue") or ""
            if not continue_token:
                return

    def close(self) -> None:
        self.client.close()  # type: ignore[no-untyped-call]


def _error(what: str, status: int, data: bytes) -> ClusterError:
    try:
        answer = json.loads(data)
        message = answer.get("message") or ""
    except (ValueError, AttributeError):
        answer, message = {}, ""
    kind = ERRORS.get(status) or (Unreachable if status == 429 or status >= 500 else Rejected)
    return kind(f"{what}: the API server answered {status}" + (f": {message}" if message else ""), status, answer)


def _cause(error: Exception) -> str:
    """Return the innermost reason, without the layers that the HTTP library wraps around it."""
    reason = getattr(error, "reason", None)
    if isinstance(error, urllib3.exceptions.MaxRetryError) and isinstance(reason, Exception):
        return _cause(reason)
    if isinstance(error, urllib3.exceptions.NewConnectionError) and isinstance(error.__cause__, OSError):
        return _cause(error.__cause__)
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(reason) if isinstance(error, ApiException) and reason else str(error).rpartition(": ")[2]
