"""Passwords: who gets one, that it logs in, and that no log of the server has it."""

from __future__ import annotations

from rotated_secrets.databases.base import RightsReport
from tests.integration.mariadb.conftest import Tenant


def test_a_clone_is_made_and_logs_in(tenant: Tenant) -> None:
    assert tenant.set_clone("first") == RightsReport()
    assert tenant.verify(tenant.clone, "first", "SELECT 1") == []
    assert tenant.verify(tenant.base, tenant.password) == []
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)
