"""Looks at the RotatedSecrets whose secret moved in the store without us: one poll for all of a region.

Knows nothing of how changes are found, nor of what a look does about them.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from rotated_secrets.controller.key import Key
from rotated_secrets.controller.registry import Registry
from rotated_secrets.controller.slots import Slots
from rotated_secrets.secretstores.aws import AwsStores
from rotated_secrets.secretstores.base import StoreError
from rotated_secrets.secretstores.feed import PollFeed

log = logging.getLogger(__name__)


class Feeds:
    """The change feeds of the regions that a look has read from. Safe from any thread."""

    def __init__(self, stores: AwsStores, registry: Registry, look: Callable[[Key], None]) -> None:
        self._stores = stores
        self._registry = registry
        self._look = look
        self._lock = threading.Lock()
        self._feeds: dict[str, PollFeed] = {}

    def at(self, region: str) -> PollFeed:
        """The feed of one region, to note there what was read and written. May ask AWS who we are, once.

        Raises:
            StoreError: AWS doesn't say.
        """
        account = self._stores.account()
        with self._lock:
            if region not in self._feeds:
                self._feeds[region] = PollFeed(self._stores.at(region), account)
            return self._feeds[region]

    def poll(self) -> None:
        """Ask each region once in which a secret is followed. Blocks; one caller at a time.

        A region that only RotatedSecrets name which may not have their secret is never asked.
        """
        with self._lock:
            feeds = list(self._feeds.items())
        for region, feed in feeds:
            if not feed.follows_any():
                continue
            try:
                for change in feed.changes():
                    for key in self._registry.naming(change.arn):
                        self._look(key)
            except StoreError as error:
                log.warning("changes in region %s are not known; asked again at the next poll: %s", region, error)
            except Exception:
                log.exception("changes in region %s are not known; asked again at the next poll", region)

    async def run(self, slots: Slots, interval: float) -> None:
        """Poll every ``interval`` seconds, until cancelled."""
        while True:
            await asyncio.sleep(interval)
            await slots.run(self.poll)
