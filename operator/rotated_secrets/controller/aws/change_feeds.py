"""Enqueues RotatedSecrets whose secret changed in the store without us: one poll for each identity and region.

Knows neither how changes are found nor what a look does about them.
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
from rotated_secrets.secretstores.base import AwsRotation, Stages, StoreError
from rotated_secrets.secretstores.feed import PollFeed
from rotated_secrets.values import Arn

log = logging.getLogger(__name__)

PARALLEL_POLLS: Final = 4
"""Polls at the same time, for identities that are not the operator's own."""
LONGEST_POLL: Final = 20.0
"""Seconds after which such a poll describes no more secrets; the next poll begins with the remaining ones."""
POLL_TIMEOUT: Final = 10.0
"""Seconds for which all of them together may delay the operator's own next poll."""


@dataclass(frozen=True)
class _Source:
    """An identity and a region: each pair has one feed."""

    identity: Identity
    region: str


class ChangeFeeds:
    """Change feeds of all identities and regions in which a look has read a secret. Safe from any thread."""

    def __init__(self, identities: Identities, index: Index, look: Callable[[Key], None]) -> None:
        self._identities = identities
        self._index = index
        self._look = look
        self._lock = threading.Lock()
        self._feeds: dict[_Source, PollFeed] = {}
        self._follows: dict[Key, tuple[_Source, Arn]] = {}
        self._followers: defaultdict[tuple[_Source, Arn], set[Key]] = defaultdict(set)
        self._pool = ThreadPoolExecutor(PARALLEL_POLLS, thread_name_prefix="poll")
        self._running: dict[_Source, Future[None]] = {}

    def track(
        self,
        key: Key,
        identity: Identity,
        region: str,
        arn: Arn,
        stages: Stages,
        aws_rotation: AwsRotation | None = None,
    ) -> None:
        """Track this secret for a RotatedSecret, with what this identity just read or wrote of it.

        May ask AWS for the identity's account, once.

        Raises:
            StoreError: AWS did not return the account.
        """
        source = _Source(identity, region)
        account = identity.account
        with self._lock:
            if self._follows.get(key) != (source, arn):
                self._unfollow(key)
                self._follows[key] = (source, arn)
                self._followers[source, arn].add(key)
            if source not in self._feeds:
                self._feeds[source] = self._feed(source, account)
            self._feeds[source].track(arn, stages, aws_rotation)

    def forget(self, key: Key) -> None:
        """Track nothing for this RotatedSecret any more."""
        with self._lock:
            self._unfollow(key)

    def poll(self, timeout: float = math.inf) -> None:
        """Poll once for each identity and region in which a secret is tracked. Blocks; one caller at a time.

        Regions and secrets of RotatedSecrets that may not use their secret are not polled, nor are identities that no
        RotatedSecret may use any more. The operator's own identity is polled first. Other polls that take longer than
        ``timeout`` seconds continue in the background, and are not started again before they end.
        """
        for source, feed in self._sources():
            if source.identity is self._identities.own:
                self._poll(source, feed)
        changed, unknown = self._identities.review()
        for key in changed:
            self._look(key)
        for source, feed in self._sources():
            last = self._running.get(source)
            if source.identity is not self._identities.own and (last is None or last.done()):
                if source.identity in unknown:
                    self._running.pop(source, None)
                else:
                    self._running[source] = self._pool.submit(self._poll, source, feed)
        wait(self._running.values(), None if timeout == math.inf else timeout)
        self._running = {source: poll for source, poll in self._running.items() if not poll.done()}

    def _sources(self) -> list[tuple[_Source, PollFeed]]:
        with self._lock:
            return list(self._feeds.items())

    def _feed(self, source: _Source, account: str) -> PollFeed:
        identity, region = source.identity, source.region
        if identity is self._identities.own:
            # Also secrets that no look has read yet: a new secret wakes the RotatedSecrets that wait for it.
            include: Callable[[Arn], bool] = lambda arn: bool(self._index.named_by_operator(arn))  # noqa: E731
            return PollFeed(lambda: identity.stores.at(region), account, identity_name=str(identity), include=include)
        return PollFeed(lambda: identity.stores.at(region), account, identity_name=str(identity), seconds=LONGEST_POLL)

    def _affected(self, source: _Source, arn: Arn) -> set[Key]:
        """RotatedSecrets to look at: only those that use this identity, so that others learn nothing from its feed."""
        if source.identity is self._identities.own:
            return self._index.named_by_operator(arn)
        with self._lock:
            return set(self._followers.get((source, arn), ()))

    def _poll(self, source: _Source, feed: PollFeed) -> None:
        identity = "" if source.identity is self._identities.own else f" as {source.identity}"
        with self._lock:
            if self._feeds.get(source) is not feed:
                return  # removed while the poll waited for a thread
        try:
            for change in feed.changes():
                for key in self._affected(source, change.arn):
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

    def _unfollow(self, key: Key) -> None:
        """Stop tracking; remove the secret and the feed when no key uses them, so that no identity is kept."""
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
                await limits.run(self.poll, min(interval, POLL_TIMEOUT))
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)
