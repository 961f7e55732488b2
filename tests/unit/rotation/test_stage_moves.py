"""A stage that the store refuses to move has not moved, unless a second look says so."""

from __future__ import annotations

import pytest

from rotated_secrets.rotation.observation import with_stage_moved
from rotated_secrets.rotation.ports import LookAgain
from rotated_secrets.rotation.stage_moves import move_stage
from rotated_secrets.secretstores.base import StoreRefused, StoreUnavailable
from rotated_secrets.values import Stage, VersionId
from tests.support.fake_aws import FakeAws, FakeSecret, FakeStores

FIRST, SECOND = VersionId("00000000-0000-0000-0000-000000000001"), VersionId("2")


@pytest.fixture
def secret() -> FakeSecret:
    aws = FakeAws()
    return aws.create("shop/orders", "one")


@pytest.fixture
def aws(secret: FakeSecret) -> FakeAws:
    found = FakeAws()
    found.secrets[secret.arn] = secret
    return found


def refuse(aws: FakeAws, *, moves: bool = False) -> None:
    def refused(operation: str, asked: str) -> None:
        if operation == "UpdateSecretVersionStage":
            if moves:
                found = next(iter(aws.secrets.values()))
                found.stages = with_stage_moved(found.stages, Stage.CURRENT, to=SECOND, remove_from=FIRST)
            raise StoreRefused("no")

    aws.before_call = refused


def move(aws: FakeAws, secret: FakeSecret) -> None:
    move_stage(FakeStores(aws).at(), secret.arn, Stage.CURRENT, to=SECOND, remove_from=FIRST)


def test_refusal_of_a_stage_that_is_where_it_was_is_a_refusal(aws: FakeAws, secret: FakeSecret) -> None:
    refuse(aws)
    with pytest.raises(StoreRefused, match="no"):
        move(aws, secret)


def test_refusal_of_a_stage_that_has_moved_is_looked_at_again(aws: FakeAws, secret: FakeSecret) -> None:
    refuse(aws, moves=True)
    with pytest.raises(LookAgain, match="AWSCURRENT was moved meanwhile: no"):
        move(aws, secret)


def test_what_is_not_known_is_not_taken_for_a_move(aws: FakeAws, secret: FakeSecret) -> None:
    def away(operation: str, asked: str) -> None:
        raise StoreRefused("no") if operation == "UpdateSecretVersionStage" else StoreUnavailable("AWS is away")

    aws.before_call = away
    with pytest.raises(StoreUnavailable):
        move(aws, secret)
