"""What once deceived the operator or its users, each through the process, beside the honest tenant."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from rotated_secrets.api.value_keys import KNOWN_KEYS
from rotated_secrets.secretstores.aws import AwsSettings
from sandbox.application import Application, account_in, create_application
from sandbox.applications.base import LoginFailed
from sandbox.kubernetes.client import Json, StatusError
from sandbox.proxy import Held, Moment
from sandbox.waiting import eventually
from tests.hostile.conftest import Arena
from tests.support.applied import Applied
from tests.support.hostile.aws import ACTIONS, AHEAD, BACK
from tests.support.hostile.catalogue import CELLS
from tests.support.hostile.evil import FOREIGN
from tests.support.hostile.outcomes import OK, Attack, Namespace

SECONDS = 90
LEAST = 9
"""Rotations of the honest tenant: what is judged here is done soon."""
STAGE = "UpdateSecretVersionStage"
YEAR = timedelta(days=365)
RESYNC = "rotatedsecrets.io/resync"

pytestmark = pytest.mark.timeout(400)


@contextmanager
def tenant(arena: Arena) -> Iterator[Namespace]:
    """A namespace whose RotatedSecrets are gone afterwards."""
    arena.start()
    namespace = arena.namespace("deceiver")
    try:
        yield namespace
    finally:
        namespace.empty()


def application(namespace: Namespace, name: str) -> Applied:
    return Applied(create_application(namespace.stack, namespace.name, f"{name}-{secrets.token_hex(3)}"))


def in_order(of: Application) -> None:
    """AWSCURRENT and the target Secret log in, nothing carries AWSPENDING, and there is no third user."""
    of.stack.side.log_in(of.account())
    assert "AWSPENDING" not in of.stages(), of.secret_id
    assert of.users() <= {of.user, of.clone}, of.secret_id
    delivered = Applied(of).secret()
    if delivered is not None:
        of.stack.side.log_in(account_in(delivered))


# ---- a password in the wrong place

CANARIES = {
    "a word": "hunter2canary{}",
    "the start of an ARN": "arn:aws:rds:eu-west-1:hunter2canary{}",
}


def with_password_in(place: str, canary: str) -> dict[str, object]:
    """What a person would change in a secret value."""
    wrong: Mapping[str, dict[str, object]] = {
        "nested": {"more": {"deep": [{"er": canary}]}},
        "name of a key": {canary: "x"},
        "list": {"nodes": [canary]},
    }
    return wrong.get(place, {place: canary})


def shown(arena: Arena, namespace: Namespace) -> str:
    """Everything that people may read who may not read Secrets, and what is beside a Secret's data."""
    api, path = arena.stack.api, f"/api/v1/namespaces/{namespace.name}"
    found = [namespace.resources(), api.get(f"{path}/events")["items"]]
    # Who manages a field is part of the Secret: it names the keys of its data.
    metadata = [each["metadata"] for each in api.get(f"{path}/secrets")["items"]]
    found.append([{key: value for key, value in each.items() if key != "managedFields"} for each in metadata])
    found.append(api.get(f"/api/v1/namespaces/{arena.home}/configmaps")["items"])
    lines = [json.dumps(each) for kind in found for each in kind]
    return "\n".join([*lines, arena.said(), arena.operator.get("/metrics"), arena.operator.get("/healthz")])


SAID = {
    **{key: f"{key} in the secret value" for key in ("engine", "host", "port", "ssl", "dbname")},
    "username": "user *** at",
}
"""What is said of a place whose value cannot be used; every other place stops no rotation."""
NO_KEY = "cannot be a key of a Kubernetes Secret"


def is_told(each: Applied, words: str) -> bool:
    """Whether a condition says so, and is not as it should be."""
    conditions = {each["type"]: each for each in each.status.get("conditions") or []}
    wrong = [one for kind, one in conditions.items() if one["status"] == ("True" if kind == "Held" else "False")]
    return any(words in one["message"] for one in wrong)


@pytest.mark.parametrize("kind", CANARIES)
def test_password_in_the_wrong_place_of_a_value_is_shown_nowhere(kind: str, arena: Arena) -> None:
    mark = secrets.token_hex(8)
    canary = CANARIES[kind].format(mark)
    said = SAID | ({"name of a key": NO_KEY} if ":" in canary else {})
    places = [key for key in KNOWN_KEYS if key != "password"] + ["notes", "nested", "name of a key", "list"]
    with tenant(arena) as namespace:
        each_at = {place: application(namespace, re.sub("[^a-z]", "-", place.lower())) for place in places}
        for place, each in each_at.items():
            each.application.put_value(**with_password_in(place, canary))
        with arena.attacked(f"{kind} as a password in the wrong place", least=LEAST):
            for each in each_at.values():
                each.apply(request="now")
            for place, each in each_at.items():
                if place in said:
                    eventually(partial(is_told, each, said[place]), f"{place} is told", seconds=SECONDS)
                else:
                    each.until_served("now", seconds=SECONDS)
            text = shown(arena, namespace)
    assert "VerifyQueriesFailed" in text
    assert [line for line in text.splitlines() if mark in line] == []


# ---- deleted in the middle

ATTEMPTS = AwsSettings.attempts
POINTS = {
    "made": ("PutSecretValue", Moment.ANSWERED),
    "set": (STAGE, Moment.SEEN),
    "moved": (STAGE, Moment.ANSWERED),
}


def until_held(arena: Arena, each: Applied, strategy: str, call: str, moment: Moment) -> Held:
    """Its rotation stands still there."""
    each.apply(strategy=strategy).until_ready()
    held = Held()
    for attempt in range(1, ATTEMPTS + 1):  # the SDK tries again when the answer does not come
        arena.stack.store_proxy.trap(attempt, held.hold, moment=moment, name=call, subject=each.application.secret_id)
    each.ask("now")
    eventually(lambda: held.has_arrived, f"{call} of {each.application.name}", seconds=SECONDS)
    return held


def entries(arena: Arena) -> list[str]:
    path = f"/api/v1/namespaces/{arena.home}/configmaps"
    return [
        each["metadata"]["name"]
        for each in arena.stack.api.get(path, labelSelector="rotatedsecrets.io/journal")["items"]
    ]


def test_deleted_between_set_and_finish_while_no_operator_runs(arena: Arena) -> None:
    strategies = [*(("SingleUser", point) for point in POINTS), ("AlternatingUsers", "set")]
    with tenant(arena) as namespace:
        deleted = {each: application(namespace, "-".join(each).lower()) for each in strategies}
        arena.measure()
        held = [until_held(arena, each, strategy, *POINTS[point]) for (strategy, point), each in deleted.items()]
        arena.kill()
        for call in held:
            call.lose()
        arena.stack.store_proxy.clear()
        side = arena.stack.side
        with pytest.raises(LoginFailed):
            side.log_in(deleted["SingleUser", "set"].application.account())
        for each in deleted.values():
            assert "finalizers" not in each.read()["metadata"]
            each.delete()
            with pytest.raises(StatusError, match="not found"):
                each.read()
        with arena.attacked("deleted in the middle", least=LEAST, measured=True, restarted=True):
            eventually(lambda: not entries(arena), "all rotations are ended", seconds=SECONDS)
            for each in deleted.values():
                in_order(each.application)
        assert finalizers(arena, namespace) == []


def finalizers(arena: Arena, namespace: Namespace) -> list[Json]:
    """What would hold up the deletion of the namespace."""
    api, path = arena.stack.api, f"/api/v1/namespaces/{namespace.name}"
    found = [
        *namespace.resources(),
        *(each for kind in ("secrets", "configmaps", "events") for each in api.get(f"{path}/{kind}")["items"]),
    ]
    return [each["metadata"] for each in found if each["metadata"].get("finalizers")]


# ---- created again

REFUSED = {
    "suffix": ({"cloneSuffix": "_CLONE"}, "create it again with rotation.cloneSuffix: _clone"),
    "unknown suffix": ({"cloneSuffix": "_clone_clone"}, "rotation.cloneSuffix _clone_clone is not one"),
    "dual password": ({"strategy": "DualPassword"}, "postgres has no DualPassword"),
}
SINGLE = "single user"


def test_created_again_with_other_users_makes_no_third_one(arena: Arena) -> None:
    """After one rotation, when the clone is current, and after two."""
    with tenant(arena) as namespace:
        again = {
            (name, rotations): application(namespace, f"{name.replace(' ', '-')}-{rotations}")
            for name in (*REFUSED, SINGLE)
            for rotations in (1, 2)
        }
        for each in again.values():
            each.apply(request="number 1")
        for (_, rotations), each in again.items():
            each.until_served("number 1", seconds=SECONDS)
            if rotations == 2:
                each.rotate("number 2", seconds=SECONDS)
        before = {
            key: (each.application.account(), each.application.account("AWSPREVIOUS")) for key, each in again.items()
        }
        with arena.attacked("created again with other users", least=LEAST):
            for (name, _), each in again.items():
                each.delete()
                changed: dict[str, Any] = REFUSED[name][0] if name in REFUSED else {"strategy": "SingleUser"}
                each.apply(request="again", **changed)
            for (name, _), each in again.items():
                if name in REFUSED:
                    eventually(partial(is_told, each, REFUSED[name][1]), f"{name} is refused", seconds=SECONDS)
                else:
                    each.until_served("again", seconds=SECONDS)
            for (name, rotations), each in again.items():
                in_order(each.application)
                current, other = before[name, rotations]
                arena.stack.side.log_in(other)
                if name in REFUSED:
                    assert each.application.account() == current


# ---- times

Place = tuple[str | int, ...]
SHOWN_ALONE = ("nextRotationTime",)
"""Is for people: it is written at each look, and nothing is counted from it."""
SINCE = ("schedule", "since")
"""When the schedule was first seen. Without it a schedule counts from the first look."""
INTERVAL = timedelta(hours=4)


def times_in(found: object, place: Place = ()) -> Iterator[Place]:
    """The places of all times in a status."""
    items = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for key, each in items:
        yield from times_in(each, (*place, key))
    if isinstance(found, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", found):
        yield place


def set_back(each: Applied, ahead: Collection[Place]) -> None:
    """Make its status that of a rotation four hours ago, but for these times, which become those of next year."""
    status = each.status
    for place in times_in(status):
        at: Any = status
        for key in place[:-1]:
            at = at[key]
        moment = datetime.fromisoformat(at[place[-1]]) + (YEAR if place in ahead else -INTERVAL)
        at[place[-1]] = moment.isoformat().replace("+00:00", "Z")
    each.api.patch(f"{each.path}/{each.application.name}/status", {"status": status})


def is_scheduled(each: Applied, *, anew: bool) -> bool:
    """Whether it was rotated by its schedule; or, where that counts anew, will be after one interval."""
    if not anew:
        return [entry["trigger"] for entry in each.status["history"]] == ["Schedule", "Annotation"]
    return abs(datetime.fromisoformat(each.status["nextRotationTime"]) - datetime.now(UTC) - INTERVAL) < INTERVAL / 2


def is_reported(each: Applied) -> bool:
    return "TimesIgnored" in each.reasons()


def test_times_a_year_ahead_stop_no_scheduled_rotation(arena: Arena) -> None:
    """Each time of the status by itself, all together, and those of AWS; written while an operator runs, or none."""
    with tenant(arena) as namespace:
        probe = application(namespace, BACK).apply(schedule="rate(4 hours)", request="once")
        probe.until_served("once", seconds=SECONDS)
        places = list(times_in(probe.status))
        cases: list[tuple[Place, ...]] = [(place,) for place in places]
        cases += [tuple(places), tuple(place for place in places if place != SINCE)]
        wrong = {ahead: application(namespace, f"{BACK}-{number}") for number, ahead in enumerate(cases)}
        of_aws = application(namespace, AHEAD)
        for each in (*wrong.values(), of_aws):
            each.apply(schedule="rate(4 hours)", request="once")
        for each in (*wrong.values(), of_aws):
            each.until_served("once", seconds=SECONDS)
        arena.measure()
        arena.kill()
        for ahead, each in wrong.items():
            set_back(each, ahead)
        set_back(of_aws, ())
        with arena.attacked("times a year ahead", least=LEAST, measured=True, restarted=True):
            set_back(probe, cases[-1])
            probe.patch({"metadata": {"annotations": {RESYNC: "now"}}})
            for ahead, each in ((cases[-1], probe), ((), of_aws), *wrong.items()):
                told = f"the schedule goes on with {ahead} ahead"
                eventually(partial(is_scheduled, each, anew=SINCE in ahead), told, seconds=SECONDS)
                if ahead not in ((), (SHOWN_ALONE,)):
                    eventually(partial(is_reported, each), f"{ahead} is reported", seconds=SECONDS)
            for each in (*wrong.values(), probe, of_aws):
                in_order(each.application)


# ---- answers of others


def unavailable(arena: Arena) -> dict[str, float]:
    """Requests to AWS that the metrics count as unavailable, by operation."""
    line = re.compile(
        r'^rotatedsecrets_aws_requests_total{operation="(\w+)",outcome="unavailable"} (\S+)$', re.MULTILINE
    )
    return {operation: float(count) for operation, count in line.findall(arena.operator.get("/metrics"))}


def test_answers_that_are_not_aws_are_told_as_that(arena: Arena) -> None:
    cells = [each for each in CELLS if each.engine == "aws" and each.kind in FOREIGN]
    with tenant(arena) as namespace, arena.attacked("answers that are not AWS's", least=LEAST):
        before = unavailable(arena)
        attacks = [Attack(each, namespace.name) for each in cells]
        namespace.apply(attacks)
        namespace.judged(attacks, SECONDS)
        assert {f"{each.cell}: {each.outcome}" for each in attacks if each.outcome != OK} == set()
        for resource in namespace.resources():
            for condition in resource["status"]["conditions"]:
                assert condition["status"] in ("False", "Unknown")
                assert "is not AWS" in condition["message"]
                assert "check the operator's endpoint for AWS" in condition["message"]
        after = unavailable(arena)
        for action in ACTIONS:
            count = sum(1 for each in cells if each.stage.name.startswith(action))
            assert after[action] - before.get(action, 0) >= count > 0
        assert [line for line in arena.said().splitlines() if "exception" in json.loads(line)] == []
