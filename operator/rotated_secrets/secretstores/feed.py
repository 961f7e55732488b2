"""Which secrets moved in the store without us: a person, a Lambda, another operator.

The comparison is pure; asking is one ListSecrets call a hundred secrets, never one a secret. Must not know who is
interested in a secret or what they do about it.
"""

from __future__ import annotations

import logging
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
        """What changed since the last time; the first time, every secret of which nothing else was noted.

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
    """Lists an identity's own account, a hundred secrets a call.

    Secrets of other accounts are in no list: those that were noted are described one by one. So are all, where the
    identity may not list and ``lists_only`` does not forbid it.
    """

    def __init__(
        self,
        store: SecretStore,
        account: str,
        *,
        whom: str = "",
        lists_only: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """What one identity sees in one region.

        Args:
            store: that identity's.
            account: it belongs to.
            whom: it is, in words.
            lists_only: whether to have no changes rather than pay for a call for each secret.
            clock: in seconds.
        """
        self._store = store
        self._account = account
        self._whom = whom
        self._lists_only = lists_only
        self._clock = clock
        self._may_not_list_until = 0.0
        self._before: dict[Arn, SecretSummary] = {}
        self._known: dict[Arn, Stages] = {}
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

    def changes(self) -> list[Change]:
        """See :class:`ChangeFeed`. One caller at a time."""
        listed = self._listed()
        now = listed or {}
        with self._lock:
            alone = [arn for arn in self._known if listed is None or account_of(arn) != self._account]
        for arn in alone:
            row = self._described(arn)
            if row is not None:
                now[arn] = row
        with self._lock:
            known = dict(self._known)
        before, self._before = self._before, now
        if listed is None:
            before = {arn: row for arn, row in before.items() if arn in alone}
        return list(differences(before, now, known))

    def _listed(self) -> dict[Arn, SecretSummary] | None:
        """Every secret of the account; None where the identity may not list them."""
        if self._clock() < self._may_not_list_until:
            return None
        try:
            found = {row.arn: row for row in self._store.list_summaries()}
        except AccessDenied as error:
            if self._lists_only:
                raise
            if not self._may_not_list_until:
                log.warning("each secret of %s is described at each poll, by one call each: %s", self._whom, error)
            self._may_not_list_until = self._clock() + LIST_AGAIN
            return None
        self._may_not_list_until = 0.0
        return found

    def _described(self, arn: Arn) -> SecretSummary | None:
        try:
            found = self._store.describe(arn)
        except SecretNotFound:
            return None
        except StoreError as error:
            # Whoever asked for this secret is told by their own call; the others' changes must not wait for it.
            log.debug("no word of %s at this poll, so it counts as it was: %s", arn, error)
            return self._before.get(arn)
        return SecretSummary(found.arn, found.name, found.stages) if found.deleted_at is None else None


def account_of(arn: Arn) -> str:
    """The account that owns a secret: the fifth part of ``arn:partition:secretsmanager:region:account:secret:name``."""
    return arn.split(":", 5)[4]
