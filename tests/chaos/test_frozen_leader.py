"""A leader that is frozen for longer than the Lease: the stand-by finishes, and the woken one changes nothing.

What it had sent when it froze waits in the proxies, or the answer to it does, and arrives when the stand-by has
finished: as late as can be.
"""

from __future__ import annotations

import time
from collections import Counter

import pytest

from sandbox.database_proxy import CONNECT
from tests.support.crowd import (
    CLAIM,
    FINISH,
    FINISH_DONE,
    PUT,
    PUT_DONE,
    SET,
    SYNC,
    Member,
    passwords_set,
    standing_still,
)
from tests.support.replicas import FREED_SECONDS, LEASE_SECONDS, Replicas

pytestmark = pytest.mark.timeout(400)


def test_a_leader_that_wakes_up_completes_nothing_but_what_was_on_its_way(
    deployment: Replicas, members: list[Member]
) -> None:
    leader, stand_by = deployment.pair()
    leader.forget_calls()
    before = passwords_set(deployment.stack)
    points = (CLAIM, PUT, PUT_DONE, SET, FINISH, FINISH_DONE, SYNC)
    with standing_still(zip(members, points, strict=True), leader) as undisturbed:
        on_their_way = Counter(leader.writes())
        with leader.frozen():
            frozen = time.monotonic()
            for member in members:
                member.until_served()
            assert time.monotonic() - frozen < undisturbed + LEASE_SECONDS + FREED_SECONDS
            stages = {member.name: member.application.stages() for member in members}
            logins = {member.name: member.database.count(CONNECT) for member in members}
            for member in members:
                member.let_go()
        leader.until_gone()
    assert "could not renew the Lease" in leader.log()
    assert Counter(leader.writes()) == on_their_way
    set_now = passwords_set(deployment.stack) - before
    for member in members:
        assert member.database.count(CONNECT) == logins[member.name]
        assert member.application.stages() == stages[member.name]
        member.check_passwords_set(set_now)
        member.check()
    assert deployment.leader() is stand_by
    deployment.start()
