"""The clone: made complete, proven before it is taken for one, and kept to exactly its base user's rights."""

from __future__ import annotations

from typing import Any

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import AuthenticationFailed, Refused, RightsReport
from sandbox.redis import RedisServer, digest
from tests.integration.redis.conftest import RIGHTS, Tenant, make_tenant

EVERYTHING = (
    "~app:*",
    "%R~shared:*",
    "%W~outbox:*",
    "&news:*",
    "&alerts",
    "-@all",
    "+@read",
    "+@write",
    "-@dangerous",
    "+config|get",
    "+select|0",
    "skip-sanitize-payload",
    "(~h:* +@hash)",
    "(%R~r:* &side +get +subscribe)",
)


def rights_of(tenant: Tenant, name: str) -> dict[str, Any]:
    """What the server says a user may, without who it is."""
    user = tenant.user(name)
    assert user is not None
    selectors = sorted(str(each) for each in user["selectors"] if "clone-of" not in str(each))
    flags = sorted(set(user["flags"]) - {"on", "off"})
    patterns = {kind: sorted(user[kind].split()) for kind in ("keys", "channels")}
    return {**user, **patterns, "flags": flags, "selectors": selectors, "passwords": len(user["passwords"])}


@pytest.mark.parametrize("rights", [EVERYTHING, RIGHTS, ("~*", "&*", "+@all"), (), ("+@all", "-flushall", "allkeys")])
def test_a_missing_clone_is_created_with_exactly_the_rights_of_its_base_user(
    redis: RedisServer, rights: tuple[str, ...]
) -> None:
    tenant = make_tenant(redis, rights=rights)
    assert tenant.set(tenant.clone, "first") == RightsReport()
    assert rights_of(tenant, tenant.clone) == rights_of(tenant, tenant.base)
    assert tenant.verify(tenant.clone, "first") == []
    assert tenant.verify(tenant.base, tenant.password) == []


def test_setting_again_replaces_the_password_and_nothing_else(tenant: Tenant) -> None:
    tenant.set(tenant.clone, "first")
    before = rights_of(tenant, tenant.clone)
    assert tenant.set(tenant.clone, "second") == RightsReport()
    assert rights_of(tenant, tenant.clone) == before
    with pytest.raises(AuthenticationFailed):
        tenant.verify(tenant.clone, "first")


def test_the_base_users_turn_comes_after_the_clones(tenant: Tenant) -> None:
    tenant.set(tenant.clone, "first")
    with tenant.open() as session:
        session.check_users(tenant.users)
        pending = tenant.credential(tenant.base, "second")
        assert session.set_password(tenant.users, pending, Rights.ENFORCE) == RightsReport()
    assert tenant.verify(tenant.base, "second") == tenant.verify(tenant.clone, "first") == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ("+config|get", "commands of {clone}: lacks +config|get"),
        (
            "-get",
            "commands of {clone}: lacks +@bitmap +@geo +@hash +@hyperloglog +@keyspace and 16 more "
            "and has +@read +@write itself",
        ),
        ("~more:*", "keys of {clone}: lacks ~more:*"),
        ("&more", "channels of {clone}: lacks &more"),
        ("(~s:* +get)", "selectors of {clone}: lacks (~s:* resetchannels -@all +get)"),
        ("skip-sanitize-payload", "flags of {clone}: lacks skip-sanitize-payload and has sanitize-payload itself"),
        ("-@write", "commands of {clone}: has +@write -del itself"),
        ("resetkeys", "keys of {clone}: has ~app:* itself"),
        ("resetchannels", "channels of {clone}: has &news:* itself"),
    ],
)
def test_what_the_base_user_is_given_or_loses_the_clone_has_or_lacks_too(
    tenant: Tenant, changed: str, told: str
) -> None:
    tenant.set(tenant.clone, "first")
    tenant.server.command("ACL", "SETUSER", tenant.base, changed)
    sentence = told.format(clone=tenant.clone)
    assert tenant.set(tenant.clone, "second", rights=Rights.REPORT) == RightsReport(remaining=(sentence,))
    assert tenant.set(tenant.clone, "third", rights=Rights.IGNORE) == RightsReport()
    assert tenant.set(tenant.clone, "fourth") == RightsReport(repaired=(sentence,))
    assert rights_of(tenant, tenant.clone) == rights_of(tenant, tenant.base)
    assert tenant.verify(tenant.clone, "fourth") == []


def test_what_the_clone_was_given_by_itself_is_taken_away(tenant: Tenant) -> None:
    tenant.set(tenant.clone, "first")
    tenant.server.command("ACL", "SETUSER", tenant.clone, "+@all", "~*", "(~x +set)")
    report = tenant.set(tenant.clone, "second")
    assert len(report.repaired) == 3
    assert rights_of(tenant, tenant.clone) == rights_of(tenant, tenant.base)


@pytest.mark.parametrize(
    "rules",
    [
        ("+@all", "~*", "&*"),
        ("+@read",),
        (*RIGHTS, "+config|get"),
        (*RIGHTS, "~more:*"),
        (*RIGHTS, "(~more:* +get)"),
        (*RIGHTS, "(~rotated-secrets:clone-of:another resetchannels -@all)"),
        (*RIGHTS, "(~rotated-secrets:clone-of:{base} resetchannels -@all +get)"),
    ],
)
@pytest.mark.parametrize("rights", Rights)
def test_a_user_with_the_clones_name_is_refused_before_anything_changes(
    tenant: Tenant, rules: tuple[str, ...], rights: Rights
) -> None:
    tenant.server.make_user(tenant.clone, "somebody's", *(rule.format(base=tenant.base) for rule in rules))
    before = tenant.server.command("ACL", "LIST")
    with tenant.open() as session:
        with pytest.raises(Refused, match="not provably the clone"):
            session.check_users(tenant.users)
        with pytest.raises(Refused, match="not provably the clone"):
            session.set_password(tenant.users, tenant.credential(tenant.clone, "stolen"), rights)
    assert tenant.server.command("ACL", "LIST") == before


def test_a_user_with_the_clones_name_and_exactly_its_rights_is_adopted(tenant: Tenant) -> None:
    tenant.server.make_user(tenant.clone, "made by another rotator", *RIGHTS)
    sentence = f"{tenant.clone} is not marked as the clone of {tenant.base}"
    assert tenant.set(tenant.clone, "first") == RightsReport(repaired=(sentence,))
    tenant.server.command("ACL", "SETUSER", tenant.base, "+config|get")
    assert len(tenant.set(tenant.clone, "second").repaired) == 1


def test_the_mark_of_a_clone_gives_no_right_to_anything(tenant: Tenant) -> None:
    tenant.set(tenant.clone, "first")
    key = f"rotated-secrets:clone-of:{tenant.base}"
    denied = tenant.server.command("ACL", "DRYRUN", tenant.clone, "GET", key)
    assert "no permissions" in denied
    assert tenant.server.command("ACL", "DRYRUN", tenant.clone, "GET", "app:x") == "OK"


def test_a_locked_user_is_out_until_its_password_is_set(tenant: Tenant) -> None:
    tenant.set(tenant.clone, "first")
    with tenant.open() as session:
        session.disable_login(tenant.clone)
    with pytest.raises(AuthenticationFailed):
        tenant.verify(tenant.clone, "first")
    assert tenant.set(tenant.clone, "second") == RightsReport()
    assert tenant.verify(tenant.clone, "second") == []


def test_users_are_two_however_often_passwords_are_set(tenant: Tenant) -> None:
    for turn in range(3):
        tenant.set(tenant.clone, f"clone-{turn}")
        tenant.set(tenant.base, f"base-{turn}")
    names = [line.split()[1] for line in tenant.server.command("ACL", "LIST")]
    assert sorted(name for name in names if name.startswith(tenant.base)) == [tenant.base, tenant.clone]
    assert (tenant.user(tenant.clone) or {})["passwords"] == [digest("clone-2")]
