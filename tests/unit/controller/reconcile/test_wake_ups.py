"""For how long a RotatedSecret rests: one table, in which every reason stands."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.status import Reason, RotatedSecretStatus
from rotated_secrets.controller.reconcile.wake_ups import CHECK_EVERY, RECHECK, WAKE_UPS, Rest, rest_after
from rotated_secrets.delivery.target import TargetKind, TargetState
from rotated_secrets.rotation.actions import Hold, Sleep
from rotated_secrets.rotation.observation import Login, Observation, Obstacle, Terms
from rotated_secrets.secretstores.base import StoredVersion
from rotated_secrets.values import Arn, SecretValue, VersionId

NOW = datetime(2026, 11, 29, tzinfo=UTC)
ARN = Arn("arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/orders-AbCdEf")
SOON, LATER = NOW + timedelta(minutes=2), NOW + timedelta(hours=2)


@pytest.fixture
def seen() -> Observation:
    terms = Terms(ARN, Rotation(strategy=Strategy.RANDOM_VALUE), None, None, NOW, endpoint=None)
    current = StoredVersion(VersionId("v"), SecretValue.parse("text"), NOW, ARN)
    return Observation.first(terms, {}, current, RotatedSecretStatus())


def test_every_reason_says_what_ends_it() -> None:
    assert set(WAKE_UPS) == set(Reason)


def test_nothing_to_do_rests_until_something_happens_or_is_due(seen: Observation) -> None:
    assert rest_after(seen, Sleep(None), NOW) == Rest(None)
    assert rest_after(seen, Sleep(LATER), NOW) == Rest(LATER)


@pytest.mark.parametrize("reason", [Reason.SUSPENDED, Reason.UNSYNCED])
def test_hold_that_a_watch_ends_rests_until_then(seen: Observation, reason: Reason) -> None:
    assert rest_after(seen, Hold(reason, "held"), NOW) == Rest(None)


@pytest.mark.parametrize("reason", [Reason.MANAGED_ELSEWHERE, Reason.VERIFY_QUERIES_FAILED, Reason.TOO_MANY_REQUESTS])
def test_hold_that_nothing_shows_the_end_of_is_looked_at_again(seen: Observation, reason: Reason) -> None:
    assert rest_after(seen, Hold(reason, "held"), NOW) == Rest(NOW + RECHECK)
    assert rest_after(seen, Hold(reason, "held", LATER), NOW) == Rest(NOW + RECHECK)
    assert rest_after(seen, Hold(reason, "held", SOON), NOW) == Rest(SOON)


def test_login_that_was_rejected_is_not_tried_sooner_for_what_is_due(seen: Observation) -> None:
    """Many databases lock a user out after a few."""
    rejected = replace(seen, login=Login.REJECTED)
    assert rest_after(rejected, Sleep(SOON), NOW) == Rest(NOW + RECHECK)
    assert rest_after(rejected, Hold(Reason.LOGIN_FAILED, "held", SOON), NOW) == Rest(NOW + RECHECK)


def test_rights_that_a_clone_lacks_are_looked_at_again(seen: Observation) -> None:
    assert rest_after(replace(seen, missing_rights=("x",)), Sleep(LATER), NOW) == Rest(NOW + RECHECK)


@pytest.mark.parametrize("reason", [Reason.INVALID_SPEC, Reason.ACCESS_DENIED])
def test_obstacle_is_looked_at_again_though_nothing_is_due(seen: Observation, reason: Reason) -> None:
    assert rest_after(replace(seen, obstacle=Obstacle(reason, "x")), Sleep(LATER), NOW) == Rest(NOW + RECHECK)


@pytest.mark.parametrize(
    "reason", [Reason.SECRET_CONFLICT, Reason.NOT_OURS, Reason.SECRET_TYPE_IMMUTABLE, Reason.TEMPLATE_FAILED, None]
)
def test_secret_in_the_way_is_checked_each_minute(seen: Observation, reason: Reason | None) -> None:
    blocked = replace(seen, target=TargetState(TargetKind.CONFLICT, reason=reason))
    assert rest_after(blocked, Sleep(LATER), NOW) == Rest(LATER, CHECK_EVERY)
    assert rest_after(blocked, Hold(Reason.UNSYNCED, "held"), NOW) == Rest(None, CHECK_EVERY)


def test_secret_that_is_not_in_the_way_is_not(seen: Observation) -> None:
    for kind in (TargetKind.EQUAL, TargetKind.DIFFERS, TargetKind.ABSENT):
        assert rest_after(replace(seen, target=TargetState(kind)), Sleep(None), NOW) == Rest(None)
