"""Follows one rotation by the status that the operator writes before each step."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from urllib3.exceptions import HTTPError

from sandbox.application import RESOURCES
from sandbox.kubernetes.client import Api, Json, StatusError

_WATCH_SECONDS = 90


@dataclass(frozen=True)
class StepDone:
    """A step of AWS's four, or the delivery that follows them."""

    name: str
    says: str
    seconds: float | None = None


class StepWatch:
    """Watches one RotatedSecret while the ``with`` lasts; ``says`` has what each step of its status did."""

    def __init__(self, api: Api, namespace: str, name: str, says: Mapping[str, str]) -> None:
        self._api = api
        self._path = f"{RESOURCES}/namespaces/{namespace}/rotatedsecrets"
        self._name = name
        self._says = says
        self._seen: queue.SimpleQueue[tuple[float, Json]] = queue.SimpleQueue()
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        before = self._api.get(f"{self._path}/{self._name}")
        self._served_before = len(before.get("status", {}).get("history", []))
        threading.Thread(target=self._watch, args=[before["metadata"]["resourceVersion"]], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def until_rotated(self, patience: float) -> Iterator[StepDone]:
        """Each step when it is done, until the rotation is over. Raises: TimeoutError after ``patience`` seconds."""
        deadline = time.monotonic() + patience
        running: str | None = None
        since = 0.0
        while True:
            try:
                at, resource = self._seen.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"no rotation of {self._name} in {patience:.0f} s") from None
            status = resource.get("status", {})
            step = (status.get("rotation") or {}).get("step")
            if step != running:
                if running is not None:
                    yield StepDone(running[0].lower() + running[1:], self._says[running], at - since)
                running, since = step, at
            if step is None and len(status.get("history", [])) > self._served_before and _is_delivered(status):
                yield StepDone("delivered", f"the Secret holds version {status['syncedVersionId']}")
                return

    def _watch(self, resource_version: str) -> None:
        """Ends with the server, at the latest."""
        query: dict[str, Any] = {"fieldSelector": f"metadata.name={self._name}", "resourceVersion": resource_version}
        try:
            for event in self._api.watch(self._path, seconds=_WATCH_SECONDS, **query):
                if self._ended.is_set():
                    return
                if event["type"] == "MODIFIED":
                    self._seen.put((time.monotonic(), event["object"]))
        except (StatusError, HTTPError, OSError):
            return


def _is_delivered(status: Json) -> bool:
    """What the last rotation made is current, and in the Secret."""
    made: str | None = status["history"][0].get("versionId")
    return [made, made] == [status.get("currentVersionId"), status.get("syncedVersionId")]
