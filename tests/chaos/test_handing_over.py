"""The lead goes from one replica to the next on purpose, while rotations are under way."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.crowd import FINISH, SET, Member, standing_still
from tests.support.replicas import LEASE_SECONDS, Replica, Replicas

pytestmark = pytest.mark.timeout(400)

GENERATIONS = 3
GAVE_BACK = "released the Lease rotated-secrets"
AT_ONCE = timedelta(seconds=LEASE_SECONDS / 2)
"""No Lease had to expire."""


def test_a_leader_that_is_told_to_stop_finishes_begins_nothing_and_hands_over(
    deployment: Replicas, members: list[Member]
) -> None:
    leader, stand_by = deployment.pair()
    *under_way, asked_later = members[:3]
    leader.forget_calls()
    stand_by.forget_calls()
    with standing_still(zip(under_way, (SET, FINISH), strict=True), leader):
        leader.terminate()
        leader.until_it_says("SIGTERM")
        asked_later.ask()
        for member in under_way:
            member.let_go()
        leader.until_gone()
    for member in members[:3]:
        member.until_served()
        member.check()
    assert handed_over(leader, stand_by) < AT_ONCE
    assert not stand_by.writes(under_way[0].application.secret_id)
    assert not stand_by.writes(under_way[1].application.secret_id)
    assert not leader.writes(asked_later.application.secret_id)
    deployment.start()


def test_a_lease_given_to_the_stand_by_by_hand_is_taken_over_with_the_rotation(
    deployment: Replicas, members: list[Member]
) -> None:
    """Both may believe that they lead until the old one looks."""
    leader, stand_by = deployment.pair()
    with standing_still(zip(members, (SET, FINISH), strict=False), leader):
        deployment.give_lease_to(stand_by)
        leader.until_gone()
        for member in members[:2]:
            member.lose()
        for member in members[:2]:
            member.until_served()
    for member in members[:2]:
        member.check()
    assert deployment.leader() is stand_by
    deployment.start()


def test_three_generations_of_replicas_follow_each_other_while_rotations_run(
    deployment: Replicas, members: list[Member]
) -> None:
    deployment.pair()
    for _ in range(GENERATIONS):
        old = [replica for replica in deployment.running if replica.runs]
        leader = deployment.leader()
        new = [deployment.start(), deployment.start()]
        for replica in new:
            replica.until_it_says("tries to acquire the Lease")
        for member in members:
            member.ask()
        for replica in old:
            replica.terminate()
        for replica in old:
            replica.until_gone()
            assert "running work was cancelled" not in replica.log()
        for member in members:
            member.until_served()
        assert handed_over(leader, deployment.leader()) < AT_ONCE
    for member in members:
        member.check()


def handed_over(leader: Replica, successor: Replica) -> timedelta:
    """How long nobody led."""
    return successor.until_it_says(" leads") - leader.until_it_says(GAVE_BACK)
