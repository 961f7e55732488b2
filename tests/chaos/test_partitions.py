"""The leader is cut off from one of the three that it works with, in the middle of rotations."""

from __future__ import annotations

import time

import pytest

from tests.support.crowd import FINISH, PUT, SET, Member, standing_still
from tests.support.replicas import FREED_SECONDS, LEASE_SECONDS, Replicas

pytestmark = pytest.mark.timeout(400)


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_a_leader_without_the_api_server_stops_before_the_stand_by_finishes(
    how: str, deployment: Replicas, members: list[Member]
) -> None:
    """It still reaches store and database all the while, and what it had sent arrives, once early and once late."""
    leader, _ = deployment.pair()
    early, late, *_ = members
    deployment.forget_calls()
    with standing_still([(early, PUT), (late, FINISH)], leader) as undisturbed:
        with leader.api.partitioned() if how == "refused" else leader.api.stalled():
            cut_off = time.monotonic()
            early.let_go()
            leader.until_gone()
            for member in (early, late):
                member.until_served()
            assert time.monotonic() - cut_off < undisturbed + LEASE_SECONDS + FREED_SECONDS
            late.let_go()
        assert leader.last_call() < cut_off + LEASE_SECONDS
        assert "could not renew the Lease" in leader.log()
    for member in (early, late):
        assert deployment.writes(member.name)["PutSecretValue"] == 1
        member.check()
    deployment.start()


def test_a_leader_without_store_or_database_goes_on_leading_tells_so_and_recovers(
    deployment: Replicas, members: list[Member]
) -> None:
    leader, stand_by = deployment.pair()
    before = deployment.lease()
    without_store, without_database, *_ = members
    with standing_still([(without_store, PUT), (without_database, SET)], leader):
        with without_database.database.partitioned():
            without_database.lose()
            assert "at 127.0.0.1" in without_database.until_told()
        with leader.store.partitioned():
            without_store.lose()
            assert "no answer from AWS" in without_store.until_told()
        for member in (without_store, without_database):
            member.until_served()
            member.check()
    after = deployment.lease()
    assert (after["holderIdentity"], after["leaseTransitions"]) == (leader.identity, before["leaseTransitions"])
    assert stand_by.said("leads") is None


def test_an_api_server_that_is_away_or_unwell_for_a_moment_changes_no_leader(
    deployment: Replicas, members: list[Member]
) -> None:
    leader, stand_by = deployment.pair()
    before = deployment.lease()
    for status in (500, 429, 409):
        with leader.api.refusing(status, "leases"):
            leader.until_it_says(f"the API server answered {status}")
    deployment.delete_lease()
    with leader.api.partitioned(), stand_by.api.partitioned():
        members[0].ask()
        leader.until_it_says("the API server could not be reached")
    members[0].until_served()
    members[0].check()
    assert deployment.leader() is leader
    assert deployment.lease()["leaseTransitions"] <= before["leaseTransitions"]
    assert stand_by.said("leads") is None
