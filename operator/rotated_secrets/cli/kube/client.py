"""Reads, lists, patches and watches RotatedSecrets. Turns errors into sentences for a person.

Needs only the verbs get, list, watch and patch on rotatedsecrets, and never reads a Secret.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import urllib3
from kubernetes.client.exceptions import ApiException

from rotated_secrets.api.names import API_VERSION, GROUP, KIND, PLURAL
from rotated_secrets.cli.errors import CommandError
from rotated_secrets.cli.kube import kubeconfig as kubeconfigs
from rotated_secrets.cli.kube.rotated_secret import RotatedSecretView
from rotated_secrets.cli.kube.watch import Watch
from rotated_secrets.cli.kube.watch_events import WatchEvent
from rotated_secrets.cluster import (
    ERRORS,
    MERGE_PATCH,
    Cluster,
    ClusterError,
    Forbidden,
    Gone,
    Json,
    NotFound,
    Rejected,
    Unreachable,
)

TIMEOUT = 15.0
"""Seconds that one request may take."""
CHUNK = 500
WATCH_SECONDS = 30.0
"""How long one watch lasts before it is opened again. A dead connection stays unnoticed for so long at most."""


class RotatedSecretClient:
    """Client for the RotatedSecrets of one cluster."""

    def __init__(self, context: kubeconfigs.ClusterContext, namespace: str | None, *, timeout: float = TIMEOUT) -> None:
        self._context = context
        self._cluster = Cluster(context.configuration, timeout=timeout, connections=4, retries=1)
        self.namespace = namespace or context.namespace

    @classmethod
    def connect(
        cls, kubeconfig: Path | None, context: str | None, namespace: str | None, *, timeout: float = TIMEOUT
    ) -> RotatedSecretClient:
        """Raises CommandError."""
        return cls(kubeconfigs.find(kubeconfig, context), namespace, timeout=timeout)

    def get(self, name: str) -> Json:
        """Raises CommandError."""
        try:
            return self._cluster.request("GET", self._path(name))
        except ClusterError as error:
            raise self._command_error(error, "get", name) from None

    def patch(self, name: str, body: Mapping[str, Any]) -> Json:
        """Merge ``body`` into the resource, and return the result. Raises CommandError."""
        try:
            return self._cluster.request("PATCH", self._path(name), body=dict(body), content_type=MERGE_PATCH)
        except ClusterError as error:
            raise self._command_error(error, "patch", name) from None

    def list_all(self, *, everywhere: bool = False, selector: str = "") -> list[Json]:
        """Raises CommandError."""
        try:
            return self._list(everywhere=everywhere, labelSelector=selector)[0]
        except ClusterError as error:
            raise self._command_error(error, "list", everywhere=everywhere) from None

    def list_named(self, name: str) -> tuple[list[Json], str]:
        """Return a list with the resource of this name, or an empty one, and the version to watch from.

        Raises ClusterError.
        """
        return self._list(everywhere=False, fieldSelector=f"metadata.name={name}")

    def events(self, name: str, version: str) -> Iterator[Json]:
        """Watch the resource of this name, until the API server ends the watch or is silent for too long.

        Raises:
            ClusterError: among others Gone, where ``version`` is too old.
        """
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": version,
            "timeoutSeconds": int(WATCH_SECONDS),
            "allowWatchBookmarks": "true",
        }
        client = self._cluster.client
        method, url, headers, _, _ = client.param_serialize(
            "GET",
            self._path(),
            query_params=list(query.items()),
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        try:
            answer = client.call_api(method, url, headers, None, _request_timeout=(TIMEOUT, WATCH_SECONDS + TIMEOUT))
            with closing(answer.response) as response:
                if answer.status != 200:
                    raise _refused(answer.status, json.loads(response.read() or b"{}"))
                yield from _lines(response)
        except (urllib3.exceptions.HTTPError, ApiException, OSError, ValueError) as error:
            raise Unreachable(f"the watch was cut off: {error}") from error

    def watch(self, resource: RotatedSecretView, version: str, events: SimpleQueue[WatchEvent]) -> Watch:
        """Return a thread, not yet started, that reports what happens to the resource after ``version``."""
        return Watch(self, resource, version, events)

    def watch_error(self, error: ClusterError, name: str) -> CommandError:
        return self._command_error(error, "watch", name)

    def close(self) -> None:
        self._cluster.close()

    def _list(self, *, everywhere: bool, **selectors: str) -> tuple[list[Json], str]:
        """List in chunks. If the list expires on the way, start again and read it as a whole."""
        path = f"/apis/{API_VERSION}/{PLURAL}" if everywhere else self._path()
        query: dict[str, str | int] = {name: each for name, each in selectors.items() if each}
        found: list[Json] = []
        continue_token = ""
        while True:
            try:
                asked = query | {"limit": CHUNK, "continue": continue_token}
                answer = self._cluster.request("GET", path, query=asked, largest=None)
            except Gone:
                answer, found = self._cluster.request("GET", path, query=query, largest=None), []
            found += answer.get("items") or []
            continue_token = answer.get("metadata", {}).get("continue") or ""
            if not continue_token:
                return found, answer["metadata"]["resourceVersion"]

    def _path(self, name: str = "") -> str:
        path = f"/apis/{API_VERSION}/namespaces/{self.namespace}/{PLURAL}"
        return f"{path}/{name}" if name else path

    # ---- errors for a person

    def _command_error(
        self, error: ClusterError, verb: str, name: str = "", *, everywhere: bool = False
    ) -> CommandError:
        where = "in all namespaces" if everywhere else f"in namespace {self.namespace}"
        if isinstance(error, NotFound) and (error.answer.get("details") or {}).get("name") == name != "":
            return CommandError(f"there is no {KIND} {name} in namespace {self.namespace}{self._near(name)}")
        if isinstance(error, NotFound):
            return CommandError(
                f"the cluster at {self._context} has no {PLURAL}.{GROUP}: the operator is not installed there; "
                "install its chart, or choose another cluster with --context"
            )
        reason = error.answer.get("message") or str(error)
        if error.status == 401:
            return CommandError(f"the API server at {self._context} rejects your credentials; log in again ({reason})")
        if isinstance(error, Forbidden):
            hint = "choose one namespace with -n, or " if everywhere else ""
            return CommandError(
                f"you may not {verb} {PLURAL} {where}; {hint}ask for the verbs get, list, watch and patch on "
                f"{PLURAL}.{GROUP}; where the chart is installed, the role edit has them ({reason})"
            )
        if isinstance(error, Unreachable):
            _, reached, cause = reason.rpartition("could not be reached")
            how = cause if reached else f": {reason}"
            return CommandError(f"the API server at {self._context} could not be reached{how}; check --context")
        return CommandError(reason)

    def _near(self, name: str) -> str:
        """Suggest what the person may have meant, as far as they may list."""
        try:
            here = [each["metadata"]["name"] for each in self._list(everywhere=False)[0]]
            near = difflib.get_close_matches(name, here, n=1)
            if near:
                return f"; did you mean {near[0]}?"
            elsewhere = [
                each["metadata"]["namespace"]
                for each in self._list(everywhere=True, fieldSelector=f"metadata.name={name}")[0]
            ]
        except ClusterError:
            return "; choose another namespace with -n"
        if elsewhere:
            return f"; there is one in {' and in '.join(elsewhere[:3])}: choose the namespace with -n"
        return f"; the namespace has {', '.join(here[:5])}" if here else "; the namespace has none"


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[Json]:
    rest = b""
    for chunk in response.stream(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in filter(None, lines):
            event: Json = json.loads(line)
            if event["type"] == "ERROR":
                raise _refused(event["object"].get("code", 0), event["object"])
            yield event


def _refused(status: int, answer: Json) -> ClusterError:
    kind = ERRORS.get(status) or (Unreachable if status == 429 or status >= 500 else Rejected)
    return kind(answer.get("message") or f"the API server answered {status}", status, answer)
