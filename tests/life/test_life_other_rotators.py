"""Another rotator works on the same secret, and stops half-way or moves on: what the operator advises works."""

from __future__ import annotations

import uuid

import pytest

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.status import Outcome, Reason
from rotated_secrets.rotation import actions
from rotated_secrets.values import Stage, VersionId
from tests.life.conftest import pairs_with
from tests.support.advice import follow_advice
from tests.support.life import Died, Life, Place, die

each_with_users = pairs_with(Strategy.SINGLE_USER, Strategy.DUAL_PASSWORD, Strategy.ALTERNATING_USERS)


@each_with_users
def test_what_is_advised_about_a_rotator_that_died_after_set_works(life: Life, place: Place) -> None:
    theirs = _stopped_after_set(life, place)
    waiting = life.run()
    assert isinstance(waiting, actions.Hold) and waiting.reason is Reason.MANAGED_ELSEWHERE, waiting
    assert life.logs_in(life.held) is life.keeps_current
    follow_advice(waiting.message, place.client)
    assert isinstance(life.run(), actions.Sleep)
    life.check_at_rest()
    assert (life.stages()[Stage.CURRENT] == [theirs]) is not life.keeps_current
    life.rotate()


@each_with_users
def test_what_is_advised_about_a_rotator_that_died_before_set_works(life: Life, place: Place) -> None:
    before = life.held
    _put(life, place, life.place.store.get(life.secret_id).value.replacing(password="never-Set-1").text.reveal())
    waiting = life.run()
    assert isinstance(waiting, actions.Hold) and waiting.reason is Reason.MANAGED_ELSEWHERE, waiting
    follow_advice(waiting.message, place.client)
    assert isinstance(life.run(), actions.Sleep)
    life.check_at_rest()
    assert life.held == before
    life.rotate()


@each_with_users
def test_delivered_rotation_is_served_although_another_rotator_has_moved_on(life: Life, place: Place) -> None:
    with pytest.raises(Died):
        life.ask().run(before={actions.ClearPending: die})
    life.side.expire_locks()
    delivered = life.held
    theirs = _put(life, place, life.place.store.get(life.secret_id).value.text.reveal(), Stage.CURRENT)
    assert isinstance(life.run(), actions.Sleep)
    assert [entry.outcome for entry in life.status.history] == [Outcome.SUCCEEDED]
    assert life.stages()[Stage.CURRENT] == [theirs]
    assert life.held == delivered, "it was rotated twice"
    life.check_at_rest()
    life.rotate()


def _stopped_after_set(life: Life, place: Place) -> VersionId:
    """Another rotator, whose versions have other ids, has set its password; the status knows nothing of it."""
    status = life.status
    with pytest.raises(Died):
        life.ask().run(before={actions.TestPending: die})
    life.side.expire_locks()
    life.status, life.request = status, None
    return _put(life, place, life.place.store.get(life.secret_id, stage=Stage.PENDING).value.text.reveal())


def _put(life: Life, place: Place, value: str, stage: Stage = Stage.PENDING) -> VersionId:
    version = str(uuid.uuid4())
    place.client.put_secret_value(
        SecretId=life.secret_id, ClientRequestToken=version, SecretString=value, VersionStages=[stage.value]
    )
    return VersionId(version)
