"""Reading a RotatedSecret: what is refused, how it is told, and what another version of the operator left."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from rotated_secrets.api.resource import InvalidSpec, RotatedSecret
from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.target import CreationPolicy


def _object(spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "shop",
            "name": "orders-db",
            "uid": "6c0f",
            "generation": 2,
            "resourceVersion": "17",
            "creationTimestamp": "2026-11-22T02:00:00Z",
            **metadata,
        },
        "spec": {
            "source": {"secretId": "shop/orders-db"},
            "rotation": {"strategy": "AlternatingUsers"},
            **(spec or {}),
        },
    }


def test_a_minimal_resource_has_the_documented_defaults() -> None:
    resource = RotatedSecret.parse(_object())
    assert str(resource) == "shop/orders-db"
    assert resource.created_at == datetime(2026, 11, 22, 2, tzinfo=UTC)
    assert resource.spec.rotation.strategy is Strategy.ALTERNATING_USERS
    assert resource.spec.target.creation_policy is CreationPolicy.OWNER
    assert resource.target_name == "orders-db"
    assert resource.rotate_request is None
    assert resource.status.handled_requests.rotate is None
    assert not resource.deleting


def test_target_name_is_the_one_asked_for() -> None:
    assert RotatedSecret.parse(_object({"target": {"secretName": "orders"}})).target_name == "orders"


def test_deletion_is_seen() -> None:
    assert RotatedSecret.parse(_object(deletionTimestamp="2026-11-22T03:00:00Z")).deleting


def test_a_request_is_never_longer_than_the_status_can_remember() -> None:
    resource = RotatedSecret.parse(_object(annotations={"rotatedsecrets.io/rotate": "x" * 5000}))
    handled = resource.status.model_validate({"handledRequests": {"rotate": "x" * 5000}}).handled_requests
    assert resource.rotate_request == handled.rotate


def _managed(*times: str) -> list[dict[str, Any]]:
    """What the API server records of who set the annotation, and when."""
    fields: dict[str, Any] = {"f:metadata": {"f:annotations": {".": {}, "f:rotatedsecrets.io/rotate": {}}}}
    return [{"manager": "kubectl", "operation": "Update", "time": time, "fieldsV1": fields} for time in times]


BEFORE, MADE, LATER = "2026-11-22T01:59:59Z", "2026-11-22T02:00:00Z", "2026-11-22T02:00:01Z"


@pytest.mark.parametrize("managed", [None, [], [{}], _managed(MADE), [{"fieldsV1": {"f:metadata": {}}, "time": LATER}]])
@pytest.mark.parametrize(
    ("request_", "older"),
    [
        (BEFORE, True),
        (f"{BEFORE}-4f1c2a9b", True),
        ("2026-11-22T04:59:59.5+03:00", True),
        (MADE, False),
        (f"{LATER}-4f1c2a9b", False),
        ("1795312799", True),
        ("1795312799.25", True),
        ("1795312799123456789", True),
        ("1795312800", False),
        ("1795312800123", False),
        ("2026-13-22T01:59:59Z", False),
        ("2026-11-22", False),
        ("9", False),
        ("first", False),
        ("", False),
    ],
)
def test_time_before_the_resource_was_made_is_an_older_request(request_: str, older: bool, managed: Any) -> None:
    annotations = {"rotatedsecrets.io/rotate": request_}
    resource = RotatedSecret.parse(_object(annotations=annotations, managedFields=managed))
    assert resource.rotate_request_is_older is older
    assert resource.rotate_request == request_


def test_request_that_was_set_after_the_creation_is_none_of_a_backup_although_the_clock_was_slow() -> None:
    annotations = {"rotatedsecrets.io/rotate": BEFORE}
    for managed in (_managed(LATER), _managed(MADE, LATER)):
        resource = RotatedSecret.parse(_object(annotations=annotations, managedFields=managed))
        assert not resource.rotate_request_is_older


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"source": {}}, "spec.source.secretId: is required"),
        ({"rotation": {"strategy": "Sometimes"}}, "spec.rotation.strategy: input should be 'SingleUser',"),
        ({"fresh": 1, "rotation": {"strategy": "Sometimes"}}, "spec.rotation.strategy: input should be 'SingleUser',"),
        (
            {"rotation": {"strategy": "RandomValue"}, "database": {}},
            "RandomValue reaches no database: leave database out",
        ),
    ],
)
def test_errors_name_the_resource_the_field_and_what_to_write(spec: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        RotatedSecret.parse(_object(spec))
    assert str(caught.value).startswith("RotatedSecret shop/orders-db: spec")
    assert told in str(caught.value)


def test_fields_of_a_newer_definition_are_skipped_wherever_they_are_and_named() -> None:
    restart = [{"kind": "Deployment", "name": name, "surge": 1} for name in ("api", "jobs")]
    newer = {
        "source": {"secretId": "shop/orders-db", "replica": "eu-west-2"},
        "database": {"tls": {"mode": "VerifyCA", "minimum": "1.3"}},
        "rotation": {"strategy": "SingleUser", "password": {"length": 40, "words": {"count": 4}}},
        "rollout": {"restart": restart},
        "notify": [],
    }
    known = {
        "source": {"secretId": "shop/orders-db"},
        "database": {"tls": {"mode": "VerifyCA"}},
        "rotation": {"strategy": "SingleUser", "password": {"length": 40}},
        "rollout": {"restart": [{"kind": "Deployment", "name": name} for name in ("api", "jobs")]},
    }
    resource, without = RotatedSecret.parse(_object(newer)), RotatedSecret.parse(_object(known))
    assert resource.spec == without.spec
    assert resource.skipped == (
        "spec.database.tls.minimum",
        "spec.notify",
        "spec.rollout.restart.surge",
        "spec.rotation.password.words",
        "spec.source.replica",
    )
    assert without.skipped == ()


def test_errors_do_not_repeat_what_a_template_says() -> None:
    template = {"URL": "canary" * 20_000}
    with pytest.raises(InvalidSpec) as caught:
        RotatedSecret.parse(_object({"target": {"template": template}}))
    assert "canary" not in str(caught.value)


def test_fields_of_a_newer_operators_status_are_ignored() -> None:
    status = {"shard": 3, "handledRequests": {"resync": "x", "rotate": "1"}, "conditions": [_condition(type="Fresh")]}
    resource = RotatedSecret.parse({**_object(), "status": status})
    assert resource.status.handled_requests.rotate == "1"


def test_a_claim_that_this_operator_cannot_understand_is_not_guessed_at() -> None:
    claim = {"trigger": "Rollback", "fromVersionId": "v1", "startedAt": "2026-11-22T02:00:00Z"}
    with pytest.raises(InvalidSpec, match=r"status\.rotation\.trigger.*another version of the operator"):
        RotatedSecret.parse({**_object(), "status": {"rotation": claim}})


def test_attempts_that_a_newer_operator_describes_in_words_of_its_own_are_left_out() -> None:
    """They are for people, and no reason to deliver nothing after a roll-back of the operator."""
    known = {"trigger": "Schedule", "outcome": "Succeeded", "step": "FinishSecret"}
    times = {"startedAt": "2026-11-22T02:00:00Z", "finishedAt": "2026-11-22T02:00:01Z"}
    changes = [{"trigger": "Waiting"}, {}, {"outcome": "Paused", "step": "Think"}]
    history = [{**known, **times, "versionId": f"v{number}", **change} for number, change in enumerate(changes)]
    status = {"history": history, "handledRequests": {"rotate": "1"}}
    resource = RotatedSecret.parse({**_object(), "status": status})
    assert [entry.version_id for entry in resource.status.history] == ["v1"]
    assert resource.status.handled_requests.rotate == "1"
    with pytest.raises(InvalidSpec, match=r"status\.lastRotationTime"):
        RotatedSecret.parse({**_object(), "status": {**status, "lastRotationTime": "never"}})


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_time_that_no_clock_shows_in_utc_is_refused(time: str) -> None:
    """Who may write the status can write it: the API server takes it."""
    with pytest.raises(InvalidSpec, match=r"status\.lastRotationTime.*years 1 to 9999"):
        RotatedSecret.parse({**_object(), "status": {"lastRotationTime": time}})


def _condition(**changes: str) -> dict[str, str]:
    return {"type": "Ready", "status": "True", "reason": "X", "lastTransitionTime": "2026-11-22T02:00:00Z", **changes}
