"""Calls of the store on a scripted SDK client: what AWS shows late, and answers that were lost on the way."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rotated_secrets.secretstores.aws_store import AwsStore
from rotated_secrets.secretstores.base import AwsRotation, SecretNotFound, StoreRefused
from rotated_secrets.values import Arn, SecretValue, Stage, VersionId

ARN = Arn("arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/orders-AbCdEf")
NEW, OLD = VersionId("new"), VersionId("old")
VALUE = {"SecretString": "a-token", "VersionId": "new", "CreatedDate": datetime(2026, 1, 1, tzinfo=UTC), "ARN": ARN}


def refused(code: str, retries: int = 0) -> ClientError:
    metadata = {"HTTPStatusCode": 400, "RetryAttempts": retries}
    response: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": metadata}
    return ClientError(response, "Operation")


NOT_FOUND, REFUSED = "ResourceNotFoundException", "InvalidRequestException"


class Scripted:
    """An SDK client whose answers are given; keeps what was asked."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers, self.asked = answers, list[tuple[str, dict[str, Any]]]()
        self.meta = SimpleNamespace(region_name="eu-west-1", events=SimpleNamespace(register=lambda *_: None))

    def __getattr__(self, operation: str) -> Any:
        def call(**given: Any) -> Any:
            self.asked.append((operation, given))
            answer = self.answers[operation].pop(0) if self.answers.get(operation) else {}
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    def count(self, operation: str) -> int:
        return sum(asked == operation for asked, _ in self.asked)


def store_of(client: Scripted) -> AwsStore:
    typed: Any = client
    bucket: Any = SimpleNamespace(take=lambda: None)
    return AwsStore(typed, bucket)


ROW = {"ARN": ARN, "Name": "shop/orders", "SecretVersionsToStages": {"new": ["AWSCURRENT"]}}


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ({}, AwsRotation()),
        ({"PrimaryRegion": "us-east-1"}, AwsRotation(primary_region="us-east-1")),
        ({"PrimaryRegion": "eu-west-1"}, AwsRotation()),  # a primary with replicas
        ({"RotationEnabled": True}, AwsRotation(enabled=True)),
    ],
)
def test_listing_and_description_say_the_same_of_what_aws_does(
    said: dict[str, Any], understood: AwsRotation, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = SimpleNamespace(paginate=lambda **_: [{"SecretList": [ROW | said]}])
    client = Scripted(describe_secret=[ROW | said])
    monkeypatch.setattr(client, "get_paginator", lambda _: page, raising=False)
    store = store_of(client)
    assert [row.aws_rotation for row in store.list_summaries()] == [understood]
    assert store.describe(ARN).aws_rotation == understood


def test_version_that_was_just_put_is_waited_for_where_a_read_does_not_show_it_yet() -> None:
    client = Scripted(get_secret_value=[refused(NOT_FOUND), VALUE])
    store = store_of(client)
    store.put_pending(ARN, NEW, SecretValue.parse("a-token"))
    assert store.get(ARN, stage=Stage.PENDING, version_id=NEW).version_id == NEW
    assert client.count("get_secret_value") == 2


def test_pending_version_that_was_just_put_is_waited_for_also_where_no_id_is_named() -> None:
    client = Scripted(get_secret_value=[refused(NOT_FOUND), VALUE])
    store = store_of(client)
    store.put_pending(ARN, NEW, SecretValue.parse("a-token"))
    assert store.get(ARN, stage=Stage.PENDING).version_id == NEW


@pytest.mark.parametrize("which", [{"version_id": OLD}, {"stage": Stage.CURRENT}, {"stage": Stage.PREVIOUS}])
def test_version_that_was_not_just_put_is_asked_for_once(which: Any) -> None:
    client = Scripted(get_secret_value=[refused(NOT_FOUND), VALUE])
    store = store_of(client)
    store.put_pending(ARN, NEW, SecretValue.parse("a-token"))
    with pytest.raises(SecretNotFound):
        store.get(ARN, **which)
    assert client.count("get_secret_value") == 1


def test_version_of_another_store_is_asked_for_once() -> None:
    client = Scripted(get_secret_value=[refused(NOT_FOUND), VALUE])
    with pytest.raises(SecretNotFound):
        store_of(client).get(ARN, stage=Stage.PENDING)
    assert client.count("get_secret_value") == 1


def test_pending_version_that_was_dropped_is_not_waited_for() -> None:
    client = Scripted(get_secret_value=[refused(NOT_FOUND), VALUE])
    store = store_of(client)
    store.put_pending(ARN, NEW, SecretValue.parse("a-token"))
    store.move_stage(ARN, Stage.PENDING, remove_from=NEW)
    with pytest.raises(SecretNotFound):
        store.get(ARN, stage=Stage.PENDING)


def test_stage_moves_to_a_version_that_was_just_put_though_aws_does_not_know_it_yet() -> None:
    client = Scripted(update_secret_version_stage=[refused(NOT_FOUND), {}])
    store = store_of(client)
    store.put_pending(ARN, NEW, SecretValue.parse("a-token"))
    store.move_stage(ARN, Stage.CURRENT, to=NEW, remove_from=OLD)
    assert client.count("update_secret_version_stage") == 2
    assert client.asked[-1][1] == {
        "SecretId": ARN,
        "VersionStage": "AWSCURRENT",
        "MoveToVersionId": "new",
        "RemoveFromVersionId": "old",
    }


def described(version: VersionId) -> dict[str, Any]:
    return {"ARN": ARN, "Name": "shop/orders", "VersionIdsToStages": {version: ["AWSCURRENT"]}}


def test_refusal_of_a_retry_whose_first_attempt_had_moved_the_stage_is_success() -> None:
    client = Scripted(update_secret_version_stage=[refused(REFUSED, retries=1)], describe_secret=[described(NEW)])
    store_of(client).move_stage(ARN, Stage.CURRENT, to=NEW, remove_from=OLD)


@pytest.mark.parametrize(("retries", "now"), [(0, NEW), (1, OLD)])
def test_refusal_of_a_first_attempt_or_of_a_stage_that_has_not_moved_is_one(retries: int, now: VersionId) -> None:
    client = Scripted(update_secret_version_stage=[refused(REFUSED, retries=retries)], describe_secret=[described(now)])
    with pytest.raises(StoreRefused):
        store_of(client).move_stage(ARN, Stage.CURRENT, to=NEW, remove_from=OLD)
