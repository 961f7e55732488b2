"""DualPassword: the password in use is never refused, whatever state a crash or a person has left."""

from __future__ import annotations

import dataclasses
import re

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import AuthenticationFailed, Refused, RightsReport, Tls, Unavailable, Users
from rotated_secrets.databases.mysql.errors import ConnectionLost
from rotated_secrets.databases.mysql.login import log_in
from rotated_secrets.values import Credential, SecretText
from tests.integration.mysql.conftest import ENGINE, Tenant, heard


def valid(tenant: Tenant, *passwords: str) -> list[str]:
    """Those of the passwords that log in now."""
    found = []
    for password in passwords:
        try:
            assert tenant.verify(tenant.base, password) == []
            found.append(password)
        except AuthenticationFailed:
            pass
    return found


def statements_since(tenant: Tenant, begun: int) -> list[str]:
    said = re.findall(r"Query\t(ALTER USER .*)", heard(tenant.server)[begun:])
    return [re.sub(r"^ALTER USER \S+ ", "", one) for one in said if tenant.base in one]


IDENTIFIED = "IDENTIFIED WITH 'caching_sha2_password' BY <secret>"
RETAINED = f"{IDENTIFIED} RETAIN CURRENT PASSWORD ACCOUNT UNLOCK"
REPLACED = f"{IDENTIFIED} ACCOUNT UNLOCK"
DISCARDED = "DISCARD OLD PASSWORD"
MANUALLY = "ALTER USER {base} IDENTIFIED BY "


def test_a_new_password_comes_beside_the_old_one_which_is_then_retired(tenant: Tenant) -> None:
    assert tenant.set(tenant.base, "second", keep=tenant.password) == RightsReport()
    assert valid(tenant, tenant.password, "second") == [tenant.password, "second"]
    assert tenant.set(tenant.base, "second", alone=True) == RightsReport()
    assert valid(tenant, tenant.password, "second") == ["second"]
    tenant.set(tenant.base, "third", keep="second")
    assert valid(tenant, tenant.password, "second", "third") == ["second", "third"]


def test_each_is_one_statement_where_one_is_enough(tenant: Tenant) -> None:
    begun = len(heard(tenant.server))
    tenant.set(tenant.base, "second", keep=tenant.password)
    tenant.set(tenant.base, "second", alone=True)
    assert statements_since(tenant, begun) == [RETAINED, DISCARDED]


@pytest.mark.parametrize("keep", [True, False])
def test_setting_again_after_a_crash_changes_nothing(tenant: Tenant, keep: bool) -> None:
    tenant.set(tenant.base, "second", keep=tenant.password)
    if not keep:
        tenant.set(tenant.base, "second", alone=True)
    begun = len(heard(tenant.server))
    tenant.set(tenant.base, "second", keep=tenant.password if keep else None, alone=True)
    assert statements_since(tenant, begun) == []
    assert "second" in valid(tenant, tenant.password, "second")


# The passwords before (primary, secondary), and what has to be run. `old` is AWSCURRENT's, `new` AWSPENDING's.
STATES_BEFORE_ADDING = [
    (("old", None), [RETAINED]),
    (("old", "third"), [RETAINED]),
    # What keeps the primary password would take away the one in use.
    (("third", "old"), [REPLACED, RETAINED]),
    (("new", "old"), []),
    (("old", "new"), []),
    (("new", "third"), [RETAINED]),
]


def arrange(tenant: Tenant, primary: str, secondary: str | None) -> None:
    if secondary is not None:
        tenant.sql(MANUALLY + f"'{secondary}'", MANUALLY + f"'{primary}' RETAIN CURRENT PASSWORD")
    else:
        tenant.sql(MANUALLY + f"'{primary}'")


@pytest.mark.parametrize(("before", "statements"), STATES_BEFORE_ADDING)
def test_the_one_that_is_kept_stays_valid_whatever_was_there(
    tenant: Tenant, before: tuple[str, str | None], statements: list[str]
) -> None:
    arrange(tenant, *before)
    begun = len(heard(tenant.server))
    tenant.set(tenant.base, "new", keep="old")
    assert statements_since(tenant, begun) == statements
    assert valid(tenant, "old", "new", "third") == ["old", "new"]


@pytest.mark.parametrize(
    ("before", "statements"),
    [
        (("old", None), []),
        (("old", "third"), [DISCARDED]),
        (("new", "old"), [REPLACED, DISCARDED]),
        (("third", None), [REPLACED]),
    ],
)
def test_the_one_that_stays_alone_is_valid_throughout(
    tenant: Tenant, before: tuple[str, str | None], statements: list[str]
) -> None:
    """Retiring and rolling back: the secondary one becomes the primary one before the other goes."""
    arrange(tenant, *before)
    begun = len(heard(tenant.server))
    tenant.set(tenant.base, "old", alone=True)
    assert statements_since(tenant, begun) == statements
    assert valid(tenant, "old", "new", "third") == ["old"]


def test_what_may_not_be_used_twice_is_no_hindrance(tenant: Tenant) -> None:
    tenant.sql("ALTER USER {base} PASSWORD HISTORY 9")
    current = tenant.password
    for number in range(3):
        for _ in range(2):
            tenant.set(tenant.base, f"new-{number}", keep=current)
        assert valid(tenant, current, f"new-{number}") == [current, f"new-{number}"]
        for _ in range(2):
            tenant.set(tenant.base, f"new-{number}", alone=True)
        current = f"new-{number}"
    assert valid(tenant, "new-0", "new-1", "new-2") == ["new-2"]


def test_one_that_may_not_be_used_twice_is_not_put_at_risk(tenant: Tenant) -> None:
    arrange(tenant, "third", "old")
    tenant.sql("ALTER USER {base} PASSWORD HISTORY 9", MANUALLY + "'fourth'")
    tenant.sql(MANUALLY + "'old'", MANUALLY + "'fifth' RETAIN CURRENT PASSWORD")
    with pytest.raises(Refused, match="PASSWORD HISTORY"):
        tenant.set(tenant.base, "new", keep="old")
    assert valid(tenant, "old", "fifth", "new") == ["old", "fifth"]


def test_the_applications_next_session_without_tls_is_not_refused(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """caching_sha2_password wants TLS or the server's key of whoever comes first after a change."""
    tenant.sql(MANUALLY + "'first'")
    assert not is_remembered(tenant, "first", monkeypatch)
    tenant.set(tenant.base, "second", keep="first")
    assert is_remembered(tenant, "first", monkeypatch)
    tenant.set(tenant.base, "second", alone=True)
    assert is_remembered(tenant, "second", monkeypatch)


def is_remembered(tenant: Tenant, password: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a client without TLS gets in that has not the server's key, and does not ask for it."""

    def ask(*_: object) -> bytes:
        raise ConnectionLost("it asks")

    with monkeypatch.context() as patched:
        patched.setattr("pymysql._auth.sha2_rsa_encrypt", ask)
        try:
            plain = dataclasses.replace(tenant.reach, tls=Tls(TlsMode.DISABLE))
            log_in(plain, tenant.credential(tenant.base, password)).close()
        except Unavailable:
            return False
    return True


def test_a_user_may_have_two_by_itself_with_a_privilege(tenant: Tenant) -> None:
    tenant.sql("GRANT APPLICATION_PASSWORD_ADMIN ON *.* TO {base}")
    own = tenant.current
    for _ in range(2):
        tenant.set(tenant.base, "second", keep=tenant.password, admin=own)
        assert valid(tenant, tenant.password, "second") == [tenant.password, "second"]
    # Restored, and retired.
    tenant.set(tenant.base, tenant.password, alone=True, admin=own)
    assert valid(tenant, tenant.password, "second") == [tenant.password]
    tenant.set(tenant.base, "third", keep=tenant.password, admin=own)
    tenant.set(tenant.base, "third", alone=True, admin=tenant.credential(tenant.base, "third"))
    assert valid(tenant, tenant.password, "second", "third") == ["third"]


def test_a_user_that_may_not_have_two_is_told_the_privilege(tenant: Tenant) -> None:
    with pytest.raises(Refused, match="APPLICATION_PASSWORD_ADMIN"):
        tenant.set(tenant.base, "second", keep=tenant.password, admin=tenant.current)
    assert valid(tenant, tenant.password, "second") == [tenant.password]


def test_no_other_users_password_is_kept(tenant: Tenant) -> None:
    other = Credential("mysql", "localhost", "other", SecretText("x"))
    with tenant.open() as session, pytest.raises(Refused, match="cannot be kept"):
        session.set_password(Users(tenant.base), tenant.credential(tenant.base, "second"), Rights.ENFORCE, other)


def test_one_login_that_fails_is_the_most_that_it_costs(tenant: Tenant) -> None:
    """Users may be locked after a few."""
    tenant.sql("ALTER USER {base} FAILED_LOGIN_ATTEMPTS 1 PASSWORD_LOCK_TIME UNBOUNDED")
    tenant.set(tenant.base, "second", keep=tenant.password)
    assert ENGINE.verify(tenant.reach, tenant.current, Users(tenant.base)) == []


def test_an_old_password_is_not_told_to_be_retired_by_who_cannot(tenant: Tenant) -> None:
    """The admin secret was left out, or the privilege taken, since there are two."""
    tenant.set(tenant.base, "second", keep=tenant.password)
    own = tenant.credential(tenant.base, "second")
    with pytest.raises(Refused, match=r"adminSecretId.*GRANT APPLICATION_PASSWORD_ADMIN ON \*\.\* TO '"):
        tenant.set(tenant.base, "second", Rights.IGNORE, admin=own, alone=True)
    assert tenant.verify(tenant.base, tenant.password) == []
    tenant.sql("GRANT APPLICATION_PASSWORD_ADMIN ON *.* TO {base}")
    tenant.set(tenant.base, "second", Rights.IGNORE, admin=own, alone=True)
    with pytest.raises(AuthenticationFailed):
        tenant.verify(tenant.base, tenant.password)


def test_a_single_user_sets_its_own_password_and_sets_it_again_after_a_crash(tenant: Tenant) -> None:
    tenant.set(tenant.base, "second", admin=tenant.current, alone=True)
    tenant.set(tenant.base, "second", admin=tenant.credential(tenant.base, "second"), alone=True)
    tenant.set(tenant.base, tenant.password, Rights.IGNORE, admin=tenant.credential(tenant.base, "second"), alone=True)
    assert tenant.verify(tenant.base, tenant.password) == []
