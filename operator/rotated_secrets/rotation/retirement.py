"""Finds an old password that still has to be retired although the status does not say so. Pure.

The RotatedSecret whose rotation kept it may have been deleted and created again, have lost its status in a restore, or
have left the secret to a younger one. The stages survive all of that: an operator's rotation made AWSCURRENT from
AWSPREVIOUS if its id says so. Whether that password still works is not tried: a login that fails may lock an account,
and to retire a password that is gone changes nothing.
"""

from __future__ import annotations

from datetime import datetime

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.status import Retiring
from rotated_secrets.rotation.actions import Action, WriteStatus
from rotated_secrets.rotation.observation import Observation, Terms, version_at
from rotated_secrets.rotation.policies import attempt_runs
from rotated_secrets.rotation.strategies import descends_from, is_known_user
from rotated_secrets.values import Stage


def find_old_password(seen: Observation, terms: Terms, _now: datetime) -> Action | None:
    """Record AWSPREVIOUS's password as one that is to be retired; its time begins again with the delivery."""
    status, previous = seen.status, version_at(seen.stages, Stage.PREVIOUS)
    if terms.rotation.strategy is not Strategy.DUAL_PASSWORD or terms.deleted or attempt_runs(seen) or previous is None:
        return None
    made_here = any(seen.current_id == entry.version_id for entry in status.history)
    known = made_here or status.retiring is not None or status.alone_version_id == seen.current_id
    if known or not descends_from(terms.arn, [previous], seen.current_id):
        return None
    user = seen.current_credential.username
    if not is_known_user(terms.rotation, seen, user):
        return None
    return WriteStatus(status.model_copy(update={"retiring": Retiring(version_id=previous, user=user)}))
