"""The operator's AWS identity may change any user, and a tenant writes which: each way to have another's changed."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import Refused
from rotated_secrets.databases.elasticache.engine import ElastiCacheEngine
from rotated_secrets.databases.elasticache.user import OWNER_TAG
from rotated_secrets.values import Arn
from sandbox.redis import RedisServer
from tests.integration.elasticache.conftest import ACCOUNT, FIRST, REGION, Tenant, make_tenant

if TYPE_CHECKING:
    from mypy_boto3_elasticache import ElastiCacheClient

STOLEN = "a-password-of-the-thief"


@pytest.fixture
def victim(aws: ElastiCacheClient, cache: RedisServer, engine: ElastiCacheEngine) -> Tenant:
    return make_tenant(aws, cache, engine)


def is_refused(thief: Tenant, told: str, **fields: object) -> None:
    """Nothing that a session has changes a user for a value that says this."""
    for password in (FIRST, STOLEN):
        with pytest.raises(Refused, match=told):
            thief.verify(thief.credential(password, **fields))
    pending = thief.credential(STOLEN, **fields)
    users = dataclasses.replace(thief.users, base=pending.username)
    with pytest.raises(Refused, match=told), thief.open(pending) as session:
        session.try_lock(pending.username)
    with pytest.raises(Refused, match=told), thief.open(pending) as session:
        session.check_users(users)
    for keep in (None, thief.credential(FIRST, **fields)):
        with pytest.raises(Refused, match=told), thief.open(pending) as session:
            session.set_password(users, pending, Rights.ENFORCE, keep)


def test_anothers_user_is_not_changed(tenant: Tenant, victim: Tenant) -> None:
    is_refused(tenant, "is tagged as another secret's", user_arn=victim.arn, username=victim.name)
    assert victim.times_modified == tenant.times_modified == 0


def test_anothers_user_is_not_changed_under_the_thiefs_own_name(tenant: Tenant, victim: Tenant) -> None:
    is_refused(tenant, "is tagged as another secret's", user_arn=victim.arn)
    assert victim.times_modified == 0


def test_the_own_user_is_not_changed_under_anothers_name(tenant: Tenant, victim: Tenant) -> None:
    is_refused(tenant, f"logs in as {tenant.name}, and not as {victim.name}", username=victim.name)
    assert tenant.times_modified == 0


def test_a_user_that_nobody_tagged_is_not_changed_and_the_command_is_told(
    aws: ElastiCacheClient, cache: RedisServer, engine: ElastiCacheEngine
) -> None:
    tenant = make_tenant(aws, cache, engine, owned=False)
    command = (
        f"aws elasticache add-tags-to-resource --region {REGION} --resource-name {tenant.arn} "
        f"--tags Key={OWNER_TAG},Value={tenant.secret_arn}"
    )
    is_refused(tenant, command)
    assert tenant.times_modified == 0
    tenant.own(tenant.secret_arn)
    tenant.set(tenant.hosted(STOLEN), keep=tenant.hosted())
    assert tenant.verify(tenant.hosted(STOLEN)) == []


@pytest.mark.parametrize(
    "owner", ["", "shop/cache", "*", "{secret}x", "{upper}", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:*"]
)
def test_a_tag_that_is_not_exactly_the_secrets_arn_is_no_proof(tenant: Tenant, owner: str) -> None:
    tenant.own(owner.format(secret=tenant.secret_arn, upper=tenant.secret_arn.upper()))
    is_refused(tenant, "is tagged as another secret's")


def test_a_tag_that_is_taken_away_in_the_middle_ends_the_session(tenant: Tenant) -> None:
    with tenant.open() as session:
        assert session.try_lock(tenant.name)
        session.check_users(tenant.users)
        tenant.own("another's")
        with pytest.raises(Refused, match="another secret's"):
            session.set_password(tenant.users, tenant.hosted(STOLEN), Rights.ENFORCE)
    assert tenant.times_modified == 0


def test_a_tag_that_is_taken_away_while_another_change_is_waited_for_ends_the_session(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant.tag(test_seconds="0.3")
    tenant.aws.modify_user(UserId=tenant.id, Passwords=["somebody-elses-password"])

    class Waiting:
        monotonic = staticmethod(time.monotonic)

        @staticmethod
        def sleep(seconds: float) -> None:
            tenant.own("another's")
            time.sleep(seconds)

    monkeypatch.setattr("rotated_secrets.databases.elasticache.engine.time", Waiting)
    with tenant.open() as session, pytest.raises(Refused, match="another secret's"):
        session.set_password(tenant.users, tenant.hosted(STOLEN), Rights.ENFORCE)
    assert tenant.times_modified == 1


def test_a_secret_of_another_account_changes_nothing(tenant: Tenant) -> None:
    elsewhere = dataclasses.replace(tenant, secret_arn=tenant.secret_arn.replace(ACCOUNT, "999999999999"))
    tenant.own(elsewhere.secret_arn)
    is_refused(elsewhere, "to another account")


def test_a_user_of_another_account_is_not_taken_for_the_one_of_that_id_here(tenant: Tenant) -> None:
    """ModifyUser takes an id, which is looked for in the account of who asks."""
    there = dataclasses.replace(
        tenant,
        arn=tenant.arn.replace(ACCOUNT, "999999999999"),
        secret_arn=tenant.secret_arn.replace(ACCOUNT, "999999999999"),
    )
    there.own(there.secret_arn)
    is_refused(there, "has to belong to that account")
    assert tenant.times_modified == 0


@pytest.mark.parametrize(
    "arn",
    [
        7,
        ["a"],
        "app",
        "{arn} ",
        "{arn}\n",
        "{arn}/x",
        "{arn}:x",
        "{arn},other",
        "arn:aws:elasticache:eu-west-1:123456789012:usergroup:app",
        "arn:aws:rds:eu-west-1:123456789012:user:app",
        "arn:aws:elasticache::123456789012:user:app",
        "arn:aws:elasticache:evil.example.com#-1:123456789012:user:app",
        "arn:aws:elasticache:eu-west-1:12345678901:user:app",
        "arn:aws:elasticache:eu-west-1:123456789012:user:*",
        "arn:evil:elasticache:eu-west-1:123456789012:user:app",
    ],
)
def test_what_is_no_arn_of_a_user_reaches_no_api(tenant: Tenant, arn: object) -> None:
    written = arn.format(arn=tenant.arn) if isinstance(arn, str) else arn
    fields = {"engine": "elasticache", "host": "elasticache.amazonaws.com", "user_arn": written}
    is_refused(tenant, "user_arn in the secret value must be", **fields)


def test_a_region_of_the_tenants_choice_finds_no_user(tenant: Tenant) -> None:
    is_refused(tenant, "not tagged|not there", user_arn=tenant.arn.replace(REGION, "us-east-1"))
    assert tenant.times_modified == 0


def test_a_secret_whose_arn_nobody_knows_changes_nothing(tenant: Tenant) -> None:
    unknown = dataclasses.replace(tenant.hosted(), arn=None)
    other_service = dataclasses.replace(tenant.hosted(), arn=Arn(f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/x"))
    for credential in (unknown, other_service):
        with pytest.raises(Refused, match=r"the ARN of the secret .* is not known"):
            tenant.open(credential)


def test_a_session_for_one_user_sets_no_other(tenant: Tenant, victim: Tenant) -> None:
    mixed = [
        tenant.credential(STOLEN, user_arn=victim.arn),
        dataclasses.replace(victim.credential(STOLEN), username=tenant.name),
    ]
    with tenant.open() as session:
        for stolen in mixed:
            for credential, keep in ((stolen, None), (tenant.hosted(), stolen)):
                with pytest.raises(Refused, match="another user"):
                    session.set_password(tenant.users, credential, Rights.ENFORCE, keep)
        with pytest.raises(Refused, match="another user"):
            session.set_password(victim.users, tenant.hosted(STOLEN), Rights.ENFORCE)
        with pytest.raises(Refused, match="not for"):
            session.try_lock(victim.name)
    assert victim.times_modified == tenant.times_modified == 0


def test_an_admin_secret_is_no_way_to_another_user(tenant: Tenant, victim: Tenant) -> None:
    """There is none with ElastiCache: whoever writes one has a session for that secret's user alone."""
    with tenant.open(victim.hosted()) as session:
        with pytest.raises(Refused):
            session.check_users(tenant.users)
        with pytest.raises(Refused):
            session.set_password(tenant.users, tenant.hosted(STOLEN), Rights.ENFORCE)


def test_an_endpoint_in_the_value_is_nothing_to_us(tenant: Tenant) -> None:
    away = {"endpoint": "http://127.0.0.1:1", "endpoint_url": "http://127.0.0.1:1", "region": "us-east-1"}
    assert tenant.verify(tenant.credential(**away)) == []
