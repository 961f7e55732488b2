"""Which secrets moved in the store without us: a person, a Lambda, another operator.

The comparison is pure; asking is one ListSecrets call a hundred secrets, or one DescribeSecret a secret where that
takes no more calls. Must not know who is interested in a secret or what they do about it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from rotated_secrets.secretstores.base import (
    AccessDenied,
    SecretNotFound,
    SecretStore,
    SecretSummary,
    Stages,
    StoreError,
)
from rotated_secrets.values import Arn

log = logging.getLogger(__name__)

PAGE: Final = 100
"""Rows of one ListSecrets call. Source: ``MaxResults``, API_ListSecrets."""
LIST_AGAIN: Final = 3600.0
"""Seconds until an identity that may not list is seen whether it may now."""


@dataclass(frozen=True)
class Change:
    """A secret whose stages are not what was known of it."""

    arn: Arn
    name: str
    stages: Stages | None
    """Which versions carry which stages now; None for a secret that is gone or scheduled for deletion."""


class ChangeFeed(Protocol):
    """Tells of changes in one region. Safe to use from several threads."""

    def noted(self, arn: Arn, stages: Stages) -> None:
        """What someone has just read of a secret, or written: no change for this feed to tell of."""

    def forget(self, arn: Arn) -> None:
        """Nobody is interested in this secret any more."""

    def changes(self) -> list[Change]:
        """What changed since the last time, of the secrets that matter; the first time, what was not noted so.

        Raises: StoreError, as the store's own calls; what was known stays as it was, so nothing is lost.
        """


def differences(
    before: Mapping[Arn, SecretSummary], now: Mapping[Arn, SecretSummary], known: Mapping[Arn, Stages]
) -> Iterator[Change]:
    """Compare two listings, and with what is known already.

    A listing may lag some minutes behind (Source: API_ListSecrets). So a secret counts as changed when its row differs
    from the last listing's *and* from what is known: an old row that keeps coming after our own write tells nothing
    new, nor does the row that catches up with that write.
    """
    for arn, row in now.items():
        last = before.get(arn)
        if (last is None or last.stages != row.stages) and known.get(arn) != row.stages:
            yield Change(arn, row.name, row.stages)
    for arn, row in before.items():
        if arn not in now:
            yield Change(arn, row.name, None)


class PollFeed:
    """Asks after the secrets that were noted, and keeps a row of none that does not matter.

    Secrets of other accounts are in no list: they are described one by one. So are all, where that is no more calls
    than a listing, or where the identity may not list, unless ``also`` is given.
    """

    def __init__(
        self,
        store: Callable[[], SecretStore],
        account: str,
        *,
        whom: str = "",
        also: Callable[[Arn], bool] | None = None,
        seconds: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """What one identity sees in one region.

        Args:
            store: gives that identity's.
            account: it belongs to.
            whom: it is, in words.
            also: says which secrets matter besides those that were noted. Where it is given the account is always
                listed, and there are no changes where it may not be.
            seconds: after which a poll describes no more secrets; the next goes on with those that were left.
            clock: in seconds.
        """
        self._store = store
        self._account = account
        self._whom = whom
        self._also = also
        self._seconds = seconds
        self._clock = clock
        self._may_not_list_until = 0.0
        self._pages = 1
        """That the last listing took."""
        self._before: dict[Arn, SecretSummary] = {}
        self._known: dict[Arn, Stages] = {}
        """Those that were described longest ago come first."""
        self._lock = threading.Lock()

    def noted(self, arn: Arn, stages: Stages) -> None:
        """See :class:`ChangeFeed`."""
        with self._lock:
            self._known[arn] = stages

    def forget(self, arn: Arn) -> None:
        """See :class:`ChangeFeed`."""
        with self._lock:
            self._known.pop(arn, None)

    def follows_any(self) -> bool:
        """Whether anybody is interested in a secret here."""
        with self._lock:
            return bool(self._known)

    def __len__(self) -> int:
        """Rows that are kept for the next comparison."""
        return len(self._before)

    def changes(self) -> list[Change]:
        """See :class:`ChangeFeed`. One caller at a time."""
        with self._lock:
            followed = dict(self._known)
        ours = sum(arn.account == self._account for arn in followed)
        listed = self._listed(followed) if self._also is not None or ours > self._pages else None
        now = listed or {}
        until = self._clock() + self._seconds
        for arn in followed:
            if listed is None or arn.account != self._account:
                row = self._described(arn) if self._clock() < until else self._before.get(arn)
                if row is not None:
                    now[arn] = row
        with self._lock:
            known = dict(self._known)
        before = {arn: row for arn, row in self._before.items() if self._matters(arn, followed)}
        self._before = now
        return list(differences(before, now, known))

    def _matters(self, arn: Arn, followed: Mapping[Arn, Stages]) -> bool:
        return arn in followed or (self._also is not None and self._also(arn))

    def _listed(self, followed: Mapping[Arn, Stages]) -> dict[Arn, SecretSummary] | None:
        """What matters of the account's secrets; None where the identity may not list them."""
        if self._clock() < self._may_not_list_until:
            return None
        found: dict[Arn, SecretSummary] = {}
        rows = 0
        try:
            for row in self._store().list_summaries():
                rows += 1
                if self._matters(row.arn, followed):
                    found[row.arn] = row
        except AccessDenied as error:
            if self._also is not None:
                raise
            if not self._may_not_list_until:
                log.warning("each secret of %s is described at each poll, by one call each: %s", self._whom, error)
            self._may_not_list_until = self._clock() + LIST_AGAIN
            return None
        self._may_not_list_until = 0.0
        self._pages = max(1, math.ceil(rows / PAGE))
        return found

    def _described(self, arn: Arn) -> SecretSummary | None:
        with self._lock:
            if arn in self._known:
                self._known[arn] = self._known.pop(arn)
        try:
            found = self._store().describe(arn)
        except SecretNotFound:
            return None
        except StoreError as error:
            # Whoever asked for this secret is told by their own call; the others' changes must not wait for it.
            log.debug("no word of %s at this poll, so it counts as it was: %s", arn, error)
            return self._before.get(arn)
        return SecretSummary(found.arn, found.name, found.stages) if found.deleted_at is None else None
