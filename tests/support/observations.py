"""Observations of versions, where nothing else matters."""

from __future__ import annotations

from rotated_secrets.api.status import RotatedSecretStatus
from rotated_secrets.rotation.observation import Observation, Terms
from rotated_secrets.secretstores.base import StoredVersion


def seen(terms: Terms, current: StoredVersion, pending: StoredVersion | None = None) -> Observation:
    """AWSCURRENT and, where it is given, AWSPENDING have been read."""
    first = Observation.first(terms, {}, current, RotatedSecretStatus())
    return first if pending is None else first.with_pending(pending, terms)
