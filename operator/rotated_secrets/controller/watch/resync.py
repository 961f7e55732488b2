"""The resync: lists all RotatedSecrets regularly, and finds changes and deletions that the watch missed.

A watch that was cut off for too long starts again from a new list, which does not show what was deleted before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from rotated_secrets.api.key import Key
from rotated_secrets.cluster import ClusterError, Forbidden, NotFound
from rotated_secrets.controller.watch.handlers import Handlers
from rotated_secrets.controller.watch.index import Index
from rotated_secrets.controller.watch.resources import Resources

log = logging.getLogger(__name__)

SPREAD = 0.5
"""The part of the interval over which the looks are spread."""
BATCH = 20
"""RotatedSecrets that are enqueued at once."""


async def resync(
    resources: Resources, index: Index, handlers: Handlers, look: Callable[[Key], None], interval: float
) -> None:
    """Correct the index and enqueue everything, every ``interval`` seconds, until cancelled."""
    while True:
        await asyncio.sleep(interval)
        try:
            listed = await asyncio.to_thread(reconcile_index, resources, index, handlers)
        except ClusterError as error:
            log.warning("could not list the RotatedSecrets; tries again in %.0f s: %s", interval, error)
            continue
        except Exception:
            log.exception("could not list the RotatedSecrets; tries again in %.0f s", interval)
            continue
        for start in range(0, len(listed), BATCH):
            for key in listed[start : start + BATCH]:
                look(key)
            await asyncio.sleep(interval * SPREAD * BATCH / len(listed))


def reconcile_index(resources: Resources, index: Index, handlers: Handlers) -> list[Key]:
    """Remove from the index what no longer exists, and add what is missing. Blocks.

    A namespace that is refused is left as it is, unless there is no other.

    Returns:
        Every RotatedSecret that was found.

    Raises:
        ClusterError: nothing can be listed.
    """
    # Taken before the list: an object that is created during the list is in neither, and must not be removed.
    before = index.uids()
    listed: dict[Key, str] = {}
    left_out = set()
    for namespace in resources.places:
        try:
            listed |= _listed(resources, namespace)
        except (Forbidden, NotFound) as error:
            if len(resources.places) == 1:
                raise
            log.warning("could not list the RotatedSecrets of namespace %s: %s", namespace, error)
            left_out.add(namespace)
    for key, uid in before.items():
        if listed.get(key) != uid and key.namespace not in left_out:
            log.info("RotatedSecret %s was deleted, and the watch did not show it", key)
            handlers.forget(key, uid)
    for key, uid in listed.items():
        if index.uid(key) != uid and (found := resources.see(key)) is not None:
            handlers.rotated_secret(None, found)
    return list(listed)


def _listed(resources: Resources, namespace: str) -> dict[Key, str]:
    """Return the uids of the RotatedSecrets there. Raises: ClusterError."""
    return {
        Key(each["metadata"]["namespace"], each["metadata"]["name"]): each["metadata"]["uid"]
        for page in resources.metadata_pages(namespace)
        for each in page
    }
