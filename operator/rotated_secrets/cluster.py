"""Requests to the Kubernetes API: JSON in, JSON out, with timeouts, and errors that say what to do.

The official client gives addresses, certificates and tokens, and keeps connections; its models are passed by, because
making them of each answer costs more than everything else about a request. Safe to use from several threads.
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
"""Objects in one answer of a list."""

Json = dict[str, Any]

# The client logs the bodies of answers at DEBUG, and some of these are Secrets.
logging.getLogger("kubernetes.client.rest").setLevel(logging.INFO)


class ClusterError(Exception):
    """The API server said no, or nothing; the message names the request and the cause.

    It may repeat what the API server answered, and so what was sent: where that is a Secret, only ``status`` and the
    field names in ``answer`` may be told.
    """

    def __init__(self, message: str, status: int = 0, answer: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status; 0 where there was no answer."""
        self.answer = answer or {}
        """The ``Status`` object that the API server answered with, where it did."""


class Unreachable(ClusterError):
    """The API server could not be reached, timed out, failed inside or is too busy: try again later."""


class NotFound(ClusterError):
    """No such object, or no such kind of object."""


class Conflict(ClusterError):
    """The object has changed since it was read, or exists already: look again."""


class Gone(ClusterError):
    """The list has grown too old to go on with."""


class Forbidden(ClusterError):
    """The operator's ServiceAccount may not do this; the message names the permission that is missing."""


class Rejected(ClusterError):
    """The request is not acceptable."""


ERRORS: Mapping[int, type[ClusterError]] = {401: Forbidden, 403: Forbidden, 404: NotFound, 409: Conflict, 410: Gone}


class NoCluster(Exception):
    """Nothing says where the API server is."""


def configuration(kubeconfig: Path | None, context: str | None) -> client.Configuration:
    """Where the API server is and who we are there.

    Raises:
        NoCluster: neither a file nor the pod's own ServiceAccount says so.
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

        ``before_write`` is called before each request that changes something, and what it raises is raised instead.
        """
        found.connection_pool_maxsize = connections
        # A server's Retry-After may be hours; our own queue waits better, and lets others go first.
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
        """One request and its answer.

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

    def pages(self, path: str, *, accept: str = "application/json") -> Iterator[list[Json]]:
        """Every object of a list, in chunks; as one piece from the start, where the list grows too old on the way."""
        going_on = ""
        while True:
            try:
                answer = self.request("GET", path, query={"limit": CHUNK, "continue": going_on}, accept=accept)
            except Gone:
                answer = self.request("GET", path, accept=accept)
            yield answer.get("items") or []
            going_on = answer.get("metadata", {}).get("continue") or ""
            if not going_on:
                return

    def close(self) -> None:
        self.client.close()  # type: ignore[no-untyped-call]


def _error(what: str, status: int, data: bytes) -> ClusterError:
    try:
        answer = json.loads(data)
        told = answer.get("message") or ""
    except (ValueError, AttributeError):
        answer, told = {}, ""
    kind = ERRORS.get(status) or (Unreachable if status == 429 or status >= 500 else Rejected)
    return kind(f"{what}: the API server answered {status}" + (f": {told}" if told else ""), status, answer)


def _cause(error: Exception) -> str:
    """The innermost reason, without the layers that the HTTP library wraps around it."""
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
