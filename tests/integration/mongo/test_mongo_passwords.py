"""Passwords of MongoDB's users: set, tested, taken back, and seen by nobody."""

from __future__ import annotations

import dataclasses

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import AuthenticationFailed, Refused, RightsReport, Users
from tests.integration.mongo.conftest import Tenant


def test_a_clone_is_made_that_logs_in(tenant: Tenant) -> None:
    assert tenant.set_clone("first") == RightsReport()
    assert tenant.verify(tenant.clone, "first", '{"find": "prices"}') == []
    assert tenant.verify(tenant.base, tenant.password) == []


def test_the_two_users_take_turns(tenant: Tenant) -> None:
    for turn in range(1, 6):
        user = tenant.clone if turn % 2 else tenant.base
        assert tenant.set(user, f"turn-{turn}") == RightsReport()
        assert tenant.verify(user, f"turn-{turn}") == []
        if turn > 1:
            assert tenant.verify(tenant.users.alternate(user), f"turn-{turn - 1}") == []
