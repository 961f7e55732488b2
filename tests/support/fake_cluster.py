"""An API server in memory: objects by path, resourceVersions, conflicts. Answers as the product's ``Cluster`` does."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from rotated_secrets.cluster import (
    LARGEST_RESPONSE,
    METADATA,
    MOST_VALUES,
    Conflict,
    Forbidden,
    Json,
    Keep,
    NotFound,
    ObjectTooLarge,
    T,
)

COLLECTIONS = ("rotatedsecrets", "secrets", "leases", "configmaps")
CREATED = "2026-01-01T00:00:00Z"


class FakeCluster:
    """Objects by path. ``requests`` are all that came, ``writes`` those that changed something."""

    def __init__(self) -> None:
        self.client = SimpleNamespace(configuration=SimpleNamespace(host="https://203.0.113.1:6443"))
        self.objects: dict[str, Json] = {}
        self.requests: list[tuple[str, str]] = []
        self.metadata_only: list[str] = []
        """Paths of the requests for metadata alone."""
        self.bodies: list[Json] = []
        self.forbidden: set[tuple[str, str]] = set()
        """Methods and path prefixes that are answered with 403."""
        self.after_write: Callable[[str, str], None] = lambda method, path: None
        self._version = 0

    @property
    def writes(self) -> list[tuple[str, str]]:
        return [(method, path) for method, path in self.requests if method != "GET"]

    def put(self, path: str, obj: Mapping[str, Any]) -> Json:
        """Make or replace an object, as somebody else does."""
        self._version += 1
        namespace, name = path.split("/namespaces/")[1].split("/", maxsplit=1)[0], path.rsplit("/", 1)[1]
        found = copy.deepcopy(dict(obj))
        before = self.objects.get(path, {}).get("metadata", {})
        metadata = {"uid": f"uid-of-{name}", "creationTimestamp": CREATED, "generation": 1} | before
        found["metadata"] = metadata | dict(found.get("metadata") or {})
        found["metadata"] |= {"namespace": namespace, "name": name, "resourceVersion": str(self._version)}
        self.objects[path] = found
        return found

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
        self.requests.append((method, path))
        if any(method == verb and path.startswith(prefix) for verb, prefix in self.forbidden):
            raise Forbidden(f"{method} {path}: the API server answered 403", 403)
        if method == "GET":
            found = self._returned(f"GET {path}", self._found(path), largest)
            if field := str((query or {}).get("fieldSelector", "")):
                named = field.removeprefix("metadata.name=")
                found["items"] = [each for each in found["items"] if each["metadata"]["name"] == named]
            if accept == METADATA:
                self.metadata_only.append(path)
                return {"metadata": found["metadata"]}
            return found
        if method == "DELETE":
            self._found(path)
            self.after_write(method, path)
            return self.objects.pop(path)
        if (query or {}).get("dryRun"):
            raise Conflict(f"{method} {path}: the API server answered 409", 409)  # what is tried exists
        self.bodies.append(copy.deepcopy(body))
        answer = self._written(method, path, body)
        self.after_write(method, path)
        return self._returned(f"{method} {path}", answer, largest)

    def pages(
        self,
        path: str,
        keep: Keep[T],
        *,
        query: Mapping[str, str | int] | None = None,
        accept: str = "application/json",
    ) -> Iterator[list[T]]:
        yield self.page(path, keep, query=query)[0]

    def page(
        self,
        path: str,
        keep: Keep[T],
        *,
        query: Mapping[str, str | int] | None = None,
        accept: str = "application/json",
    ) -> tuple[list[T], str]:
        self.requests.append(("GET", path))
        if any(verb == "GET" and path.startswith(prefix) for verb, prefix in self.forbidden):
            raise Forbidden(f"GET {path}: the API server answered 403", 403)
        root, _, plural = path.rpartition("/")
        label, _, value = str((query or {}).get("labelSelector", "")).partition("=")
        found = [
            copy.deepcopy(obj)
            for where, obj in self.objects.items()
            if where.startswith(f"{root}/") and where.split("/")[-2] == plural
            if not label or obj["metadata"].get("labels", {}).get(label) == value
        ]
        return [keep(obj, len(json.dumps(obj))) for obj in found], ""

    def close(self) -> None:
        return

    @staticmethod
    def _returned(what: str, obj: Json, largest: int | None) -> Json:
        text = json.dumps(obj, separators=(",", ":"))
        if largest is not None and (len(text) > largest or text.count('":') + text.count('","') > MOST_VALUES):
            raise ObjectTooLarge(f"{what}: the object has more than {largest} bytes or {MOST_VALUES} values")
        return copy.deepcopy(obj)

    def _found(self, path: str) -> Json:
        if path.rsplit("/", 1)[1] in COLLECTIONS:
            return {"items": self.page(path, lambda obj, _: obj)[0], "metadata": {}}
        if path not in self.objects:
            raise NotFound(f"{path}: the API server answered 404", 404)
        return self.objects[path]

    def _written(self, method: str, path: str, body: Json) -> Json:
        if method == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                raise Conflict(f"POST {path}: the API server answered 409", 409)
            return self.put(path, body)
        status_only = path.endswith("/status")
        live = self._found(path.removesuffix("/status"))
        for precondition in ("uid", "resourceVersion"):
            asked = (body.get("metadata") or {}).get(precondition)
            if asked is not None and asked != live["metadata"][precondition]:
                raise Conflict(f"{method} {path}: the API server answered 409", 409)
        if method == "PATCH":
            changes = {"status": body["status"]} if status_only else body
            body = _merged(live, {key: value for key, value in changes.items() if key != "metadata"} | _template(body))
        if body == live:
            return live
        return self.put(path.removesuffix("/status"), body)


def _template(body: Json) -> Json:
    """Metadata of a patch without its preconditions."""
    preconditions = ("uid", "resourceVersion")
    metadata = {key: value for key, value in (body.get("metadata") or {}).items() if key not in preconditions}
    return {"metadata": metadata} if metadata else {}


def _merged(target: Any, patch: Any) -> Any:
    """Source: RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged
