"""Handlers of watch events: decide which RotatedSecrets to look at. Know nothing of kopf or the cluster.

The event itself is not passed on: the look at the resource finds out what to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final

from rotated_secrets.api.key import Key
from rotated_secrets.api.names import OWNER_ANNOTATION
from rotated_secrets.controller.watch.index import Index

MOST_OWNERS: Final = 100
"""RotatedSecrets that one change of their target Secret wakes at most, beside the one that the Secret names. Only one
of them can own it; a namespace may have thousands, and change the Secret without end. The resync looks at all."""


class Handlers:
    """Called for each event of the watches. No method waits or fails."""

    def __init__(
        self,
        index: Index,
        *,
        look: Callable[[Key], None],
        look_again: Callable[[Key], None],
        gone: Callable[[Key], None],
        delivered: Callable[[], None],
    ) -> None:
        """Set what events cause.

        Args:
            index: all RotatedSecrets that are known.
            look: enqueues a key.
            look_again: enqueues a key for which something changed that its object does not show.
            gone: called with the key of a deleted RotatedSecret.
            delivered: called at every event.
        """
        self._index = index
        self._look = look
        self._look_again = look_again
        self._gone = gone
        self._delivered = delivered
        self.last_event = time.monotonic()
        """Time of the last event, in seconds of the monotonic clock."""

    def rotated_secret(self, kind: str | None, obj: Mapping[str, Any]) -> None:
        """Handle a RotatedSecret that was listed, created, changed or deleted."""
        self._note()
        key = _key(obj)
        if kind == "DELETED":
            self.forget(key, obj["metadata"]["uid"])
        elif self._index.observe(obj):
            self._look(key)

    def target_secret(self, obj: Mapping[str, Any]) -> None:
        """Handle a Secret with our label that was listed, created, changed or deleted, or that lost the label."""
        self._note()
        secret, version = _key(obj), obj["metadata"]["resourceVersion"]
        for owner in self._named_owner(obj).union(islice(self._index.owners_of(secret), MOST_OWNERS)):
            if self._index.needs_look(owner, version):
                self._look(owner)

    def forget(self, key: Key, uid: str | None = None) -> None:
        """Handle a RotatedSecret that is gone: look once more to clean up, and look at others on its secret."""
        rivals = self._index.forget(key, uid)
        if self._index.uid(key) is None:
            self._gone(key)
        self._look(key)
        for rival in rivals:
            self._look_again(rival)

    def _named_owner(self, secret: Mapping[str, Any]) -> set[Key]:
        """The RotatedSecret in the Secret's annotation, if it exists in the namespace: its spec may name another target
        now."""
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
