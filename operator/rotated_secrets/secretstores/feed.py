"""Detects changes in the store that others made: a person, a Lambda, another operator.

The comparison is pure. A poll takes one ListSecrets call for a hundred secrets, or one DescribeSecret call for each
secret if that takes no more calls. Must not know who uses a secret, nor what a change causes.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from rotated_secrets.secretstores.base import (
    AccessDenied,
    AwsRotation,
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
LIST_RETRY_SECONDS: Final = 3600.0
"""Seconds after which ListSecrets is tried again with an identity that was denied."""


@dataclass(frozen=True)
class Change:
    """A secret that differs from what is known of it."""

    arn: Arn
    name: str
    stages: Stages | None
    """The present stages of its versions; None for a secret that is gone or scheduled for deletion."""


class ChangeFeed(Protocol):
    """Reports changes in one region. Safe to use from several threads."""

    def track(self, arn: Arn, stages: Stages, aws_rotation: AwsRotation | None = None) -> None:
        """Track a secret with what was just read or written of it: this is not reported as a change."""

    def forget(self, arn: Arn) -> None:
        """Stop tracking this secret."""

    def changes(self) -> list[Change]:
        """Return the relevant changes since the last call; the first call compares with the tracked stages.

        Raises: StoreError, as the store's calls; the known stages are kept, so no change is lost.
        """


def differences(
    before: Mapping[Arn, SecretSummary],
    now: Mapping[Arn, SecretSummary],
    known: Mapping[Arn, Stages],
    known_rotations: Mapping[Arn, AwsRotation] = MappingProxyType({}),
) -> Iterator[Change]:
    """Compare a listing with the last one and with what is known.

    A listing may lag by some minutes (Source: API_ListSecrets). So a secret counts as changed if its row differs from
    the last listing *and* from what is known: then neither an outdated row after the operator's own write nor the
    row that shows this write is reported.
    """
    for arn, row in now.items():
        last = before.get(arn)
        moved = (last is None or last.stages != row.stages) and known.get(arn) != row.stages
        # Without a version that moves: a replica was promoted, or a person has AWS rotate it, or no longer.
        last_rotation = last.aws_rotation if last is not None else row.aws_rotation
        known_rotation = known_rotations.get(arn, last_rotation)
        if moved or (known_rotation != row.aws_rotation and (last is None or last_rotation != row.aws_rotation)):
            yield Change(arn, row.name, row.stages)
    for arn, row in before.items():
        if arn not in now:
            yield Change(arn, row.name, None)


class PollFeed:
    """Polls tracked secrets, and keeps no rows of other secrets.

    Secrets of other accounts are in no listing: they are described one by one. All secrets are, if that takes no more
    calls than a listing or if the identity may not list, unless ``include`` is given.
    """

    def __init__(
        self,
        store: Callable[[], SecretStore],
        account: str,
        *,
        identity_name: str = "",
        include: Callable[[Arn], bool] | None = None,
        seconds: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Poll one region with one identity.

        Args:
            store: returns the identity's store.
            account: the identity's account.
            identity_name: description of the identity, for the log.
            include: says which secrets are relevant besides the tracked ones. If it is given, the account is always
                listed, and a denied listing is raised.
            seconds: time after which a poll describes no more secrets; the next poll continues with the others.
            clock: returns seconds.
        """
        self._store = store
        self._account = account
        self._identity_name = identity_name
        self._include = include
        self._seconds = seconds
        self._clock = clock
        self._list_denied_until = 0.0
        self._pages = 1
        """Number of pages of the last listing."""
        self._before: dict[Arn, SecretSummary] = {}
        self._known: dict[Arn, Stages] = {}
        """Tracked secrets; those described longest ago come first."""
        self._known_rotations: dict[Arn, AwsRotation] = {}
        self._lock = threading.Lock()

    def track(self, arn: Arn, stages: Stages, aws_rotation: AwsRotation | None = None) -> None:
        """See :class:`ChangeFeed`."""
        with self._lock:
            self._known[arn] = stages
            if aws_rotation is not None:
                self._known_rotations[arn] = aws_rotation

    def forget(self, arn: Arn) -> None:
        """See :class:`ChangeFeed`."""
        with self._lock:
            self._known.pop(arn, None)
            self._known_rotations.pop(arn, None)

    def tracks_any(self) -> bool:
        """Whether any secret is tracked."""
        with self._lock:
            return bool(self._known)

    def __len__(self) -> int:
        """Number of rows that are kept for the next comparison."""
        return len(self._before)

    def changes(self) -> list[Change]:
        """See :class:`ChangeFeed`. Must not be called concurrently."""
        with self._lock:
            tracked = dict(self._known)
        ours = sum(arn.account == self._account for arn in tracked)
        listed = self._list(tracked) if self._include is not None or ours > self._pages else None
        now = listed or {}
        until = self._clock() + self._seconds
        for arn in tracked:
            if listed is None or arn.account != self._account:
                row = self._describe(arn) if self._clock() < until else self._before.get(arn)
                if row is not None:
                    now[arn] = row
        with self._lock:
            known, known_rotations = dict(self._known), dict(self._known_rotations)
        before = {arn: row for arn, row in self._before.items() if self._is_relevant(arn, tracked)}
        self._before = now
        return list(differences(before, now, known, known_rotations))

    def _is_relevant(self, arn: Arn, tracked: Mapping[Arn, Stages]) -> bool:
        return arn in tracked or (self._include is not None and self._include(arn))

    def _list(self, tracked: Mapping[Arn, Stages]) -> dict[Arn, SecretSummary] | None:
        """Return the relevant secrets of the account; None if the identity may not list them."""
        if self._clock() < self._list_denied_until:
            return None
        found: dict[Arn, SecretSummary] = {}
        rows = 0
        try:
            for row in self._store().list_summaries():
                rows += 1
                if self._is_relevant(row.arn, tracked):
                    found[row.arn] = row
        except AccessDenied as error:
            if self._include is not None:
                raise
            if not self._list_denied_until:
                log.warning(
                    "each secret of %s is described at each poll, by one call each: %s", self._identity_name, error
                )
            self._list_denied_until = self._clock() + LIST_RETRY_SECONDS
            return None
        self._list_denied_until = 0.0
        self._pages = max(1, math.ceil(rows / PAGE))
        return found

    def _describe(self, arn: Arn) -> SecretSummary | None:
        with self._lock:
            if arn in self._known:
                self._known[arn] = self._known.pop(arn)
        try:
            found = self._store().describe(arn)
        except SecretNotFound:
            return None
        except StoreError as error:
            # The reconciler sees this error at its own call; changes of other secrets must not wait for it.
            log.debug("%s could not be described at this poll, so it counts as unchanged: %s", arn, error)
            return self._before.get(arn)
        if found.deleted_at is not None:
            return None
        return SecretSummary(found.arn, found.name, found.stages, found.aws_rotation)
