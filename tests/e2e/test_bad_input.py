"""Bad input gets a clear error, and nothing else happens: no write to the store, no login that isn't due, no change in
the database."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from psycopg2.sql import SQL, Identifier

from sandbox.stack import Stack
from sandbox.tls import CertificateAuthority
from tests.e2e.conftest import MakeApplication
from tests.support.applied import Applied

pytestmark = pytest.mark.usefixtures("operator")

USERS = """
SELECT r.rolname, r.rolcanlogin, r.rolcreaterole, r.rolpassword, r.rolconnlimit,
       ARRAY(SELECT m.roleid FROM pg_auth_members m WHERE m.member = r.oid ORDER BY 1)
FROM pg_authid r ORDER BY 1
"""

Prepare = Callable[[Applied], object]


@dataclass(frozen=True)
class Bad:
    """One kind of bad input, and what is to be said of it."""

    name: str
    condition: tuple[str, str, str]
    """Type, status and reason."""
    says: str
    prepare: Prepare = lambda _: None
    spec: dict[str, Any] = field(default_factory=dict)
    rotation: dict[str, Any] = field(default_factory=dict)
    logins: int = 0
    """The most there may be."""
    user: str | None = None
    store_calls: int | None = None


def put(text: str | bytes) -> Prepare:
    """AWSCURRENT is this, whole."""

    def prepare(orders: Applied) -> None:
        kind = "SecretString" if isinstance(text, str) else "SecretBinary"
        client: Any = orders.application.store.client()
        client.put_secret_value(SecretId=orders.application.secret_id, **{kind: text})

    return prepare


def change(**keys: Any) -> Prepare:
    return lambda orders: orders.application.put_value(**keys)


def deny(orders: Applied) -> None:
    orders.stack.store_proxy.answer_with(
        "AccessDeniedException", "User is not authorized to perform it", subject=orders.application.secret_id
    )


def admin_may_nothing(orders: Applied) -> None:
    database, admin, user = orders.stack.database, orders.application.admin, orders.application.user
    database.sql(SQL("ALTER ROLE {} NOCREATEROLE").format(Identifier(admin)))
    if database.major >= 16:
        database.sql(SQL("REVOKE {} FROM {}").format(Identifier(user), Identifier(admin)))


def somebody_elses_user(orders: Applied) -> None:
    orders.stack.database.sql(SQL("CREATE ROLE {} LOGIN").format(Identifier(orders.application.clone)))


INVALID_VALUE = ("Ready", "False", "InvalidSecretValue")
INVALID_SPEC = ("Ready", "False", "InvalidSpec")
ELSEWHERE = {"source": {"secretId": "another-namespace/orders"}}

BAD: tuple[Bad, ...] = (
    Bad("not JSON", INVALID_VALUE, "not a JSON object", put("user=orders password=hunter2-canary")),
    Bad("missing keys", INVALID_VALUE, "lacks host", change(host=None)),
    Bad("wrong engine", INVALID_VALUE, "engine in the secret value is not one of", change(engine="oracle-of-delphi")),
    Bad("binary value", INVALID_VALUE, "binary", put(b"\x00\x01")),
    Bad("username too long for the suffix", INVALID_VALUE, "cuts names after 63", user="u" * 60),
    Bad(
        "impossible password policy",
        INVALID_SPEC,
        "password",
        rotation={"password": {"excludeCharacters": "0123456789"}},
        logins=1,
    ),
    Bad("bad schedule", INVALID_SPEC, "cron", rotation={"schedule": "cron(99 99 ? * SUN *)"}, logins=1),
    Bad("a schedule below the minimum", INVALID_SPEC, "minimum", rotation={"schedule": "cron(* * * * ? *)"}, logins=1),
    Bad(
        "missing secret",
        ("Ready", "False", "SecretNotFound"),
        "finds no secret",
        lambda orders: orders.application.store.client().delete_secret(
            SecretId=orders.application.secret_id, ForceDeleteWithoutRecovery=True
        ),
    ),
    Bad("denied by AWS", ("Ready", "False", "AccessDenied"), "secretsmanager:DescribeSecret", deny),
    Bad(
        "denied by the policy",
        ("Ready", "False", "AccessDenied"),
        "another-namespace/orders",
        spec=ELSEWHERE,
        store_calls=0,
    ),
    Bad(
        "unknown template variable",
        ("Synced", "False", "TemplateFailed"),
        "pasword",
        spec={"target": {"template": {"URL": "{{ pasword }}"}}},
        logins=1,
    ),
    Bad("admin without rights", ("Rotated", "False", "CreateFailed"), "CREATEROLE", admin_may_nothing, logins=2),
    Bad(
        "a user that has the clone's name and isn't the clone",
        ("Rotated", "False", "CreateFailed"),
        "not provably the clone",
        somebody_elses_user,
        logins=2,
    ),
    Bad("a host that the guards refuse", INVALID_VALUE, "169.254.169.254", change(host="169.254.169.254")),
)


def logins(orders: Applied) -> int:
    """Of its own users: other applications of this operator are looked at meanwhile."""
    application = orders.application
    users = "|".join(map(re.escape, (application.user, application.clone, application.admin)))
    tried = rf'connection authorized: user=({users}) |authentication failed for user "({users})"'
    return len(re.findall(tried, orders.stack.database.log()))


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_bad_input_is_told_and_nothing_else_happens(bad: Bad, make_application: MakeApplication, stack: Stack) -> None:
    orders = make_application(user=bad.user)
    bad.prepare(orders)
    before = stack.database.sql(USERS)
    calls_before = len(orders.store_calls())

    orders.apply(bad.spec, request="due", **bad.rotation)

    condition = orders.until(*bad.condition)
    assert bad.says in condition["message"]
    assert "hunter2-canary" not in condition["message"]
    assert orders.store_writes() == []
    if bad.store_calls is not None:
        assert len(orders.store_calls()) - calls_before == bad.store_calls
    assert logins(orders) <= bad.logins
    assert stack.database.sql(USERS) == before


def test_while_the_database_is_down_the_secret_is_delivered_and_nothing_is_rotated(orders: Applied) -> None:
    """Pods that start meanwhile get their credential; the rotation waits, and runs once the database is back."""
    with orders.stack.database_proxy.partitioned():
        orders.apply(request="due")
        condition = orders.until("Ready", "False", "LoginFailed")
        assert "127.0.0.1" in condition["message"]
        assert orders.secret() is not None
        assert orders.store_writes() == []
        assert orders.application.users() == {orders.application.user}
    orders.until_served("due", seconds=40)


def test_a_server_with_a_certificate_of_another_authority_is_not_talked_to(orders: Applied) -> None:
    if not orders.stack.database.tls:
        pytest.skip("this PostgreSQL speaks no TLS")
    before = orders.stack.database.sql(USERS)
    body = {"metadata": {"name": "another-ca"}, "stringData": {"ca.crt": CertificateAuthority.create().certificate}}
    orders.api.create(orders.secret_path.rpartition("/")[0], body)
    orders.apply({"database": {"tls": {"mode": "VerifyFull", "caSecretName": "another-ca"}}}, request="due")
    condition = orders.until("Ready", "False", "LoginFailed")
    assert "certificate" in condition["message"]
    assert orders.store_writes() == []
    assert orders.stack.database.sql(USERS) == before
    assert f"connection authorized: user={orders.application.user} " not in orders.stack.database.log()
