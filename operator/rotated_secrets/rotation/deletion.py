"""What becomes of a rotation whose RotatedSecret is deleted: it is rolled back, and no other one begins. Pure.

Invariant: when it has ended, AWSCURRENT logs in and is what the target Secret holds, and no version that the operator
made carries AWSPENDING. It is completed only if AWSCURRENT has moved already, or if the database refuses the old
password of its only user.

The status is deleted with its RotatedSecret. So an entry in the operator's journal, written before the first side
effect, holds the claim as it began; how far the rotation got is not in it, and the worst is assumed.
"""

from __future__ import annotations

from datetime import datetime

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.status import RotatedSecretStatus, Step
from rotated_secrets.rotation.actions import Abandon, Action, WriteStatus
from rotated_secrets.rotation.observation import Observation, Terms
from rotated_secrets.rotation.policies import is_ours, is_stale
from rotated_secrets.rotation.status_updates import ended, resumed, retains, with_claim, with_failure

DELETED = "the RotatedSecret was deleted in the middle of this rotation"
"""Why a rotation is rolled back that nothing else is wrong with."""


def needs_entry(status: RotatedSecretStatus, strategy: Strategy) -> bool:
    """Whether the journal has to hold an entry before this status is written. With External, AWS itself rotates."""
    return status.rotation is not None and strategy is not Strategy.EXTERNAL


def as_left_behind(status: RotatedSecretStatus, terms: Terms) -> RotatedSecretStatus:
    """Return the status of a deleted RotatedSecret: the claim of its entry, with the password maybe set."""
    return with_claim(status, step=Step.SET if terms.has_database else Step.CREATE, retains=retains(terms))


def undo_if_deleted(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Decide to roll back the rotation of a RotatedSecret that was deleted: what pods hold then logs in again."""
    claim, pending_id = seen.claim, seen.pending_id
    if not terms.deleted or claim is None or pending_id is None or claim.failure is not None:
        return None
    if not is_ours(seen, terms):
        return None if is_stale(seen, terms) else WriteStatus(ended(seen, terms, claim, now))
    if claim.version_id != pending_id:
        return WriteStatus(resumed(seen, terms, pending_id, now))
    return WriteStatus(with_failure(seen.status, DELETED)) if terms.has_database else Abandon(pending_id)
