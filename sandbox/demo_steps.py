"""Follows one rotation by the status that the operator writes, and measures its steps by the operator's metrics."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from urllib3.exceptions import HTTPError

from sandbox.application import RESOURCES
from sandbox.kubernetes.client import Api, Json, StatusError

_WATCH_SECONDS = 90
_STEP_SECONDS = re.compile(r'^rotatedsecrets_rotation_step_seconds_sum\{.*step="(\w+)".*\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class StepDone:
    """A step of AWS's four, or the delivery that follows them."""

    name: str
    says: str
    seconds: float | None = None


class StepWatch:
    """Watches one RotatedSecret while the ``with`` lasts; no other is rotated meanwhile."""

    def __init__(
        self, api: Api, namespace: str, name: str, says: Mapping[str, str], metrics: Callable[[], str]
    ) -> None:
        """``says`` has what each of AWS's steps did, and ``metrics`` returns those of the operator."""
        self._api = api
        self._path = f"{RESOURCES}/namespaces/{namespace}/rotatedsecrets"
        self._name = name
        self._says = says
        self._metrics = metrics
        self._seen: queue.SimpleQueue[Json] = queue.SimpleQueue()
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        before = self._api.get(f"{self._path}/{self._name}")
        self._served_before = len(before.get("status", {}).get("history", []))
        self._took_before = _seconds_by_step(self._metrics())
        threading.Thread(target=self._watch, args=[before["metadata"]["resourceVersion"]], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def until_rotated(self, patience: float) -> Iterator[StepDone]:
        """Each step, once the rotation is over. Raises: TimeoutError after ``patience`` seconds."""
        deadline = time.monotonic() + patience
        while True:
            try:
                resource = self._seen.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"no rotation of {self._name} in {patience:.0f} s") from None
            status = resource.get("status", {})
            is_over = not status.get("rotation") and len(status.get("history", [])) > self._served_before
            if is_over and _is_delivered(status):
                took = _seconds_by_step(self._metrics())
                for step, says in self._says.items():
                    yield StepDone(step, says, took[step] - self._took_before.get(step, 0.0))
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
                    self._seen.put(event["object"])
        except (StatusError, HTTPError, OSError):
            return


def _seconds_by_step(metrics: str) -> dict[str, float]:
    """How long each of AWS's steps took, of all rotations together."""
    return {step: float(seconds) for step, seconds in _STEP_SECONDS.findall(metrics)}


def _is_delivered(status: Json) -> bool:
    """What the last rotation made is current, and in the Secret."""
    made: str | None = status["history"][0].get("versionId")
    return [made, made] == [status.get("currentVersionId"), status.get("syncedVersionId")]
