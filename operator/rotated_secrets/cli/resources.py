"""The RotatedSecrets that a person can reach: read, listed, patched, watched; what goes wrong is told in a sentence.

Needs the verbs get, list, watch and patch on rotatedsecrets, and nothing else; never reads a Secret.
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
from rotated_secrets.cli import kubeconfig as kubeconfigs
from rotated_secrets.cli.events import Event
from rotated_secrets.cli.problem import Problem
from rotated_secrets.cli.seen import Seen
from rotated_secrets.cli.watching import Watch
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
SILENCE = 30.0
"""Seconds that one watch lasts before it is opened anew: so long nobody would notice that a connection has died."""


class Resources:
    """The RotatedSecrets of one cluster, as one person may see them."""

    def __init__(self, place: kubeconfigs.Place, namespace: str | None, *, timeout: float = TIMEOUT) -> None:
        self._place = place
        self._cluster = Cluster(place.configuration, timeout=timeout, connections=4, retries=1)
        self.namespace = namespace or place.namespace

    @classmethod
    def connect(
        cls, kubeconfig: Path | None, context: str | None, namespace: str | None, *, timeout: float = TIMEOUT
    ) -> Resources:
        """Raises Problem."""
        return cls(kubeconfigs.find(kubeconfig, context), namespace, timeout=timeout)

    def get(self, name: str) -> Json:
        """Raises Problem."""
        try:
            return self._cluster.request("GET", self._path(name))
        except ClusterError as error:
            raise self._problem(error, "get", name) from None

    def patch(self, name: str, body: Mapping[str, Any]) -> Json:
        """Merge into the resource; returns it as it is then. Raises Problem."""
        try:
            return self._cluster.request("PATCH", self._path(name), body=dict(body), content_type=MERGE_PATCH)
        except ClusterError as error:
            raise self._problem(error, "patch", name) from None

    def listed(self, *, everywhere: bool = False, selector: str = "") -> list[Json]:
        """Raises Problem."""
        try:
            return self._list(everywhere=everywhere, labelSelector=selector)[0]
        except ClusterError as error:
            raise self._problem(error, "list", everywhere=everywhere) from None

    def list_one(self, name: str) -> tuple[list[Json], str]:
        """None or one of this name, and the version to watch from. Raises ClusterError."""
        return self._list(everywhere=False, fieldSelector=f"metadata.name={name}")

    def events(self, name: str, version: str) -> Iterator[Json]:
        """What happens to the one of this name, until the API server ends the watch or has been silent for long.

        Raises:
            ClusterError: Gone where ``version`` is too old to go on from.
        """
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": version,
            "timeoutSeconds": int(SILENCE),
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
            answer = client.call_api(method, url, headers, None, _request_timeout=(TIMEOUT, SILENCE + TIMEOUT))
            with closing(answer.response) as response:
                if answer.status != 200:
                    raise _refused(answer.status, json.loads(response.read() or b"{}"))
                yield from _lines(response)
        except (urllib3.exceptions.HTTPError, ApiException, OSError, ValueError) as error:
            raise Unreachable(f"the watch was cut off: {error}") from error

    def watch(self, seen: Seen, version: str, events: SimpleQueue[Event]) -> Watch:
        """A thread, still to be started, that tells what happens to this one after ``version``."""
        return Watch(self, seen, version, events)

    def problem_of_watch(self, error: ClusterError, name: str) -> Problem:
        return self._problem(error, "watch", name)

    def close(self) -> None:
        self._cluster.close()

    def _list(self, *, everywhere: bool, **selectors: str) -> tuple[list[Json], str]:
        """In chunks; from the start as one piece where the list grows too old on the way."""
        path = f"/apis/{API_VERSION}/{PLURAL}" if everywhere else self._path()
        query: dict[str, str | int] = {name: each for name, each in selectors.items() if each}
        found: list[Json] = []
        going_on = ""
        while True:
            try:
                answer = self._cluster.request("GET", path, query=query | {"limit": CHUNK, "continue": going_on})
            except Gone:
                answer, found = self._cluster.request("GET", path, query=query), []
            found += answer.get("items") or []
            going_on = answer.get("metadata", {}).get("continue") or ""
            if not going_on:
                return found, answer["metadata"]["resourceVersion"]

    def _path(self, name: str = "") -> str:
        path = f"/apis/{API_VERSION}/namespaces/{self.namespace}/{PLURAL}"
        return f"{path}/{name}" if name else path

    # ---- what went wrong, for a person

    def _problem(self, error: ClusterError, verb: str, name: str = "", *, everywhere: bool = False) -> Problem:
        where = "in all namespaces" if everywhere else f"in namespace {self.namespace}"
        if isinstance(error, NotFound) and (error.answer.get("details") or {}).get("name") == name != "":
            return Problem(f"there is no {KIND} {name} in namespace {self.namespace}{self._near(name)}")
        if isinstance(error, NotFound):
            return Problem(
                f"the cluster at {self._place} knows no {PLURAL}.{GROUP}: the operator is not installed there; "
                "install its chart, or name another cluster by --context"
            )
        told = error.answer.get("message") or str(error)
        if error.status == 401:
            return Problem(f"the API server at {self._place} does not know you; log in again ({told})")
        if isinstance(error, Forbidden):
            hint = "; name one namespace by -n" if everywhere else ""
            return Problem(
                f"you may not {verb} {PLURAL} {where}{hint}, or ask for the verbs get, list, watch and patch on "
                f"{PLURAL}.{GROUP}, which the role edit has where the chart is installed ({told})"
            )
        if isinstance(error, Unreachable):
            cause = told.rpartition("could not be reached: ")[2]
            return Problem(f"the API server at {self._place} could not be reached: {cause}; check --context")
        return Problem(told)

    def _near(self, name: str) -> str:
        """What the person may have meant, as far as may be looked."""
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
            return "; name another by -n"
        if elsewhere:
            return f"; there is one in {' and in '.join(elsewhere[:3])}: name the namespace by -n"
        return f"; there {'is' if len(here) == 1 else 'are'} {', '.join(here[:5])}" if here else "; it has none at all"


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[Json]:
    held = b""
    for chunk in response.stream(1 << 16):
        *lines, held = (held + chunk).split(b"\n")
        for line in filter(None, lines):
            event: Json = json.loads(line)
            if event["type"] == "ERROR":
                raise _refused(event["object"].get("code", 0), event["object"])
            yield event


def _refused(status: int, answer: Json) -> ClusterError:
    kind = ERRORS.get(status) or (Unreachable if status == 429 or status >= 500 else Rejected)
    return kind(answer.get("message") or f"the API server answered {status}", status, answer)
