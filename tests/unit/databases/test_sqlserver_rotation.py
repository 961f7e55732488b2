"""What the operator says to SQL Server, statement by statement, and what it makes of the answers.

No SQL Server is to be had here: the real driver talks to a server that takes exactly what is written down below.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import (
    AdminSession,
    AuthenticationFailed,
    DatabaseError,
    ProvesUsers,
    Refused,
    RightsReport,
    SessionCount,
    Unavailable,
    Users,
)
from rotated_secrets.databases.sqlserver import SqlServerEngine, catalog
from rotated_secrets.databases.sqlserver.admin import SqlServerAdminSession
from rotated_secrets.values import Credential, SecretText
from tests.support.doubles.sqlserver_server import (
    Conversation,
    Row,
    SqlServerDouble,
    Step,
    asked,
    done,
    failing,
)

CANARY = "Canary'7hT2-pQ9xLw4R"
WRITTEN = "N'Canary''7hT2-pQ9xLw4R'"
USERS = Users("app", "app_clone")
PINNED = [
    done(f"SET {setting}") for setting in ("XACT_ABORT ON", "LOCK_TIMEOUT 5000", "QUOTED_IDENTIFIER ON", "NOCOUNT ON")
]
WHO = "SELECT authenticating_database_id FROM sys.dm_exec_sessions WHERE session_id = @@SPID"
A_LOGIN, A_CONTAINED_USER = asked(WHO, rows=[(1,)]), asked(WHO, rows=[(9,)])
AS_OWNER = [*PINNED, done("EXECUTE AS USER = N'dbo' WITH NO REVERT")]
BASE_SID, CLONE_SID = bytes(range(16)), bytes(range(16, 32))
MARK: Row = ("G", "IMPERSONATE", "SERVER_PRINCIPAL", "LOGIN", None, "app", None)
CONNECT_SQL: Row = ("G", "CONNECT SQL", "SERVER", "", None, "", None)
CONNECT: Row = ("G", "CONNECT", "DATABASE", "", None, "", None)
SET_CLONE = done(f"ALTER LOGIN [app_clone] WITH PASSWORD = {WRITTEN}")


def credential(username: str, password: str = CANARY, dbname: str | None = None) -> Credential:
    return Credential("sqlserver", "127.0.0.1", username, SecretText(password), dbname=dbname)


ADMIN = credential("admin", "Adm1nPassword")


def login(name: str, *permissions: Row, roles: tuple[str, ...] = (), **fields: object) -> list[Step]:
    """One look at one login."""
    number, sid = (7, CLONE_SID) if name.endswith("_clone") else (6, BASE_SID)
    row: dict[str, object] = {
        "disabled": False,
        "locked": 0,
        "database": "shop",
        "language": "us_english",
        "policy": True,
        "expiration": False,
        **fields,
    }
    return [
        asked(catalog._LOGIN, name, rows=[(number, name, sid, *row.values())]),  # type: ignore[arg-type]
        asked(catalog._SERVER_PERMISSIONS, number, rows=[CONNECT_SQL, *permissions]),
        asked(catalog._SERVER_ROLES, number, rows=[(role,) for role in roles]),
    ]


def clone_login(*permissions: Row, **fields: object) -> list[Step]:
    return login("app_clone", MARK, *permissions, **fields)  # type: ignore[arg-type]


def no_login(name: str) -> list[Step]:
    return [asked(catalog._LOGIN, name)]


def databases(
    *where_known: str, all_of_them: tuple[str, ...] = ("master", "sh]op"), closed: tuple[str, ...] = ()
) -> list[Step]:
    sids = f"0x{BASE_SID.hex().upper()}, 0x{CLONE_SID.hex().upper()}"
    parts = [
        f"SELECT N'{name}' FROM [{name.replace(']', ']]')}].sys.database_principals WHERE sid IN ({sids})"
        for name in all_of_them
    ]
    return [
        asked(catalog._DATABASES, rows=[*((name, 1) for name in all_of_them), *((name, 0) for name in closed)]),
        asked(" UNION ".join(parts), rows=[(name,) for name in where_known]),
    ]


def may() -> list[Step]:
    return [
        asked("SELECT HAS_PERMS_BY_NAME(NULL, NULL, %s)", permission, rows=[(1,)])
        for permission in ("ALTER ANY LOGIN", "VIEW ANY DEFINITION")
    ]


def checked(*, clone: bool = True) -> list[Step]:
    """check_users, where all is well."""
    return [*login("app"), *may(), *(clone_login() if clone else [*no_login("app_clone"), clones()])]


def clones(*names: str) -> Step:
    """Which logins are marked as clones of the base user's."""
    return asked(catalog._MARKED_LOGINS, "app", rows=[(name,) for name in names])


def user(
    name: str,
    *permissions: Row,
    by_name: bool = False,
    schema: str = "dbo",
    roles: tuple[str, ...] = (),
    schemas: tuple[str, ...] = (),
    contained: bool = False,
    kept_out: bool = False,
) -> list[Step]:
    """One look at one user of a database."""
    number, sid = (17, CLONE_SID) if name.endswith("_clone") else (16, BASE_SID)
    which = asked(f"{catalog._USER} AND u.sid = 0x{sid.hex().upper()}")
    if by_name:
        which = asked(f"{catalog._USER} AND u.name = %s", name)
    found: Row = (number, name, schema, None, 2 if contained else 1)
    return [
        Step(which.statement, which.parameters, (found,)),
        asked(catalog._PERMISSIONS, number, rows=[("D" if kept_out else "G", *CONNECT[1:]), *permissions]),
        asked(catalog._ROLES, number, rows=[(role,) for role in roles]),
        asked(catalog._SCHEMAS, number, rows=[(each,) for each in schemas]),
    ]


def nobody(sid: bytes) -> list[Step]:
    return [asked(f"{catalog._USER} AND u.sid = 0x{sid.hex().upper()}")]


def open_for(double: SqlServerDouble, own: Credential, proof: Credential | None) -> AdminSession:
    engine = SqlServerEngine()
    assert isinstance(engine, ProvesUsers)
    if proof is None:
        return engine.open_admin(double.server(), own)
    return engine.open_admin_for(double.server(), own, double.server(), proof)


@contextlib.contextmanager
def session(
    *at_home: list[Step],
    inside: dict[str, list[Step]] | None = None,
    own: Credential = ADMIN,
    contained: str | None = None,
    contained_admin: bool = False,
) -> Iterator[SqlServerAdminSession]:
    """``contained``: the database whose user the application is, as its own login tells."""
    home, itself = own.dbname or "master", own.username == "app"
    proof = credential("app", "Curr3ntPassword", dbname=contained)
    as_contained = contained_admin or (itself and contained is not None)
    use = [] if home == "master" or as_contained else [done("USE [master]")]
    kind = A_CONTAINED_USER if as_contained else A_LOGIN
    said = [*PINNED, kind, *use, *(step for several in at_home for step in several)]
    proving = [*PINNED, A_CONTAINED_USER if contained else A_LOGIN]
    conversations = [] if itself else [Conversation("app", "Curr3ntPassword", contained or "master", proving)]
    conversations += [Conversation(own.username, own.password.reveal(), home, said)]
    conversations += [
        Conversation(own.username, own.password.reveal(), name, [*AS_OWNER, *steps])
        for name, steps in (inside or {}).items()
    ]
    with (
        SqlServerDouble(*conversations) as double,
        open_for(double, own, None if itself else proof) as opened,
    ):
        assert isinstance(opened, SqlServerAdminSession)
        yield opened


def test_the_first_rotation_makes_the_clone_and_gives_it_everything() -> None:
    server_rights: list[Row] = [
        ("W", "VIEW SERVER STATE", "SERVER", "", None, "", None),
        ("G", "CONTROL", "ENDPOINT", "ENDPOINT", None, "mirror", None),
    ]
    rights: list[Row] = [
        ("G", "SELECT", "OBJECT_OR_COLUMN", "OBJECT", "sa]les", "or]ders", None),
        ("D", "SELECT", "OBJECT_OR_COLUMN", "OBJECT", "sa]les", "or]ders", "card"),
        ("W", "EXECUTE", "SCHEMA", "SCHEMA", None, "api", None),
        ("D", "DELETE", "DATABASE", "", None, "", None),
        ("G", "REFERENCES", "TYPE", "TYPE", "dbo", "money2", None),
    ]
    owning: Row = ("G", "CONTROL", "SCHEMA", "SCHEMA", None, "own", None)
    base_login = login("app", *server_rights, roles=("processadmin",))
    whole_login = clone_login(*server_rights, roles=("processadmin",))
    base_user = user("app", *rights, roles=("db_datareader",), schemas=("own",), schema="sa]les")
    home = [
        checked(clone=False),
        login("app"),
        no_login("app_clone"),
        [
            done("BEGIN TRANSACTION"),
            done(
                f"CREATE LOGIN [app_clone] WITH PASSWORD = {WRITTEN}, DEFAULT_DATABASE = [shop], "
                f"DEFAULT_LANGUAGE = [us_english], CHECK_EXPIRATION = OFF, CHECK_POLICY = ON"
            ),
            done("GRANT IMPERSONATE ON LOGIN::[app] TO [app_clone]"),
            done("ALTER LOGIN [app_clone] DISABLE"),
            done("COMMIT TRANSACTION"),
        ],
        base_login,
        clone_login(),
        databases("sh]op"),
        [
            done("ALTER SERVER ROLE [processadmin] ADD MEMBER [app_clone]"),
            done("GRANT VIEW SERVER STATE TO [app_clone] WITH GRANT OPTION"),
            done("GRANT CONTROL ON ENDPOINT::[mirror] TO [app_clone]"),
        ],
        base_login,
        whole_login,
        databases("sh]op"),
        base_login,
        whole_login,
        databases("sh]op"),
        [done("ALTER LOGIN [app_clone] ENABLE")],
    ]
    inside = [
        *base_user,
        *nobody(CLONE_SID),
        done("CREATE USER [app_clone] FOR LOGIN [app_clone] WITH DEFAULT_SCHEMA = [sa]]les]"),
        *base_user,
        *user("app_clone", schema="sa]les"),
        done("ALTER ROLE [db_datareader] ADD MEMBER [app_clone]"),
        done("DENY DELETE TO [app_clone]"),
        done("GRANT SELECT ON OBJECT::[sa]]les].[or]]ders] TO [app_clone]"),
        done("DENY SELECT ON OBJECT::[sa]]les].[or]]ders] ([card]) TO [app_clone]"),
        done("GRANT EXECUTE ON SCHEMA::[api] TO [app_clone] WITH GRANT OPTION"),
        done("GRANT CONTROL ON SCHEMA::[own] TO [app_clone]"),
        done("GRANT REFERENCES ON TYPE::[dbo].[money2] TO [app_clone]"),
        *base_user,
        *user("app_clone", *rights, owning, roles=("db_datareader",), schema="sa]les"),
    ]
    with session(*home, inside={"sh]op": inside}) as opened:
        assert opened.set_password(USERS, credential("app_clone"), Rights.ENFORCE) == RightsReport()


def test_a_clone_left_half_made_is_completed_whatever_is_else_to_be_repaired() -> None:
    base, locked = login("app", roles=("dbcreator",)), clone_login(disabled=True)
    home = [
        [*login("app"), *may(), *locked],
        login("app"),
        locked,
        [SET_CLONE],
        base,
        locked,
        databases(),
        [done("ALTER SERVER ROLE [dbcreator] ADD MEMBER [app_clone]")],
        base,
        clone_login(roles=("dbcreator",), disabled=True),
        databases(),
        [done("ALTER LOGIN [app_clone] ENABLE")],
    ]
    with session(*home) as opened:
        assert opened.set_password(USERS, credential("app_clone"), Rights.IGNORE) == RightsReport()


def test_what_the_base_user_was_given_denied_and_lost_since_holds_for_the_clone_after_its_turn() -> None:
    on: Row = ("SCHEMA", "SCHEMA", None, "s", None)
    wanted: list[Row] = [("G", "SELECT", *on), ("D", "DELETE", *on), ("G", "UPDATE", *on)]
    found: list[Row] = [("W", "SELECT", *on), ("W", "DELETE", *on), ("D", "UPDATE", *on), ("G", "INSERT", *on)]
    base = user("app", *wanted)
    home = [
        checked(), login("app"), clone_login(), [SET_CLONE],
        login("app"), clone_login(database="other", policy=False),
        databases("shop", "stale", all_of_them=("shop", "stale")),
        [
            done("ALTER LOGIN [app_clone] WITH DEFAULT_DATABASE = [shop]"),
            done("ALTER LOGIN [app_clone] WITH CHECK_POLICY = ON"),
        ],
        login("app"), clone_login(), databases("shop", all_of_them=("shop",)),
    ]  # fmt: skip
    shop = [
        *base,
        *user("app_clone", *found, roles=("old",), schemas=("mine",)),
        done("ALTER AUTHORIZATION ON SCHEMA::[mine] TO [app]"),
        done("ALTER ROLE [old] DROP MEMBER [app_clone]"),
        done("DENY DELETE ON SCHEMA::[s] TO [app_clone] CASCADE"),
        done("REVOKE INSERT ON SCHEMA::[s] FROM [app_clone]"),
        done("REVOKE GRANT OPTION FOR SELECT ON SCHEMA::[s] FROM [app_clone] CASCADE"),
        done("GRANT UPDATE ON SCHEMA::[s] TO [app_clone]"),
        *base,
        *user("app_clone", *wanted),
    ]
    stale = [*nobody(BASE_SID), *user("app_clone"), done("REVOKE CONNECT FROM [app_clone]")]
    with session(*home, inside={"shop": shop, "stale": stale}) as opened:
        report = opened.set_password(USERS, credential("app_clone"), Rights.ENFORCE)
    assert report.remaining == ()
    assert len(report.repaired) == 9
    assert "app_clone owns schema mine in database shop" in report.repaired


def test_a_clone_that_cannot_be_given_what_it_lacks_is_not_made_current() -> None:
    base = login("app", roles=("sysadmin",))
    home = [
        checked(), login("app"), clone_login(), [SET_CLONE], base, clone_login(), databases(),
        [failing("ALTER SERVER ROLE [sysadmin] ADD MEMBER [app_clone]", 15151)], base, clone_login(), databases(),
    ]  # fmt: skip
    with (
        session(*home) as opened,
        pytest.raises(Refused, match=r"because it lacks server role sysadmin \(.*error 15151, the admin lacks a right"),
    ):
        opened.set_password(USERS, credential("app_clone"), Rights.ENFORCE)


@pytest.mark.parametrize(("rights", "told"), [(Rights.REPORT, 1), (Rights.IGNORE, 0)])
def test_nothing_is_repaired_that_is_not_to_be(rights: Rights, told: int) -> None:
    look = [login("app", roles=("dbcreator",)), clone_login(), databases()] if rights is Rights.REPORT else []
    with session(checked(), login("app"), clone_login(), [SET_CLONE], *look) as opened:
        report = opened.set_password(USERS, credential("app_clone"), rights)
    assert report == RightsReport((), ("app_clone lacks server role dbcreator",)[:told])


def test_a_base_user_that_owns_its_database_has_no_equal() -> None:
    owner = [asked(f"{catalog._USER} AND u.sid = 0x{BASE_SID.hex().upper()}", rows=[(1, "dbo", "dbo", None, 1)])]
    home = [checked(), login("app"), clone_login(), [SET_CLONE], login("app"), clone_login()]
    home += [databases("shop", all_of_them=("shop",))]
    with (
        session(*home, inside={"shop": [*owner, *user("app_clone")]}) as opened,
        pytest.raises(Refused, match="does not own database shop, which app does"),
    ):
        opened.set_password(USERS, credential("app_clone"), Rights.ENFORCE)


def test_databases_that_cannot_be_looked_into_are_told() -> None:
    looked = [login("app"), clone_login(), databases(closed=("archive", "sales"))]
    with session(checked(), login("app"), clone_login(), [SET_CLONE], *looked) as opened:
        report = opened.set_password(USERS, credential("app_clone"), Rights.ENFORCE)
    assert report.remaining == (
        "app_clone was not compared in databases archive, sales, which the admin may not enter, or which is offline or "
        "read-only",
    )


@pytest.mark.parametrize(("closed", "dbname"), [("shop", None), ("Archive", "archive")])
def test_a_clone_is_not_made_current_unseen_in_the_database_that_is_its_own(closed: str, dbname: str | None) -> None:
    looked = [login("app"), clone_login(), databases(closed=(closed,))]
    with (
        session(checked(), login("app"), clone_login(), [SET_CLONE], *looked) as opened,
        pytest.raises(Refused, match=f"may lack rights in database {closed}, which the admin may not enter"),
    ):
        opened.set_password(USERS, credential("app_clone", dbname=dbname), Rights.ENFORCE)


def test_a_permission_of_an_unknown_class_is_told_and_not_passed_over() -> None:
    odd: Row = ("G", "ALTER", "AVAILABILITY_GROUP", None, None, None, None)
    base = login("app", odd)
    home = [checked(), login("app"), clone_login(), [SET_CLONE], base, clone_login(), databases()]
    with (
        session(*home) as opened,
        pytest.raises(Refused, match="may lack ALTER on something of class AVAILABILITY_GROUP"),
    ):
        opened.set_password(USERS, credential("app_clone"), Rights.ENFORCE)


def test_the_base_users_turn_sets_its_password_alone_and_lets_it_in_again() -> None:
    locked = login("app", disabled=True, locked=1)
    with session(
        checked(), locked,
        [done(f"ALTER LOGIN [app] WITH PASSWORD = {WRITTEN} UNLOCK"), done("ALTER LOGIN [app] ENABLE")],
    ) as opened:  # fmt: skip
        assert opened.set_password(USERS, credential("app"), Rights.ENFORCE) == RightsReport()


def test_a_login_sets_its_own_password_without_an_admin() -> None:
    own = credential("app", "Old'1Password")
    change = done(f"ALTER LOGIN [app] WITH PASSWORD = {WRITTEN} OLD_PASSWORD = N'Old''1Password'")
    with session(login("app"), login("app"), [change], own=own) as opened:
        opened.set_password(Users("app"), credential("app"), Rights.ENFORCE)


def test_a_password_that_the_session_was_opened_with_is_not_set_again() -> None:
    with session(login("app"), login("app"), own=credential("app")) as opened:
        opened.set_password(Users("app"), credential("app"), Rights.ENFORCE)


def test_a_stranger_with_the_clones_name_is_refused_before_anything_is_changed() -> None:
    with (
        session(login("app"), may(), login("app_clone")) as opened,
        pytest.raises(Refused, match=r"run: USE \[master\]; GRANT IMPERSONATE ON LOGIN::\[app\] TO \[app_clone\]"),
    ):
        opened.check_users(USERS)


def test_a_login_that_has_a_clone_gets_no_second_one() -> None:
    """People grant IMPERSONATE for other reasons, to logins of other names."""
    found = [*login("app"), *may(), *no_login("app_clone")]
    with session(found, [clones("auditor")]) as opened:
        opened.check_users(USERS)
    with (
        pytest.raises(Refused, match=r"app at .* has a clone already, APP_B, .*drop user APP_B$"),
        session(found, [clones("auditor", "APP_B")]) as opened,
    ):
        opened.check_users(USERS)


def test_a_login_that_is_a_clone_gets_no_clone_of_its_own() -> None:
    with (
        pytest.raises(Refused, match=r"app_clone at .* is itself the clone of app; .*cloneSuffix: _clone$"),
        session([*clone_login(), *may(), *no_login("app_clone_b")]) as opened,
    ):
        opened.check_users(Users("app_clone", "app_clone_b"))


def test_an_admin_who_sees_a_part_of_the_rights_is_refused() -> None:
    lacking = asked("SELECT HAS_PERMS_BY_NAME(NULL, NULL, %s)", "VIEW ANY DEFINITION", rows=[(0,)])
    with (
        session(login("app"), [may()[0], lacking]) as opened,
        pytest.raises(Refused, match=r"run: USE \[master\]; GRANT VIEW ANY DEFINITION TO \[admin\]"),
    ):
        opened.check_users(USERS)


def test_a_database_whose_owner_is_gone_is_told() -> None:
    home = [checked(), login("app"), clone_login(), [SET_CLONE], login("app"), clone_login()]
    home += [databases("shop", all_of_them=("shop",))]
    said = [*PINNED, A_LOGIN, *(step for several in home for step in several)]
    inside = [*PINNED, failing("EXECUTE AS USER = N'dbo' WITH NO REVERT", 15517)]
    with (
        SqlServerDouble(
            Conversation("admin", "Adm1nPassword", "master", said),
            Conversation("admin", "Adm1nPassword", "shop", inside),
        ) as double,
        SqlServerEngine().open_admin(double.server(), ADMIN) as opened,
        pytest.raises(Refused, match="ALTER AUTHORIZATION ON DATABASE"),
    ):
        opened.set_password(USERS, credential("app_clone"), Rights.ENFORCE)


# ---- users of a contained database


CONTAINED_MARK: Row = ("G", "IMPERSONATE", "DATABASE_PRINCIPAL", "USER", None, "app", None)


def contained(name: str, *permissions: Row, **fields: object) -> list[Step]:
    return user(name, *permissions, by_name=True, contained=True, **fields)  # type: ignore[arg-type]


def contained_clones(*names: str) -> Step:
    """Which users of the database are marked as clones of the base user."""
    return asked(catalog._MARKED_USERS, "app", rows=[(name,) for name in names])


def test_a_contained_user_that_has_a_clone_gets_no_second_one() -> None:
    inside = [*contained("app"), asked(f"{catalog._USER} AND u.name = %s", "app_clone"), contained_clones("app_b")]
    with (
        pytest.raises(Refused, match="user app in database shop has a clone already, app_b, "),
        session(inside={"shop": inside}, contained="shop") as opened,
    ):
        opened.check_users(USERS)


def test_a_contained_clone_gets_no_clone_of_its_own() -> None:
    inside = [*contained("app_clone", CONTAINED_MARK), asked(f"{catalog._USER} AND u.name = %s", "app_clone_b")]
    with (
        pytest.raises(Refused, match="user app_clone in database shop gets no clone: it is itself the clone of app; "),
        session(inside={"shop": inside}, contained="shop") as opened,
    ):
        opened.check_users(Users("app_clone", "app_clone_b"))


def test_a_contained_users_clone_is_made_in_its_database() -> None:
    base = contained("app", roles=("writers",), schema="sales")
    inside = [
        *base,
        asked(f"{catalog._USER} AND u.name = %s", "app_clone"),
        contained_clones(),
        done("BEGIN TRANSACTION"),
        done(f"CREATE USER [app_clone] WITH PASSWORD = {WRITTEN}, DEFAULT_SCHEMA = [sales]"),
        done("GRANT IMPERSONATE ON USER::[app] TO [app_clone]"),
        done("DENY CONNECT TO [app_clone]"),
        done("COMMIT TRANSACTION"),
        *base,
        *contained("app_clone", CONTAINED_MARK, schema="sales", kept_out=True),
        done("ALTER ROLE [writers] ADD MEMBER [app_clone]"),
        *base,
        *contained("app_clone", CONTAINED_MARK, roles=("writers",), schema="sales", kept_out=True),
        done("GRANT CONNECT TO [app_clone]"),
    ]
    with session(inside={"shop": inside}, contained="shop") as opened:
        opened.set_password(USERS, credential("app_clone", dbname="shop"), Rights.ENFORCE)


@pytest.mark.parametrize("rights", list(Rights))
def test_a_contained_clone_left_half_made_is_completed_and_let_in_whatever_is_else_to_be_repaired(
    rights: Rights,
) -> None:
    base = contained("app", roles=("writers",))
    inside = [
        *base,
        *contained("app_clone", CONTAINED_MARK, kept_out=True),
        done(f"ALTER USER [app_clone] WITH PASSWORD = {WRITTEN}"),
        *base,
        *contained("app_clone", CONTAINED_MARK, kept_out=True),
        done("ALTER ROLE [writers] ADD MEMBER [app_clone]"),
        *base,
        *contained("app_clone", CONTAINED_MARK, roles=("writers",), kept_out=True),
        done("GRANT CONNECT TO [app_clone]"),
    ]
    with session(inside={"shop": inside}, contained="shop") as opened:
        report = opened.set_password(USERS, credential("app_clone", dbname="shop"), rights)
    assert report == RightsReport()


def test_a_clone_that_could_not_be_made_leaves_no_transaction_behind() -> None:
    inside = [
        *contained("app"),
        asked(f"{catalog._USER} AND u.name = %s", "app_clone"),
        contained_clones(),
        done("BEGIN TRANSACTION"),
        failing(f"CREATE USER [app_clone] WITH PASSWORD = {WRITTEN}, DEFAULT_SCHEMA = [dbo]", 15118),
        done("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION"),
    ]
    with (
        session(inside={"shop": inside}, contained="shop") as opened,
        pytest.raises(Refused, match="the server's password policy rejects the password") as told,
    ):
        opened.set_password(USERS, credential("app_clone", dbname="shop"), Rights.ENFORCE)
    assert CANARY not in str(told.value) and WRITTEN not in str(told.value)


def test_a_contained_user_sets_its_own_password_without_an_admin() -> None:
    own = credential("app", "Old1Password", dbname="shop")
    change = done(f"ALTER USER [app] WITH PASSWORD = {WRITTEN} OLD_PASSWORD = N'Old1Password'")
    with session(contained("app"), [change], own=own, contained="shop") as opened:
        opened.set_password(Users("app"), credential("app", dbname="shop"), Rights.ENFORCE)


@pytest.mark.parametrize("there", [contained("app_clone"), user("app_clone", CONTAINED_MARK, by_name=True)])
def test_a_stranger_in_a_contained_database_is_refused_before_anything_is_changed(there: list[Step]) -> None:
    with (
        session(inside={"shop": [*contained("app"), *there]}, contained="shop") as opened,
        pytest.raises(Refused, match=r"run there: GRANT IMPERSONATE ON USER::\[app\] TO \[app_clone\]"),
    ):
        opened.set_password(USERS, credential("app_clone", dbname="shop"), Rights.ENFORCE)


def test_a_user_that_is_nowhere_is_refused() -> None:
    nowhere = asked(f"{catalog._USER} AND u.name = %s", "app")
    with (
        session(inside={"shop": [nowhere]}, contained="shop") as opened,
        pytest.raises(Refused, match="has no password in database shop"),
    ):
        opened.set_password(USERS, credential("app", dbname="shop"), Rights.ENFORCE)


# ---- a login and a contained user of one name


def test_a_contained_user_never_has_the_login_of_its_name_changed() -> None:
    """A tenant makes [app] in its own database: what it proves is that user's password, and no login's."""
    alter = done(f"ALTER USER [app] WITH PASSWORD = {WRITTEN}")
    with session(inside={"shop": [*contained("app"), alter]}, contained="shop") as opened:
        opened.set_password(Users("app"), credential("app", dbname="shop"), Rights.ENFORCE)


def test_a_contained_user_that_was_dropped_since_leaves_the_login_of_its_name_alone() -> None:
    nowhere = asked(f"{catalog._USER} AND u.name = %s", "app")
    with (
        session(inside={"shop": [nowhere]}, contained="shop") as opened,
        pytest.raises(Refused, match="create it, or correct"),
    ):
        opened.set_password(Users("app"), credential("app", dbname="shop"), Rights.ENFORCE)


def test_what_was_proven_in_one_database_changes_nobody_in_another() -> None:
    with session(contained="shop") as opened, pytest.raises(Refused, match="write one dbname into it"):
        opened.set_password(Users("app"), credential("app", dbname="another"), Rights.ENFORCE)


def test_a_proven_login_has_no_contained_user_of_its_name_changed() -> None:
    change = done(f"ALTER LOGIN [app] WITH PASSWORD = {WRITTEN}")
    with session(login("app"), login("app"), [change]) as opened:
        opened.set_password(Users("app"), credential("app", dbname="shop"), Rights.ENFORCE)


def test_nobody_is_changed_for_an_application_that_does_not_log_in() -> None:
    refused = Conversation("app", "Old1Password", "master", PINNED)
    with SqlServerDouble(refused) as double, pytest.raises(AuthenticationFailed):
        open_for(double, ADMIN, credential("app", "Wr0ngPassword"))


def test_an_admin_that_a_contained_database_knows_otherwise_is_told() -> None:
    conversations = [
        Conversation("app", "Curr3ntPassword", "shop", [*PINNED, A_CONTAINED_USER]),
        Conversation("admin", "Adm1nPassword", "master", [*PINNED, A_LOGIN]),
        Conversation("admin", "of the tenant's user", "shop"),
    ]
    with (
        SqlServerDouble(*conversations) as double,
        open_for(double, ADMIN, credential("app", "Curr3ntPassword", dbname="shop")) as opened,
        pytest.raises(Refused, match="may have its own user admin"),
    ):
        opened.check_users(USERS)


def test_what_is_the_servers_is_done_in_master_wherever_the_admin_logs_in() -> None:
    create = (
        f"CREATE LOGIN [app_clone] WITH PASSWORD = {WRITTEN}, DEFAULT_DATABASE = [shop], "
        f"DEFAULT_LANGUAGE = [us_english], CHECK_EXPIRATION = OFF, CHECK_POLICY = ON"
    )
    made = [
        done("BEGIN TRANSACTION"),
        done(create),
        done("GRANT IMPERSONATE ON LOGIN::[app] TO [app_clone]"),
        done("ALTER LOGIN [app_clone] DISABLE"),
        done("COMMIT TRANSACTION"),
    ]
    home = [checked(clone=False), login("app"), no_login("app_clone"), made, login("app"), clone_login(), databases()]
    admin = credential("admin", "Adm1nPassword", dbname="sales")
    with session(*home, [done("ALTER LOGIN [app_clone] ENABLE")], own=admin) as opened:
        opened.set_password(USERS, credential("app_clone"), Rights.ENFORCE)


# ---- the rest of the session


def test_the_lock_is_taken_by_try_and_held_by_the_session() -> None:
    resource = f"rotated-secrets/{hashlib.sha256(b'app').hexdigest()[:32]}"
    lock = (
        "DECLARE @answer int; EXEC @answer = sys.sp_getapplock @Resource = %s, @LockMode = 'Exclusive', "
        "@LockOwner = 'Session', @LockTimeout = 0; SELECT @answer"
    )
    steps = [asked(lock, resource, rows=[(answer,)]) for answer in (0, 1, -1)]
    with session(steps) as opened:
        assert [opened.try_lock("app") for _ in steps] == [True, True, False]


def test_a_failed_first_rotation_disables_the_login() -> None:
    with session([login_exists(), done("ALTER LOGIN [app_clone] DISABLE")]) as opened:
        opened.disable_login("app_clone")


def login_exists(*, there: bool = True) -> Step:
    return asked("SELECT 1 FROM sys.sql_logins WHERE name = %s", "app_clone", rows=[(1,)] if there else [])


def user_exists(*, there: bool = True) -> Step:
    return asked("SELECT 1 FROM sys.database_principals WHERE name = %s", "app_clone", rows=[(1,)] if there else [])


def test_a_clone_that_was_never_made_is_not_locked_out() -> None:
    with session([login_exists(there=False)]) as opened:
        opened.disable_login("app_clone")
    admin = credential("admin", "Adm1nPassword")
    with session(inside={"shop": [user_exists(there=False)]}, own=admin, contained="shop") as opened:
        opened.disable_login("app_clone")


def test_a_failed_first_rotation_locks_a_contained_user_out() -> None:
    inside = [user_exists(), done("DENY CONNECT TO [app_clone]")]
    admin = credential("admin", "Adm1nPassword")
    with session(inside={"shop": inside}, own=admin, contained="shop") as opened:
        opened.disable_login("app_clone")


def test_sessions_are_counted_where_they_may_be_seen() -> None:
    from rotated_secrets.databases.sqlserver import admin  # noqa: PLC0415

    state = "VIEW SERVER STATE"
    steps = [
        asked(admin._MAY, state, rows=[(1,)]),
        asked(admin._SESSIONS, "app", rows=[("10.0.0.9", "shop", 2)]),
        asked(admin._MAY, state, rows=[(0,)]),
    ]
    with session(steps) as opened:
        assert opened.sessions_of("app") == (SessionCount("10.0.0.9", "shop", 2),)
        assert opened.sessions_of("app") is None


def test_a_session_that_was_silent_for_too_long_is_not_used_any_more() -> None:
    with (
        SqlServerDouble(Conversation("admin", "Adm1nPassword", "master", [*PINNED, A_LOGIN])) as double,
        SqlServerEngine(idle_seconds=-1).open_admin(double.server(), ADMIN) as opened,
        pytest.raises(Unavailable, match="silent for more than"),
    ):
        opened.try_lock("app")


@pytest.mark.parametrize("name", ["a" * 129, "DOMAIN\\app", "", "##system##", "a\x00b", "a\nb"])
def test_names_that_cannot_be_are_refused_without_a_connection(name: str) -> None:
    with pytest.raises(Refused):
        SqlServerEngine().check_username(name)


@pytest.mark.parametrize(
    ("number", "meaning", "told"),
    [
        (15151, Refused, "the admin lacks a right for it"),
        (15247, Refused, "the admin lacks a right for it"),
        (15116, Refused, "password policy"),
        (102, Refused, "error 102"),
        (1205, Unavailable, "tried again"),
        (1222, Unavailable, "tried again"),
        (3906, Unavailable, "tried again"),
        (15025, Unavailable, "tried again"),
    ],
)
def test_what_a_failed_statement_means(number: int, meaning: type[DatabaseError], told: str) -> None:
    statement = f"ALTER LOGIN [app] WITH PASSWORD = {WRITTEN}"
    with (
        session(login("app"), login("app"), [failing(statement, number)]) as opened,
        pytest.raises(meaning, match=told) as error,
    ):
        opened.set_password(Users("app"), credential("app"), Rights.ENFORCE)
    assert CANARY not in str(error.value) and WRITTEN not in str(error.value)
    assert error.value.__cause__ is None
