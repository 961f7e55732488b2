"""The clone can do exactly what its base user can, and is bound by the same, after every setSecret."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import Refused, RightsReport, Unavailable, Users
from rotated_secrets.databases.mysql.errors import ConnectionLost
from rotated_secrets.databases.mysql.login import Session
from sandbox.mysqld import MysqldServer
from tests.integration.mariadb.conftest import Tenant, make_tenant

TERMS = (
    "REQUIRE SSL WITH MAX_QUERIES_PER_HOUR 5000 MAX_UPDATES_PER_HOUR 4000 MAX_CONNECTIONS_PER_HOUR 3000 "
    "MAX_USER_CONNECTIONS 20 MAX_STATEMENT_TIME 12.5 PASSWORD EXPIRE INTERVAL 90 DAY"
)


@pytest.fixture
def everything(mariadb: MysqldServer) -> Iterator[Tenant]:
    """A base user with all that an account of MariaDB can have."""
    tenant = make_tenant(mariadb, terms=TERMS)
    mark = secrets.token_hex(3)
    tenant.sql(
        f"CREATE DATABASE `{mark} TO b`",
        f"CREATE DATABASE `{mark}``tick`",
        f"CREATE TABLE `{mark} TO b`.`t``1` (`a b` INT, `c``d` INT, e INT)",
        f"CREATE FUNCTION `{mark} TO b`.f() RETURNS INT DETERMINISTIC RETURN 1",
        f"CREATE PROCEDURE `{mark} TO b`.p() SELECT 1",
        f"CREATE ROLE `read {mark}`",
        f"CREATE ROLE `write {mark}`",
        f"GRANT SELECT, INSERT ON `{mark} TO b`.* TO {{base}} WITH GRANT OPTION",
        f"GRANT DELETE ON `{mark}``tick`.* TO {{base}}",
        rf"GRANT SELECT ON `{mark}\_one\%`.* TO {{base}}",
        f"GRANT SELECT ON `{mark}_any%`.* TO {{base}}",
        f"GRANT SELECT (`a b`, `c``d`), UPDATE (e), INSERT ON `{mark} TO b`.`t``1` TO {{base}}",
        f"GRANT EXECUTE ON FUNCTION `{mark} TO b`.f TO {{base}}",
        f"GRANT EXECUTE, ALTER ROUTINE ON PROCEDURE `{mark} TO b`.p TO {{base}} WITH GRANT OPTION",
        "GRANT PROCESS, REPLICATION CLIENT ON *.* TO {base}",
        "GRANT PROXY ON {admin} TO {base}",
        f"GRANT `read {mark}` TO {{base}}",
        f"GRANT `write {mark}` TO {{base}} WITH ADMIN OPTION",
        f"SET DEFAULT ROLE `read {mark}` FOR {{base}}",
        f"GRANT `read {mark}` TO {{admin}} WITH ADMIN OPTION",
        f"GRANT `write {mark}` TO {{admin}} WITH ADMIN OPTION",
        "GRANT ALL ON *.* TO {admin} WITH GRANT OPTION",
        "GRANT PROXY ON ''@'%' TO {admin} WITH GRANT OPTION",
    )
    yield tenant
    for name in (f"{mark} TO b", f"{mark}`tick", tenant.schema):
        tenant.server.sql(f"DROP DATABASE `{name.replace('`', '``')}`")


def test_a_clone_has_exactly_what_its_base_user_has(everything: Tenant) -> None:
    assert everything.set_clone("first") == RightsReport()
    found = everything.described(everything.clone)
    assert found == everything.described(everything.base)
    told = "\n".join(found)
    for sign in (
        *("REQUIRE SSL", "MAX_QUERIES_PER_HOUR 5000", "MAX_STATEMENT_TIME 12.500000", "EXPIRE INTERVAL 90 DAY"),
        *(" TO b`.* TO", "SET DEFAULT ROLE", "WITH ADMIN OPTION", "WITH GRANT OPTION", "PROXY", r"\_one\%"),
        *("PROCESS", "FUNCTION", "PROCEDURE", "`a b`"),
    ):
        assert sign in told
    assert everything.verify(everything.clone, "first", "SELECT 1") == []
    assert everything.server.sql("SELECT CURRENT_ROLE()", user=everything.clone, password="first")[0][0][:4] == "read"


def test_ten_rotations_leave_it_as_it_is(everything: Tenant) -> None:
    everything.set_clone("first")
    before = everything.described(everything.base)
    for number in range(10):
        user = everything.users.alternate(everything.clone if number % 2 else everything.base)
        assert everything.set(user, f"password-{number}") == RightsReport()
        assert everything.verify(user, f"password-{number}") == []
    assert everything.described(everything.base) == before
    assert everything.described(everything.clone) == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("GRANT EVENT ON *.* TO {base}", "lacks EVENT"),
        ("GRANT SELECT ON mysql.help_topic TO {base}", "help_topic"),
        ("REVOKE DELETE ON {schema}.* FROM {base}", "DELETE"),
        ("GRANT USAGE ON {schema}.* TO {base} WITH GRANT OPTION", "GRANT OPTION"),
        ("GRANT SELECT ON `left over`.* TO {clone}", "left over"),
        ("GRANT SELECT ON {schema}.* TO {clone} WITH GRANT OPTION", "GRANT OPTION"),
        ("GRANT ALL ON *.* TO {clone} WITH GRANT OPTION", "on *.*"),
        ("ALTER USER {base} REQUIRE X509", "REQUIRE"),
        ("ALTER USER {base} REQUIRE ISSUER '/CN=it''s' AND SUBJECT '/CN=\\\\' AND CIPHER 'AES'", "REQUIRE"),
        ("ALTER USER {clone} WITH MAX_USER_CONNECTIONS 1", "resource limits"),
        ("ALTER USER {base} PASSWORD EXPIRE NEVER", "password lifetime"),
    ],
)
@pytest.mark.parametrize("its_turn", [True, False], ids=["the clone's turn", "the base user's turn"])
def test_what_changed_since_is_repaired_and_told(tenant: Tenant, change: str, told: str, its_turn: bool) -> None:
    tenant.sql("GRANT ALL ON *.* TO {admin} WITH GRANT OPTION")
    tenant.set_clone("first")
    tenant.sql(change)
    assert tenant.described(tenant.clone) != tenant.described(tenant.base)
    user = tenant.clone if its_turn else tenant.base
    report = tenant.set(user, "second")
    assert report.remaining == ()
    assert told in " ".join(report.repaired)
    assert all(sentence.startswith(tenant.clone) for sentence in report.repaired)
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)
    assert tenant.set(user, "third") == RightsReport()


def test_roles_come_and_go(tenant: Tenant) -> None:
    one, two = f"one_{tenant.schema}", f"two_{tenant.schema}"
    tenant.sql(
        f"CREATE ROLE {one}",
        f"CREATE ROLE {two}",
        f"GRANT {one} TO {{admin}} WITH ADMIN OPTION",
        f"GRANT {two} TO {{admin}} WITH ADMIN OPTION",
        f"GRANT {one} TO {{base}}",
        f"SET DEFAULT ROLE {one} FOR {{base}}",
    )
    tenant.set_clone("first")
    tenant.sql(f"GRANT {two} TO {{base}} WITH ADMIN OPTION", f"SET DEFAULT ROLE {two} FOR {{base}}")
    assert len(tenant.set_clone("second").repaired) == 2
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)
    tenant.sql(f"REVOKE ADMIN OPTION FOR {two} FROM {{base}}")
    tenant.set_clone("third")
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)
    tenant.sql(f"REVOKE {two} FROM {{base}}")
    # The base user's default role is named on, though it is gone: its sessions start with none.
    tenant.set_clone("fourth")
    assert tenant.server.sql("SELECT CURRENT_ROLE()", user=tenant.clone, password="fourth") == [(None,)]
    tenant.sql("SET DEFAULT ROLE NONE FOR {base}")
    assert len(tenant.set_clone("fifth").repaired) == 1
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)


def test_a_default_role_that_the_admin_may_not_set_is_set_by_the_clone_itself(tenant: Tenant) -> None:
    role = f"role_{tenant.schema}"
    tenant.sql(f"CREATE ROLE {role}", f"GRANT {role} TO {{admin}} WITH ADMIN OPTION", f"GRANT {role} TO {{base}}")
    tenant.sql(f"SET DEFAULT ROLE {role} FOR {{base}}")
    with pytest.raises(Exception, match="denied"):
        tenant.server.sql(
            f"SET DEFAULT ROLE {role} FOR {tenant.base}",
            user=tenant.admin.username,
            password=tenant.admin.password.reveal(),
        )
    assert tenant.set_clone("first") == RightsReport()
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)
    tenant.server.sql("SET DEFAULT ROLE NONE", user=tenant.clone, password="first")
    report = tenant.set_clone("second")
    assert report == RightsReport(repaired=(f"{tenant.clone} starts with role NONE instead of {role}",))


def test_what_the_admin_may_not_give_stops_the_rotation_before_the_password_is_set(tenant: Tenant) -> None:
    tenant.set_clone("first")
    tenant.sql("GRANT EVENT ON *.* TO {base}")
    with pytest.raises(Refused, match="EVENT"):
        tenant.set_clone("second")
    assert tenant.verify(tenant.clone, "first") == []
    # It is not the base user's fault, and no reason to leave it without its password.
    report = tenant.set(tenant.base, "third")
    assert "EVENT" in report.remaining[0]
    assert tenant.verify(tenant.base, "third") == []


def test_report_tells_and_ignore_does_not_look(tenant: Tenant) -> None:
    tenant.set_clone("first", Rights.REPORT)
    assert tenant.described(tenant.clone) == tenant.described(tenant.base), "a clone that is made is complete"
    tenant.sql("REVOKE DELETE ON {schema}.* FROM {base}", "ALTER USER {base} WITH MAX_USER_CONNECTIONS 7")
    before = tenant.described(tenant.clone)
    report = tenant.set_clone("second", Rights.REPORT)
    assert report.repaired == ()
    assert len(report.remaining) == 2
    assert tenant.set_clone("third", Rights.IGNORE) == RightsReport()
    assert tenant.described(tenant.clone) == before
    assert tenant.verify(tenant.clone, "third") == []


def test_the_clone_comes_from_where_the_base_user_does(mariadb: MysqldServer) -> None:
    tenant = make_tenant(mariadb, host="127.%")
    tenant.set_clone("first")
    assert mariadb.sql(f"SELECT Host FROM mysql.user WHERE User = '{tenant.clone}'") == [("127.%",)]
    assert tenant.verify(tenant.clone, "first") == []


class Cut:
    """Cuts the connection at the n-th statement that changes something: before the server has it, or after."""

    CHANGES = re.compile(r"\s*(CREATE|ALTER|GRANT|REVOKE|SET DEFAULT)\b")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at, self.after, self.seen = 0, False, 0
        ask = Session.ask

        def cutting(session: Session, statement: str, *arguments: float) -> object:
            self.seen += bool(self.CHANGES.match(statement))
            if self.seen != self.at or not self.CHANGES.match(statement):
                return ask(session, statement, *arguments)
            if self.after:
                ask(session, statement)
            session.close()
            raise ConnectionLost("cut")

        monkeypatch.setattr(Session, "ask", cutting)

    def arm(self, at: int, after: bool) -> None:
        self.at, self.after, self.seen = at, after, 0


@pytest.mark.parametrize(
    ("after", "rights"),
    [(False, Rights.ENFORCE), (True, Rights.REPORT)],
    ids=["before the server has it", "after the server had it"],
)
def test_after_a_crash_at_any_statement_a_rerun_ends_in_exact_parity(
    everything: Tenant, monkeypatch: pytest.MonkeyPatch, after: bool, rights: Rights
) -> None:
    cut = Cut(monkeypatch)
    wanted = everything.described(everything.base)
    place = 0
    while True:
        place += 1
        everything.sql("DROP USER IF EXISTS {clone}")
        cut.arm(place, after)
        try:
            everything.set_clone(f"first-{place}", rights)
        except Unavailable:
            if everything.server.sql(f"SELECT 1 FROM mysql.user WHERE User = '{everything.clone}'"):
                locked = "ACCOUNT LOCK" in "".join(everything.described(everything.clone))
                assert locked or everything.described(everything.clone) == wanted, "what logs in has its rights"
        else:
            break
        cut.arm(0, after)
        assert everything.set_clone(f"second-{place}", rights) == RightsReport()
        assert everything.described(everything.clone) == wanted
        assert everything.verify(everything.clone, f"second-{place}") == []
    assert place > 12
    assert everything.described(everything.clone) == wanted


def test_the_privileges_that_the_documentation_asks_for_are_enough_and_needed(tenant: Tenant) -> None:
    assert tenant.set_clone("first") == RightsReport()
    for privilege in ("CREATE USER ON *.*", "SELECT ON mysql.*"):
        tenant.sql(f"REVOKE {privilege} FROM {{admin}}")
        with pytest.raises(Refused, match=re.escape(f"GRANT {privilege} TO '{tenant.admin.username}'@'%'")) as told:
            tenant.set_clone("second")
        missing = re.search(r"run: (GRANT .*)", str(told.value))
        assert missing
        tenant.server.sql(missing[1])
        assert tenant.set_clone("second") == RightsReport()


def test_hostile_names_are_quoted(mariadb: MysqldServer) -> None:
    tenant = make_tenant(mariadb, base=f"o'b`r\\ie\"\n {secrets.token_hex(2)}")
    assert tenant.set_clone("first") == RightsReport()
    assert tenant.verify(tenant.clone, "first", "SELECT 1") == []
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)


@pytest.fixture
def public(mariadb: MysqldServer) -> Iterator[MysqldServer]:
    """What MariaDB's installation grants to PUBLIC (mysql_test_db.sql), and more of it."""
    given = [r"ON `test`.*", r"ON `test\_%`.*", "ON FUNCTION `test`.`f`"]
    mariadb.sql(
        "CREATE DATABASE IF NOT EXISTS test",
        "CREATE OR REPLACE FUNCTION test.f() RETURNS INT DETERMINISTIC RETURN 1",
        f"GRANT ALL PRIVILEGES {given[0]} TO PUBLIC",
        f"GRANT SELECT, INSERT {given[1]} TO PUBLIC",
        f"GRANT EXECUTE {given[2]} TO PUBLIC",
    )
    yield mariadb
    mariadb.sql(*(f"REVOKE ALL PRIVILEGES {on} FROM PUBLIC" for on in given), "DROP DATABASE test")


def test_what_the_public_may_is_nobodys_difference(public: MysqldServer) -> None:
    tenant = make_tenant(public)
    shown = public.sql("SHOW GRANTS", user=tenant.base, password=tenant.password)
    assert "TO PUBLIC" in "".join(line for (line,) in shown)
    for user in (tenant.clone, tenant.base, tenant.clone):
        assert tenant.set(user, f"password of {user}") == RightsReport()
        assert tenant.verify(user, f"password of {user}") == []
    tenant.set(tenant.base, "alone", users=Users(tenant.base))
    tenant.set(tenant.base, "by itself", users=Users(tenant.base), admin=tenant.credential(tenant.base, "alone"))
    public.sql("REVOKE SELECT, INSERT ON `test\\_%`.* FROM PUBLIC")
    try:
        assert tenant.set_clone("later") == RightsReport()
    finally:
        public.sql("GRANT SELECT, INSERT ON `test\\_%`.* TO PUBLIC")


def test_a_clone_gets_no_rights_of_the_public_for_its_own(public: MysqldServer) -> None:
    tenant = make_tenant(public)
    begun = len(public.log())
    tenant.set_clone("first")
    assert "`test" not in public.log()[begun:]
    tenant.sql("REVOKE CREATE USER ON *.* FROM {admin}", "GRANT CREATE USER ON *.* TO PUBLIC")
    try:
        assert tenant.set_clone("second") == RightsReport(), "a privilege of the public is one of the admin"
    finally:
        public.sql("REVOKE CREATE USER ON *.* FROM PUBLIC")


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Lines of a later server, by the user that they are shown for."""
    lines: dict[str, list[str]] = {}
    ask = Session.ask

    def with_more(session: Session, statement: str, *arguments: float) -> tuple[tuple[object, ...], ...]:
        rows = ask(session, statement, *arguments)
        more = (told for user, told in lines.items() if statement.startswith(f"SHOW GRANTS FOR '{user}'@"))
        return (*rows, *((line,) for told in more for line in told))

    monkeypatch.setattr(Session, "ask", with_more)
    return lines


def test_a_line_that_a_later_server_shows_is_noted_and_stops_nothing(
    tenant: Tenant, unknown: dict[str, list[str]]
) -> None:
    unknown[tenant.base] = [f"DENY SELECT ON `mysql`.* TO `{tenant.base}`@`%`"]
    report = tenant.set_clone("first")
    assert len(report.remaining) == 1
    assert "DENY SELECT ON `mysql`" in report.remaining[0]
    assert tenant.verify(tenant.clone, "first") == []
    unknown[tenant.clone] = [f"DENY SELECT ON `mysql`.* TO `{tenant.clone}`@`%`"]
    assert tenant.set(tenant.base, "second") == RightsReport(), "both have it"
    unknown[tenant.clone] += ["GRANT SELECT ON `mysql`.* TO PUBLIC", "DENY SELECT ON `mysql`.* TO `a role`"]
    assert tenant.set_clone("third") == RightsReport(), "lines about others"
