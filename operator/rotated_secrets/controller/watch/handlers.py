"""What an event means: whom to look at. One line of work each, on plain objects; knows nothing of kopf or the cluster.

Which event came is not passed on: the look at the resource finds out what is to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from rotated_secrets.api.key import Key
from rotated_secrets.api.names import OWNER_ANNOTATION
from rotated_secrets.controller.watch.index import Index


class Handlers:
    """Called for each event of the watches. Nothing here waits or fails."""

    def __init__(
        self,
        index: Index,
        *,
        look: Callable[[Key], None],
        look_anew: Callable[[Key], None],
        gone: Callable[[Key], None],
        delivered: Callable[[], None],
    ) -> None:
        """``look`` enqueues a key, ``look_anew`` does so although nothing about its object has changed, ``gone`` says
        that it will not come back, and ``delivered`` hears of every event."""
        self._index = index
        self._look = look
        self._look_anew = look_anew
        self._gone = gone
        self._delivered = delivered
        self.last_event = time.monotonic()
        """When the last event came, by the monotonic clock, in seconds."""

    def rotated_secret(self, kind: str | None, obj: Mapping[str, Any]) -> None:
        """A RotatedSecret was listed, made, changed or deleted."""
        self._note()
        key = _key(obj)
        if kind == "DELETED":
            self.forget(key, obj["metadata"]["uid"])
        elif self._index.observe(obj):
            self._look(key)

    def target_secret(self, obj: Mapping[str, Any]) -> None:
        """A Secret that carries our label was listed, made, changed or deleted, or has lost the label."""
        self._note()
        secret, version = _key(obj), obj["metadata"]["resourceVersion"]
        for owner in self._index.owners_of(secret) | self._named_owner(obj):
            if not self._index.is_own_write(owner, version):
                self._look(owner)

    def forget(self, key: Key, uid: str | None = None) -> None:
        """A RotatedSecret is gone: look once more, to let go of it, and at others on its secret."""
        rivals = self._index.forget(key, uid)
        if self._index.uid(key) is None:
            self._gone(key)
        self._look(key)
        for rival in rivals:
            self._look_anew(rival)

    def _named_owner(self, secret: Mapping[str, Any]) -> set[Key]:
        """Whom the Secret's annotation names, where that is a RotatedSecret beside it: its spec may have moved on."""
        annotations = secret["metadata"].get("annotations") or {}
        namespace, _, name = str(annotations.get(OWNER_ANNOTATION) or "").partition("/")
        owner = Key(namespace, name)
        is_beside = namespace == secret["metadata"]["namespace"] and self._index.uid(owner) is not None
        return {owner} if is_beside else set()

    def _note(self) -> None:
        self.last_event = time.monotonic()
        self._delivered()


def _key(obj: Mapping[str, Any]) -> Key:
    return Key(obj["metadata"]["namespace"], obj["metadata"]["name"])
