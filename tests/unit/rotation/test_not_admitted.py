"""A pending user that the server turns away before it has looked at the password."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.databases.base import NotAdmitted, Unavailable, Users
from rotated_secrets.rotation import actions
from rotated_secrets.rotation.observation import Observation, Terms
from rotated_secrets.rotation.ports import Ports
from rotated_secrets.rotation.steps import Steps
from rotated_secrets.secretstores.base import StoredVersion
from rotated_secrets.values import Arn, Credential, SecretValue, VersionId
from tests.support.observations import seen

ARN = Arn("arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/orders-AbCdEf")
MADE = datetime(2026, 1, 1, tzinfo=UTC)


class Database:
    """Answers each login by an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def verify(self, credential: Credential, users: Users, queries: Sequence[str]) -> list[str]:
        raise self._error


def outcome(strategy: Strategy, pending: str, error: Exception) -> Observation:
    def version(user: str) -> StoredVersion:
        value = {"engine": "postgres", "host": "db", "username": user, "password": "x"}
        return StoredVersion(VersionId(user), SecretValue.parse(json.dumps(value)), MADE, ARN)

    terms = Terms(ARN, Rotation(strategy=strategy), schedule=None, request=None, created_at=MADE)
    others: Any = None
    ports = Ports(
        store=others,
        database=cast("Any", Database(error)),
        status=others,
        target=None,
        workloads=None,
        reports=others,
        guard=lambda: None,
        now=lambda: MADE,
    )
    return Steps(terms, ports).act(actions.TestPending(), seen(terms, version("app"), version(pending)))


def test_it_is_rolled_back_where_the_other_user_was_admitted() -> None:
    """Nothing but its name can be the reason: no further try would find it another one."""
    after = outcome(Strategy.ALTERNATING_USERS, "app_clone", NotAdmitted("pg_hba.conf names app alone"))
    assert after.attempt.failure == "pg_hba.conf names app alone"


def test_it_is_tried_again_where_it_is_the_same_user() -> None:
    with pytest.raises(NotAdmitted):
        outcome(Strategy.SINGLE_USER, "app", NotAdmitted("pg_hba.conf is being written"))


def test_a_server_that_is_away_is_tried_again() -> None:
    with pytest.raises(Unavailable):
        outcome(Strategy.ALTERNATING_USERS, "app_clone", Unavailable("the server is away"))
