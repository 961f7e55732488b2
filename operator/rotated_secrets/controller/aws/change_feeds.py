"""Looks at the RotatedSecrets whose secret moved in the store without us: one poll for all of an identity and region.

Knows nothing of how changes are found, nor of what a look does about them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final

from rotated_secrets.api.key import Key
from rotated_secrets.controller.aws.identities import Identities, Identity
from rotated_secrets.controller.watch.index import Index
from rotated_secrets.controller.work.limits import Limits
from rotated_secrets.secretstores.base import Stages, StoreError
from rotated_secrets.secretstores.feed import PollFeed
from rotated_secrets.values import Arn

log = logging.getLogger(__name__)

AT_A_TIME: Final = 4
"""Polls of identities that are not the operator's own."""
LONGEST: Final = 20.0
"""Seconds after which such a poll describes no more secrets; those that were left come first at the next."""
PATIENCE: Final = 10.0
"""Seconds that all of them may hold up the operator's own next poll."""


@dataclass(frozen=True)
class _Source:
    """Where somebody listens: one feed each."""

    identity: Identity
    region: str


class ChangeFeeds:
    """The change feeds of the identities and regions that a look has read from. Safe from any thread."""

    def __init__(self, identities: Identities, index: Index, look: Callable[[Key], None]) -> None:
        self._identities = identities
        self._index = index
        self._look = look
        self._lock = threading.Lock()
        self._feeds: dict[_Source, PollFeed] = {}
        self._follows: dict[Key, tuple[_Source, Arn]] = {}
        self._followers: defaultdict[tuple[_Source, Arn], set[Key]] = defaultdict(set)
        self._pool = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="poll")
        self._under_way: dict[_Source, Future[None]] = {}

    def track(self, key: Key, identity: Identity, region: str, arn: Arn, stages: Stages) -> None:
        """A RotatedSecret follows this secret, which was read or written by this identity and looks so now.

        May ask AWS who we are, once.

        Raises:
            StoreError: AWS doesn't say.
        """
        source = _Source(identity, region)
        account = identity.account
        with self._lock:
            if self._follows.get(key) != (source, arn):
                self._leave(key)
                self._follows[key] = (source, arn)
                self._followers[source, arn].add(key)
            if source not in self._feeds:
                self._feeds[source] = self._feed(source, account)
            self._feeds[source].track(arn, stages)

    def forget(self, key: Key) -> None:
        """This RotatedSecret follows nothing any more."""
        with self._lock:
            self._leave(key)

    def poll(self, patience: float = math.inf) -> None:
        """Ask once for each identity and region in which a secret is followed. Blocks; one caller at a time.

        A region that only RotatedSecrets name which may not have their secret is never asked, and nothing is asked as
        somebody whom nobody may be any more. The operator asks as itself first; who is not done with after
        ``patience`` seconds goes on meanwhile, and is not asked again before that ends.
        """
        for source, feed in self._sources():
            if source.identity is self._identities.own:
                self._poll(source, feed)
        changed, unsure = self._identities.review()
        for key in changed:
            self._look(key)
        for source, feed in self._sources():
            last = self._under_way.get(source)
            if source.identity is not self._identities.own and (last is None or last.done()):
                if source.identity in unsure:
                    self._under_way.pop(source, None)
                else:
                    self._under_way[source] = self._pool.submit(self._poll, source, feed)
        wait(self._under_way.values(), None if patience == math.inf else patience)
        self._under_way = {source: poll for source, poll in self._under_way.items() if not poll.done()}

    def _sources(self) -> list[tuple[_Source, PollFeed]]:
        with self._lock:
            return list(self._feeds.items())

    def _feed(self, source: _Source, account: str) -> PollFeed:
        identity, region = source.identity, source.region
        if identity is self._identities.own:
            # Also what nobody has read yet: a secret that comes into being is looked at by those that wait for it.
            also: Callable[[Arn], bool] = lambda arn: bool(self._index.operators(arn))  # noqa: E731
            return PollFeed(lambda: identity.stores.at(region), account, identity_name=str(identity), include=also)
        return PollFeed(lambda: identity.stores.at(region), account, identity_name=str(identity), seconds=LONGEST)

    def _interested(self, source: _Source, arn: Arn) -> set[Key]:
        """Who has this secret asked for by this identity. What it is told tells others nothing."""
        if source.identity is self._identities.own:
            return self._index.operators(arn)
        with self._lock:
            return set(self._followers.get((source, arn), ()))

    def _poll(self, source: _Source, feed: PollFeed) -> None:
        identity = "" if source.identity is self._identities.own else f" as {source.identity}"
        with self._lock:
            if self._feeds.get(source) is not feed:
                return  # forgotten while it waited for its turn
        try:
            for change in feed.changes():
                for key in self._interested(source, change.arn):
                    self._look(key)
        except StoreError as error:
            log.warning(
                "could not list changed secrets in region %s%s; tries again at the next poll: %s",
                source.region,
                identity,
                error,
            )
        except Exception:
            log.exception(
                "could not list changed secrets in region %s%s; tries again at the next poll", source.region, identity
            )

    def _leave(self, key: Key) -> None:
        """What nobody follows is not asked about, and the feed of an identity that is gone does not keep it alive."""
        source, arn = self._follows.pop(key, (None, None))
        if source is None or arn is None:
            return
        followers = self._followers[source, arn]
        followers.discard(key)
        if not followers:
            del self._followers[source, arn]
            self._feeds[source].forget(arn)
            if not self._feeds[source].tracks_any():
                del self._feeds[source]

    async def run(self, limits: Limits, interval: float) -> None:
        """Poll every ``interval`` seconds, until cancelled."""
        try:
            while True:
                await asyncio.sleep(interval)
                await limits.run(self.poll, min(interval, PATIENCE))
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)
