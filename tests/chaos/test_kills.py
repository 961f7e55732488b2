"""An operator is killed at any call of a rotation, and another one finishes that rotation.

The proxies in front of the API server, the store and the database hold a call back when they have seen it, or its
answer; then the operator is killed, and the call is lost. Meanwhile a client logs in with what the target Secret says,
and never fails.
"""

from __future__ import annotations

import time
from collections import Counter

import pytest

from sandbox.database_proxy import CONNECT
from sandbox.proxy import Call, Moment
from sandbox.stack import Stack
from sandbox.waiting import eventually
from tests.chaos.conftest import MortalOperator
from tests.support.crowd import (
    CLAIM,
    FINISH,
    FINISH_DONE,
    PUT,
    PUT_DONE,
    SET,
    SYNC,
    Member,
    Point,
    crowd,
    passwords_set,
    send,
    standing_still,
)
from tests.support.replicas import FREED_SECONDS, LEASE_SECONDS, PATIENCE, Replicas

pytestmark = pytest.mark.timeout(400)

STAGE = "UpdateSecretVersionStage"
STATUS = "PATCH rotatedsecrets/status"
FIRST_ROTATION = (
    CLAIM,
    Point("the login as AWSCURRENT", "database", 1, CONNECT),
    send(20),
    PUT_DONE,
    SET,
    send(65),
    FINISH_DONE,
    Point("the target Secret, written", "api", 1, "PUT secrets", Moment.ANSWERED),
    Point("AWSPENDING, on its way off", "store", 2, STAGE),
    Point("the end of the claim, on its way", "api", 3, STATUS),
)
"""Which makes the clone."""
LATER_ROTATION = (
    Point("the claim, written", "api", 1, STATUS, Moment.ANSWERED),
    Point("the login as admin", "database", 2, CONNECT),
    PUT,
    send(38),
    SET,
    send(54),
    Point("the login as AWSPENDING", "database", 3, CONNECT),
    FINISH,
    SYNC,
    Point("AWSPENDING, taken off", "store", 2, STAGE, Moment.ANSWERED),
)
ONCE = Counter({"PutSecretValue": 1, STAGE: 2, "PUT secrets": 1})


def test_the_stand_by_finishes_whatever_the_leader_was_killed_at(stack: Stack, deployment: Replicas) -> None:
    with crowd(stack, deployment.namespace, len(FIRST_ROTATION)) as members:
        for points in (FIRST_ROTATION, LATER_ROTATION):
            leader, _ = deployment.pair()
            at = list(zip(members, points, strict=True))
            before = passwords_set(stack)
            deployment.forget_calls()
            with standing_still(at, leader) as undisturbed:
                leader.kill()
                killed = time.monotonic()
            deployment.start()
            for member in members:
                member.until_served()
            assert time.monotonic() - killed < undisturbed + LEASE_SECONDS + FREED_SECONDS
            set_now = passwords_set(stack) - before
            for member, point in at:
                check_writes(member, point, deployment)
                member.check_passwords_set(set_now)
                member.check()


def check_writes(member: Member, point: Point, deployment: Replicas) -> None:
    """Each happened once, although two operators took part."""
    asked = deployment.writes(member.name)
    if point.call is not None and point.call in ONCE and point.moment is Moment.SEEN:
        asked[point.call] -= 1  # the one that was lost never got there
    assert {name: asked[name] for name in ONCE} == dict(ONCE), point


def test_killed_again_and_again_in_one_rotation(
    stack: Stack, chaos_namespace: str, mortal_operator: MortalOperator
) -> None:
    """At every write to the store, before and after it happened, each time by the operator that took over."""
    store = stack.store_proxy
    mortal_operator.start()

    def kill(_: Call) -> None:
        mortal_operator.kill()

    with crowd(stack, chaos_namespace, 1) as (member,):
        for name in ("PutSecretValue", STAGE):
            for moment in Moment:
                if not mortal_operator.runs:
                    mortal_operator.start()
                store.clear()
                store.trap(1, kill, moment=moment, name=name, subject=member.application.secret_id)
                if not member.rotations:
                    member.ask()
                eventually(lambda: not mortal_operator.runs, f"{name} kills it", seconds=PATIENCE)
        mortal_operator.start()
        member.until_served()
        member.check()
    mortal_operator.kill()
