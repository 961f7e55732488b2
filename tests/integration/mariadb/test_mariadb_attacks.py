"""The admin changes the base user and its provable clone alone, and nobody gets anything from its session."""

from __future__ import annotations

import pymysql
import pytest

from rotated_secrets.databases.base import AuthenticationFailed, Refused, RightsReport, Users
from rotated_secrets.databases.mariadb.hashes import native_hash, no_passwords_hash
from rotated_secrets.databases.mariadb.mark import account_of_mark, mark_statements, role_of
from rotated_secrets.databases.mariadb.state import State
from rotated_secrets.databases.mysql.accounts import Account
from rotated_secrets.databases.mysql.login import Session
from sandbox.mariadb import mariadb_server
from tests.integration.mariadb.conftest import Tenant, make_tenant

PASSWORD = "somebody's"


@pytest.fixture
def stranger(tenant: Tenant) -> Tenant:
    """Somebody else has the clone's name."""
    tenant.sql(f'CREATE USER {{clone}} IDENTIFIED BY "{PASSWORD}"', logged=False)
    return tenant


@pytest.mark.parametrize(
    ("what", "told"),
    [
        (["GRANT SELECT ON somewhere_else.* TO {clone}"], "somewhere_else"),
        (["GRANT SUPER ON *.* TO {clone}"], "SUPER"),
        (["GRANT SELECT ON {schema}.* TO {clone} WITH GRANT OPTION"], "GRANT OPTION"),
        (["GRANT SELECT (User) ON mysql.global_priv TO {clone}"], "global_priv"),
        (["GRANT SELECT ON {schema}.* TO {clone}", "ALTER USER {clone} IDENTIFIED VIA unix_socket"], "unix_socket"),
        (["GRANT USAGE ON *.* TO {clone}"], "no rights at all"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_whoever_is_not_provably_the_clone_keeps_its_password(stranger: Tenant, what: list[str], told: str) -> None:
    stranger.sql(*what)
    before = stranger.described(stranger.clone)
    for user in (stranger.clone, stranger.base):
        with pytest.raises(Refused, match="not provably the clone") as refused:
            stranger.set(user, "new")
        assert told in str(refused.value)
    assert stranger.described(stranger.clone) == before
    if told != "unix_socket":
        assert stranger.server.sql("SELECT 1", user=stranger.clone, password=PASSWORD)


def test_a_person_can_say_that_it_is_the_clone(stranger: Tenant) -> None:
    stranger.sql("GRANT ALL ON somewhere_else.* TO {clone}")
    with pytest.raises(Refused) as refused:
        stranger.set_clone("first")
    stranger.server.sql(*str(refused.value).partition("run: ")[2].split("; "))
    stranger.sql("GRANT ALL ON *.* TO {admin} WITH GRANT OPTION")
    assert stranger.set_clone("first").remaining == ()
    assert stranger.described(stranger.clone) == stranger.described(stranger.base)


def test_what_another_rotator_made_is_taken_over_where_nothing_is_won_by_it(stranger: Tenant) -> None:
    stranger.sql("GRANT ALL ON {schema}.* TO {clone}")
    assert stranger.set_clone("first") == RightsReport()
    assert stranger.described(stranger.clone) == stranger.described(stranger.base)
    # From now on it is known, and what it has too much is taken from it.
    stranger.sql("REVOKE DELETE ON {schema}.* FROM {base}")
    assert stranger.set_clone("second").repaired
    assert stranger.described(stranger.clone) == stranger.described(stranger.base)


def test_the_mark_of_another_base_user_is_none(stranger: Tenant) -> None:
    stranger.sql("GRANT ALL ON {schema}.* TO {clone}")
    stranger.server.sql(*mark_statements(Account("another"), state_of(stranger)))
    with pytest.raises(Refused, match=r"not provably the clone.*marked as the clone of another"):
        stranger.set_clone("first")


def test_a_role_that_marked_the_clone_of_another_base_user_still_does(stranger: Tenant) -> None:
    stranger.sql("GRANT ALL ON {schema}.* TO {clone}")
    role = role_of(f"another_{stranger.base}")
    stranger.sql(f"CREATE ROLE `{role}`", f"GRANT `{role}` TO {{clone}}")
    with pytest.raises(Refused, match=f"not provably the clone.*marked as the clone of another_{stranger.base}"):
        stranger.set_clone("first")


@pytest.mark.parametrize("terms", ["", "PASSWORD EXPIRE NEVER", "ACCOUNT UNLOCK", "WITH MAX_USER_CONNECTIONS 9"])
def test_a_user_that_gets_the_name_of_a_dropped_clone_is_not_taken_for_it(tenant: Tenant, terms: str) -> None:
    """The mark that is left names it, and it is another person's."""
    tenant.set_clone("first")
    tenant.sql("DROP USER {clone}", f'CREATE USER {{clone}} IDENTIFIED BY "{PASSWORD}" {terms}', logged=False)
    tenant.sql("GRANT SELECT ON somewhere_else.* TO {clone} WITH GRANT OPTION")
    session = tenant.server.connect(user=tenant.clone, password=PASSWORD)
    limits = "MAX_QUERIES_PER_HOUR 0 MAX_UPDATES_PER_HOUR 0 MAX_CONNECTIONS_PER_HOUR 0 MAX_USER_CONNECTIONS 0"
    with session, session.cursor() as cursor:
        # What it may write in itself does not help it.
        cursor.execute(f"GRANT USAGE ON somewhere_else.* TO CURRENT_USER() WITH {limits} MAX_STATEMENT_TIME 0")
        with pytest.raises(pymysql.MySQLError):
            cursor.execute("ALTER USER CURRENT_USER() PASSWORD EXPIRE DEFAULT ACCOUNT UNLOCK")
    if terms:
        tenant.sql(f"ALTER USER {{clone}} {terms}")
    before = tenant.described(tenant.clone)
    for user in (tenant.clone, tenant.base):
        with pytest.raises(Refused, match="not provably the clone"):
            tenant.set(user, "stolen")
    assert tenant.described(tenant.clone) == before
    tenant.set(tenant.clone, "its own", users=Users(tenant.clone))


def test_a_user_without_create_user_cannot_write_a_mark(stranger: Tenant) -> None:
    stranger.sql(f"GRANT ALL ON other_{stranger.schema}.* TO {{clone}} WITH GRANT OPTION")
    mark = account_of_mark(stranger.clone)
    session = stranger.server.connect(user=stranger.clone, password=PASSWORD)
    statements = [
        *mark_statements(Account(stranger.base), state_of(stranger)),
        f"GRANT USAGE ON other_{stranger.schema}.* TO {mark.sql} IDENTIFIED BY 'x' REQUIRE ISSUER 'a' AND SUBJECT 'b'",
        f"RENAME USER CURRENT_USER() TO {mark.sql}",
        f"INSERT INTO mysql.global_priv (Host, User) VALUES ('localhost', '{mark.user}')",
    ]
    with session, session.cursor() as cursor:
        for statement in statements:
            with pytest.raises(pymysql.MySQLError):
                cursor.execute(statement)
    assert stranger.server.sql(f"SELECT 1 FROM mysql.global_priv WHERE User = '{mark.user}'") == []


def state_of(tenant: Tenant) -> State:
    """The account with the clone's name."""
    rows = tenant.server.sql(f"SELECT User, Host, Priv FROM mysql.global_priv WHERE User = '{tenant.clone}'")
    return State.read(*map(str, rows[0]))


@pytest.mark.parametrize("turn", ["base", "clone"])
@pytest.mark.parametrize("option", ["", "WITH GRANT OPTION"])
def test_what_a_user_can_write_of_itself_makes_it_nobodys_clone(stranger: Tenant, turn: str, option: str) -> None:
    """A password as a hash, and where it may pass on anything at all, its whole list of ways to log in."""
    role = role_of(stranger.base)
    nobodys, own = no_passwords_hash(stranger.base), native_hash(PASSWORD.encode())
    via = f"mysql_native_password USING '{own}' OR mysql_native_password USING '{nobodys}'"
    stranger.sql(f"GRANT SELECT ON other_{stranger.schema}.* TO {{clone}} {option}", f"CREATE ROLE `{role}`")
    session = stranger.server.connect(user=stranger.clone, password=PASSWORD)
    with session, session.cursor() as cursor:
        for statement in (
            f"GRANT `{role}` TO CURRENT_USER()",
            f"CREATE OR REPLACE ROLE `{role}`",
            f"ALTER USER CURRENT_USER() IDENTIFIED VIA {via}",
        ):
            with pytest.raises(pymysql.MySQLError):
                cursor.execute(statement)
        cursor.execute(
            f"GRANT USAGE ON other_{stranger.schema}.* TO CURRENT_USER() IDENTIFIED VIA {via}"
            if option
            else f"SET PASSWORD = '{nobodys}'"
        )
        with pytest.raises(Refused, match="not provably the clone"):
            stranger.set(getattr(stranger, turn), "stolen")
    assert stranger.verify(stranger.base, stranger.password) == []


def test_the_mark_of_a_clone_that_is_gone_is_used_again_by_whatever_admin(tenant: Tenant) -> None:
    tenant.set_clone("first")
    tenant.sql("DROP USER {clone}")
    tenant.sql("GRANT ALL ON *.* TO {admin} WITH GRANT OPTION")
    assert tenant.set(tenant.clone, "second", admin=tenant.superuser) == RightsReport()
    assert tenant.set_clone("third") == RightsReport()


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("CREATE ROLE `{name}`", "a role"),
        ("CREATE USER `{name}`@`10.%`", "10.%"),
    ],
)
def test_a_role_and_a_user_from_elsewhere_are_not_the_clone(tenant: Tenant, what: str, told: str) -> None:
    tenant.server.sql(what.format(name=tenant.clone))
    with pytest.raises(Refused) as refused:
        tenant.set_clone("first")
    assert told in str(refused.value)


def test_a_base_user_that_is_none_or_several_is_refused(tenant: Tenant) -> None:
    with pytest.raises(Refused, match="does not exist"):
        tenant.set("nobody", "x", users=Users("nobody"))
    tenant.server.sql(f"CREATE ROLE `role_{tenant.base}`")
    with pytest.raises(Refused, match="is a role"):
        tenant.set(f"role_{tenant.base}", "x", users=Users(f"role_{tenant.base}"))
    tenant.server.sql(f"CREATE USER `{tenant.base}`@`10.%`")
    with pytest.raises(Refused, match=r"from hosts %, 10\.%"):
        tenant.set_clone("first")


def test_what_is_set_for_all_sessions_does_not_hold_for_the_admins() -> None:
    with mariadb_server() as server:
        tenant = make_tenant(server, base="o'b`r\\ie\"\n x")
        tenant.server.sql(
            "SET GLOBAL sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,PAD_CHAR_TO_FULL_LENGTH'",
            "SET GLOBAL sql_quote_show_create = OFF",
            "SET GLOBAL sql_select_limit = 1",
            "SET GLOBAL lc_messages = 'de_DE'",
            "SET GLOBAL old_passwords = ON",
            "SET GLOBAL character_set_server = 'latin1'",
        )
        assert tenant.set_clone("first") == RightsReport()
        assert tenant.set(tenant.base, "second") == RightsReport()
        alone = Users(tenant.base)
        tenant.set(tenant.base, "third", users=alone, admin=tenant.credential(tenant.base, "second"))
        server.sql("SET GLOBAL sql_mode = DEFAULT", "SET GLOBAL sql_quote_show_create = ON")
        assert tenant.verify(tenant.clone, "first") == []
        assert tenant.verify(tenant.base, "third") == []
        assert tenant.described(tenant.clone) == tenant.described(tenant.base)


def test_a_session_of_an_anonymous_user_is_not_taken_for_the_users() -> None:
    with mariadb_server() as server:
        tenant = make_tenant(server)
        tenant.sql("GRANT USAGE ON *.* TO ''@'127.0.0.1' IDENTIFIED BY 'known'", logged=False)
        with pytest.raises(AuthenticationFailed, match=r"the session belongs to @127\.0\.0\.1"):
            tenant.verify(tenant.base, "known")


def test_a_clone_dropped_meanwhile_is_not_made_anew_by_a_grant(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Session.ask

    def dropping(session: Session, statement: str, *arguments: float) -> object:
        if statement.startswith("GRANT"):
            tenant.sql("DROP USER IF EXISTS {clone}")
        return ask(session, statement, *arguments)

    monkeypatch.setattr(Session, "ask", dropping)
    with pytest.raises(Refused):
        tenant.set_clone("first")
    assert tenant.server.sql(f"SELECT 1 FROM mysql.user WHERE User = '{tenant.clone}'") == []
