"""Looks at the RotatedSecrets whose secret moved in the store without us: one poll for all of an identity and region.

Knows nothing of how changes are found, nor of what a look does about them.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from rotated_secrets.controller.identities import Identities, Identity
from rotated_secrets.controller.key import Key
from rotated_secrets.controller.registry import Registry
from rotated_secrets.controller.slots import Slots
from rotated_secrets.secretstores.base import Stages, StoreError
from rotated_secrets.secretstores.feed import PollFeed
from rotated_secrets.values import Arn

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Place:
    """Where somebody listens: one feed each."""

    identity: Identity
    region: str


class Feeds:
    """The change feeds of the identities and regions that a look has read from. Safe from any thread."""

    def __init__(self, identities: Identities, registry: Registry, look: Callable[[Key], None]) -> None:
        self._identities = identities
        self._registry = registry
        self._look = look
        self._lock = threading.Lock()
        self._feeds: dict[_Place, PollFeed] = {}
        self._follows: dict[Key, tuple[_Place, Arn]] = {}
        self._followers: defaultdict[tuple[_Place, Arn], set[Key]] = defaultdict(set)

    def noted(self, key: Key, identity: Identity, region: str, arn: Arn, stages: Stages) -> None:
        """A RotatedSecret follows this secret, which was read or written by this identity and looks so now.

        May ask AWS who we are, once.

        Raises:
            StoreError: AWS doesn't say.
        """
        place = _Place(identity, region)
        account = identity.stores.account()
        with self._lock:
            if self._follows.get(key) != (place, arn):
                self._leave(key)
                self._follows[key] = (place, arn)
                self._followers[place, arn].add(key)
            if place not in self._feeds:
                store = identity.stores.at(region)
                is_own = identity is self._identities.own
                self._feeds[place] = PollFeed(store, account, whom=str(identity), lists_only=is_own)
            self._feeds[place].noted(arn, stages)

    def forget(self, key: Key) -> None:
        """This RotatedSecret follows nothing any more."""
        with self._lock:
            self._leave(key)

    def poll(self) -> None:
        """Ask once for each identity and region in which a secret is followed. Blocks; one caller at a time.

        A region that only RotatedSecrets name which may not have their secret is never asked, and nothing is asked as
        somebody whom nobody may be any more.
        """
        changed, unsure = self._identities.review()
        for key in changed:
            self._look(key)
        with self._lock:
            feeds = list(self._feeds.items())
        for place, feed in feeds:
            if place.identity not in unsure:
                self._poll(place, feed)

    def _poll(self, place: _Place, feed: PollFeed) -> None:
        by = "" if place.identity is self._identities.own else f" by {place.identity}"
        try:
            for change in feed.changes():
                for key in self._registry.naming(change.arn):
                    self._look(key)
        except StoreError as error:
            log.warning(
                "changes in region %s%s are not known; asked again at the next poll: %s", place.region, by, error
            )
        except Exception:
            log.exception("changes in region %s%s are not known; asked again at the next poll", place.region, by)

    def _leave(self, key: Key) -> None:
        """What nobody follows is not asked about, and the feed of an identity that is gone does not keep it alive."""
        place, arn = self._follows.pop(key, (None, None))
        if place is None or arn is None:
            return
        followers = self._followers[place, arn]
        followers.discard(key)
        if not followers:
            del self._followers[place, arn]
            self._feeds[place].forget(arn)
            if not self._feeds[place].follows_any():
                del self._feeds[place]

    async def run(self, slots: Slots, interval: float) -> None:
        """Poll every ``interval`` seconds, until cancelled."""
        while True:
            await asyncio.sleep(interval)
            await slots.run(self.poll)
