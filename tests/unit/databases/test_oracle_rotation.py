"""What the operator says to Oracle, statement by statement, and what it makes of the answers.

No Oracle is to be had here: a double of the driver takes exactly what is written down below.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import (
    AuthenticationFailed,
    DatabaseError,
    KeepsUsersInDatabases,
    Refused,
    RightsReport,
    SessionCount,
    Unavailable,
    Users,
)
from rotated_secrets.databases.oracle import OracleEngine, admin, catalog
from rotated_secrets.databases.oracle.admin import OracleAdminSession
from rotated_secrets.values import Credential, SecretText
from tests.support.doubles.oracle_driver import (
    SERVER,
    Conversation,
    OracleDouble,
    Row,
    Step,
    asked,
    asked_first,
    called,
    changed,
    done,
    driver_error,
    failing,
)

CANARY = "Canary-7hT2pQ9xLw4R'x"
USERS = Users("APP", "APP_CLONE")
SET_CLONE = done(f'ALTER USER "APP_CLONE" IDENTIFIED BY "{CANARY}"')
MARK = done('ALTER USER "APP" GRANT CONNECT THROUGH "APP_CLONE"')
CREATED = done(
    f'CREATE USER "APP_CLONE" IDENTIFIED BY "{CANARY}" DEFAULT TABLESPACE "DATA" TEMPORARY TABLESPACE "TEMP" '
    f'PROFILE "APPS" ACCOUNT LOCK'
)
UNLOCK = done('ALTER USER "APP_CLONE" ACCOUNT UNLOCK')


def credential(username: str, password: str = CANARY, dbname: str | None = "ORCL") -> Credential:
    return Credential("oracle", "db.example", username, SecretText(password), dbname=dbname)


ADMIN = credential("admin", "Adm1nPassword")


def seen(
    name: str,
    *,
    status: str = "OPEN",
    tablespace: str = "DATA",
    profile: str = "APPS",
    authentication: str = "PASSWORD",
    maintained: str = "N",
    roles: Iterable[Row] = (),
    system: Iterable[Row] = (),
    objects: Iterable[Row] = (),
    quotas: Iterable[Row] = (),
    columns: Iterable[Row] = (),
    synonyms: Iterable[Row] = (),
    becomes: Iterable[str] = (),
    owned: Iterable[Row] = (),
) -> list[Step]:
    """One look at one user."""
    return [
        asked(catalog._USER, (status, tablespace, "TEMP", profile, authentication, maintained), name=name),
        asked(catalog._ROLES, *roles, name=name),
        asked(catalog._SYSTEM, *system, name=name),
        asked(catalog._OBJECTS, *objects, name=name),
        asked(catalog._QUOTAS, *quotas, name=name),
        asked(catalog._COLUMNS, *columns, name=name),
        asked(catalog._SYNONYMS, *synonyms, name=name),
        asked(catalog._BECOMES, *((each,) for each in becomes), name=name),
        asked(catalog._OWNED, *owned, name=name),
    ]


def clone_seen(*, becomes: Iterable[str] = ("APP",), **more: object) -> list[Step]:
    return seen("APP_CLONE", becomes=becomes, **more)  # type: ignore[arg-type]


def nobody(name: str, clones: Iterable[str] = ()) -> list[Step]:
    """No such user; of a clone also: which other users the base user has as clones."""
    others = [asked(catalog._BECOME_IT, *((each,) for each in clones), name="APP")] if name == "APP_CLONE" else []
    return [asked(catalog._USER, name=name), *others]


def opened(user: str) -> list[Step]:
    return [asked(admin._WHO, (user, user))]


@contextlib.contextmanager
def session(
    *said: list[Step], own: Credential = ADMIN, engine: OracleEngine | None = None
) -> Iterator[OracleAdminSession]:
    user = own.username.upper()
    steps = [*opened(user), *(step for several in said for step in several)]
    with (
        OracleDouble(Conversation(user, own.password.reveal(), "ORCL", steps)),
        (engine or OracleEngine()).open_admin(SERVER, own) as connected,
    ):
        assert isinstance(connected, OracleAdminSession)
        yield connected


def set_clone(*said: list[Step], rights: Rights = Rights.ENFORCE) -> RightsReport:
    with session(*said) as connected:
        return connected.set_password(USERS, credential("APP_CLONE"), rights)


def test_the_first_rotation_makes_a_locked_clone_gives_it_everything_and_lets_it_in() -> None:
    rights = {
        "roles": [("CONNECT", "NO", "YES"), ("REPORTS", "YES", "NO")],
        "system": [("CREATE SESSION", "NO"), ("CREATE ANY VIEW", "YES")],
        "objects": [
            ("SELECT", "SALES", "ORDERS", "TABLE", "YES", "NO"),
            ("EXECUTE", "SALES", "Odd name", "PACKAGE", "NO", "NO"),
            ("READ", "SYS", "DUMPS", "DIRECTORY", "NO", "NO"),
        ],
        "quotas": [("DATA", -1), ("LOBS", 1048576)],
        "columns": [("UPDATE", "SALES", "ORDERS", "STATE", "NO"), ("UPDATE", "SALES", "ORDERS", "NOTE", "NO")],
        "synonyms": [("ORDERS", "SALES", "ORDERS", None)],
    }
    base = seen("APP", becomes=["REPORTER"], **rights)  # type: ignore[arg-type]
    locked = clone_seen(status="LOCKED")
    report = set_clone(
        [*base, *nobody("APP_CLONE")],
        [*base, *nobody("APP_CLONE")],
        [CREATED, MARK],
        [*base, *locked],
        [
            done('ALTER USER "APP_CLONE" QUOTA UNLIMITED ON "DATA"'),
            done('ALTER USER "APP_CLONE" QUOTA 1048576 ON "LOBS"'),
            done('GRANT "CONNECT" TO "APP_CLONE"'),
            done('GRANT "REPORTS" TO "APP_CLONE" WITH ADMIN OPTION'),
            done('ALTER USER "APP_CLONE" DEFAULT ROLE "CONNECT"'),
            done('GRANT CREATE ANY VIEW TO "APP_CLONE" WITH ADMIN OPTION'),
            done('GRANT CREATE SESSION TO "APP_CLONE"'),
            done('GRANT EXECUTE ON "SALES"."Odd name" TO "APP_CLONE"'),
            done('GRANT READ ON DIRECTORY "DUMPS" TO "APP_CLONE"'),
            done('GRANT SELECT ON "SALES"."ORDERS" TO "APP_CLONE" WITH GRANT OPTION'),
            done('GRANT UPDATE ("NOTE", "STATE") ON "SALES"."ORDERS" TO "APP_CLONE"'),
            done('CREATE OR REPLACE SYNONYM "APP_CLONE"."ORDERS" FOR "SALES"."ORDERS"'),
            done('ALTER USER "REPORTER" GRANT CONNECT THROUGH "APP_CLONE"'),
        ],
        [*base, *clone_seen(status="LOCKED", becomes=["APP", "REPORTER"], **rights)],
        [UNLOCK],
    )
    assert report == RightsReport()


def test_what_the_base_user_was_given_and_lost_since_holds_for_the_clone_after_its_turn() -> None:
    base = seen(
        "APP",
        roles=[("NEW", "NO", "YES")],
        system=[("CREATE SESSION", "NO")],
        objects=[("SELECT", "S", "BOTH", "TABLE", "NO", "NO")],
        columns=[("UPDATE", "S", "T", "A", "NO")],
    )
    before = clone_seen(
        profile="DEFAULT",
        roles=[("OLD", "NO", "YES")],
        system=[("CREATE SESSION", "YES"), ("ALTER SESSION", "NO")],
        objects=[("SELECT", "S", "BOTH", "TABLE", "YES", "NO"), ("INSERT", "S", "OLD", "TABLE", "NO", "NO")],
        columns=[("UPDATE", "S", "T", "A", "NO"), ("UPDATE", "S", "T", "B", "NO")],
        quotas=[("DATA", 10)],
        synonyms=[("GONE", "S", "OLD", None)],
        becomes=["APP", "OTHER"],
    )
    after = clone_seen(
        roles=[("NEW", "NO", "YES")],
        system=[("CREATE SESSION", "NO")],
        objects=[("SELECT", "S", "BOTH", "TABLE", "NO", "NO")],
        columns=[("UPDATE", "S", "T", "A", "NO")],
    )
    report = set_clone(
        [*base, *before],
        [*base, *before],
        [SET_CLONE],
        [*base, *before],
        [
            done('ALTER USER "APP_CLONE" PROFILE "APPS"'),
            done('ALTER USER "APP_CLONE" QUOTA 0 ON "DATA"'),
            done('GRANT "NEW" TO "APP_CLONE"'),
            done('REVOKE "OLD" FROM "APP_CLONE"'),
            done('ALTER USER "APP_CLONE" DEFAULT ROLE ALL'),
            done('REVOKE ALTER SESSION FROM "APP_CLONE"'),
            done('REVOKE CREATE SESSION FROM "APP_CLONE"'),
            done('GRANT CREATE SESSION TO "APP_CLONE"'),
            done('REVOKE INSERT ON "S"."OLD" FROM "APP_CLONE"'),
            done('REVOKE SELECT ON "S"."BOTH" FROM "APP_CLONE"'),
            done('GRANT SELECT ON "S"."BOTH" TO "APP_CLONE"'),
            done('REVOKE UPDATE ON "S"."T" FROM "APP_CLONE"'),
            done('GRANT UPDATE ("A") ON "S"."T" TO "APP_CLONE"'),
            done('DROP SYNONYM "APP_CLONE"."GONE"'),
            done('ALTER USER "OTHER" REVOKE CONNECT THROUGH "APP_CLONE"'),
        ],
        [*base, *after],
    )
    assert report.remaining == ()
    assert len(report.repaired) == 12


def test_a_grant_that_fails_is_not_swallowed() -> None:
    base = seen("APP", objects=[("SELECT", "SYS", "DBA_JOBS", "VIEW", "NO", "NO")])
    with pytest.raises(Refused, match=r'because it lacks SELECT ON "SYS"."DBA_JOBS" \(.*ORA-01031, the admin lacks'):
        set_clone(
            [*base, *clone_seen()],
            [*base, *clone_seen()],
            [SET_CLONE],
            [*base, *clone_seen()],
            [failing('GRANT SELECT ON "SYS"."DBA_JOBS" TO "APP_CLONE"', 1031)],
            [*base, *clone_seen()],
        )


@pytest.mark.parametrize("rights", [Rights.REPORT, Rights.IGNORE])
def test_nothing_is_repaired_that_is_not_to_be(rights: Rights) -> None:
    base = seen("APP", system=[("CREATE SESSION", "NO")])
    look = [[*base, *clone_seen()]] if rights is Rights.REPORT else []
    report = set_clone([*base, *clone_seen()], [*base, *clone_seen()], [SET_CLONE], *look, rights=rights)
    assert report.remaining == (("APP_CLONE lacks privilege CREATE SESSION",) if look else ())


def test_a_clone_left_half_made_is_completed_whatever_is_else_to_be_repaired() -> None:
    base = seen("APP", system=[("CREATE SESSION", "NO")])
    bare = clone_seen(status="LOCKED", becomes=())
    report = set_clone(
        [*base, *bare],
        [*base, *bare],
        [MARK, SET_CLONE],
        [*base, *clone_seen(status="LOCKED")],
        [done('GRANT CREATE SESSION TO "APP_CLONE"')],
        [*base, *clone_seen(status="LOCKED", system=[("CREATE SESSION", "NO")])],
        [UNLOCK],
        rights=Rights.IGNORE,
    )
    assert report == RightsReport()


def test_a_base_user_that_owns_a_schema_has_no_equal() -> None:
    base = seen("APP", owned=[("TABLE", 3), ("VIEW", 1)])
    with pytest.raises(Refused, match=r"what APP owns \(3 TABLE, 1 VIEW\): use SingleUser"):
        set_clone([*base, *clone_seen()], [*base, *clone_seen()], [SET_CLONE], [*base, *clone_seen()])


def test_the_base_users_turn_sets_its_password_alone_and_lets_it_in_again() -> None:
    base = seen("APP", status="LOCKED(TIMED)")
    said = [
        *base, *clone_seen(), *base, *clone_seen(),
        done(f'ALTER USER "APP" IDENTIFIED BY "{CANARY}"'), done('ALTER USER "APP" ACCOUNT UNLOCK'),
    ]  # fmt: skip
    with session(said) as connected:
        assert connected.set_password(USERS, credential("APP"), Rights.ENFORCE) == RightsReport()


def test_a_user_sets_its_own_password_in_no_statement_and_without_an_admin() -> None:
    own = credential("app", "Old1Password")
    with session([changed("Old1Password", CANARY)], own=own) as connected:
        connected.check_users(Users("app"))
        connected.set_password(Users("app"), credential("app"), Rights.ENFORCE)


def test_a_password_that_the_session_was_opened_with_is_not_set_again() -> None:
    with session(own=credential("app")) as connected:
        connected.set_password(Users("app"), credential("app"), Rights.ENFORCE)


def check_users(*said: list[Step]) -> None:
    with session(*said) as connected:
        connected.check_users(USERS)


@pytest.mark.parametrize(
    "more",
    [
        {"system": [("CREATE SESSION", "NO")]},
        {"owned": [("TABLE", 1)]},
        {"roles": [("CONNECT", "NO", "YES")], "becomes": ["OTHER"]},
    ],
)
def test_a_stranger_with_the_clones_name_is_refused_before_anything_is_changed(more: dict[str, object]) -> None:
    with pytest.raises(Refused, match='run: ALTER USER "APP" GRANT CONNECT THROUGH "APP_CLONE"'):
        check_users([*seen("APP"), *clone_seen(**{"becomes": (), **more})])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"authentication": "EXTERNAL"}, "has no password: it is authenticated EXTERNAL"),
        ({"maintained": "Y"}, "came with Oracle and cannot have a clone"),
    ],
)
def test_a_base_user_that_cannot_have_a_clone_is_refused(more: dict[str, str], told: str) -> None:
    with pytest.raises(Refused, match=told):
        check_users(seen("APP", **more))  # type: ignore[arg-type]


def test_a_base_user_that_does_not_exist_is_refused() -> None:
    with pytest.raises(Refused, match="user APP does not exist"):
        check_users(nobody("APP"))


def test_a_user_that_has_a_clone_gets_no_second_one() -> None:
    """A proxy of another name is none."""
    check_users([*seen("APP"), *nobody("APP_CLONE", ["MIDDLE_TIER"])])
    with pytest.raises(
        Refused, match=r"user APP at .* has a clone already, APP_B, .*rotation.cloneSuffix: _B, or drop"
    ):
        check_users([*seen("APP"), *nobody("APP_CLONE", ["APP_B", "MIDDLE_TIER"])])


def test_a_clone_gets_no_clone_of_its_own() -> None:
    with pytest.raises(Refused, match=r"user APP at .* gets no clone: it is itself the clone of AP; .*cloneSuffix: P$"):
        check_users([*seen("APP", becomes=["AP", "OTHER"]), asked(catalog._USER, name="APP_CLONE")])


def test_an_admin_who_may_not_look_is_told_what_to_be_granted() -> None:
    with pytest.raises(Refused, match=r"ORA-00942, .*SELECT_CATALOG_ROLE"):
        check_users([failing(catalog._USER, 942, name="APP")])


def test_a_password_with_a_double_quote_is_refused_before_anything_is_said() -> None:
    with session() as connected, pytest.raises(Refused, match="holds a double quote") as told:
        connected.set_password(USERS, credential("APP_CLONE", 'x"y' + CANARY), Rights.ENFORCE)
    assert CANARY not in str(told.value)


@pytest.mark.parametrize("name", ["app_clone", "APP_Clone", "A" * 31, "", "A B", 'A"B', "1A", "APP[SYS]", "Ä"])
def test_names_that_cannot_be_are_refused_without_a_connection(name: str) -> None:
    with pytest.raises(Refused):
        OracleEngine().check_username(name)


def test_a_lower_case_suffix_is_refused_with_what_to_write() -> None:
    OracleEngine().check_username("APP_CLONE")
    with pytest.raises(Refused, match=r"write rotation\.cloneSuffix: _CLONE"):
        OracleEngine().check_username("app_clone")


def test_the_lock_is_taken_by_try_where_the_session_may() -> None:
    number = int.from_bytes(hashlib.sha256(b"rotated-secrets/APP").digest()[:8]) % 2**30
    may, may_not = asked(admin._MAY_LOCK, (2,)), asked(admin._MAY_LOCK, (0,))
    locks = [called("SYS.DBMS_LOCK.REQUEST", answer, id=number, lockmode=6, timeout=0) for answer in (0, 4, 1)]
    with session([may, locks[0], may, locks[1], may, locks[2], may_not]) as connected:
        assert [connected.try_lock("app") for _ in range(4)] == [True, True, False, True]


def test_a_failed_first_rotation_locks_the_clone() -> None:
    there = asked(admin._EXISTS, (1,), name="APP_CLONE")
    with session([there, done('ALTER USER "APP_CLONE" ACCOUNT LOCK')]) as connected:
        connected.disable_login("APP_CLONE")


def test_a_clone_that_was_never_made_is_not_locked() -> None:
    with session([asked(admin._EXISTS, name="APP_CLONE")]) as connected:
        connected.disable_login("app_clone")


def test_sessions_are_counted_where_they_may_be_seen() -> None:
    said = [asked(admin._SESSIONS, ("web-1", "ORCL", 2), name="APP"), failing(admin._SESSIONS, 942, name="APP")]
    with session(said) as connected:
        assert connected.sessions_of("APP") == (SessionCount("web-1", "ORCL", 2),)
        assert connected.sessions_of("APP") is None


def test_a_session_that_was_silent_for_too_long_is_not_used_any_more() -> None:
    with OracleDouble(Conversation("ADMIN", "Adm1nPassword", "ORCL")), pytest.raises(Unavailable, match="silent for"):
        OracleEngine(idle_seconds=-1).open_admin(SERVER, ADMIN)


# ---- verify and errors


def verify(
    *steps: Step, queries: Iterable[str] = (), refusal: Exception | None = None, login: bool = True
) -> list[str]:
    who = [asked("SELECT SYS_CONTEXT('USERENV', 'SESSION_USER') FROM sys.dual", ("APP",))] if login else []
    with OracleDouble(Conversation("APP", CANARY, "ORCL", [*who, *steps], refusal)):
        return OracleEngine().verify(SERVER, credential("app"), USERS, list(queries))


def test_a_session_of_somebody_else_is_no_login() -> None:
    who = asked("SELECT SYS_CONTEXT('USERENV', 'SESSION_USER') FROM sys.dual", ("POOL",))
    with pytest.raises(AuthenticationFailed, match="belongs to another user"):
        verify(who, login=False)


def test_verify_queries_run_in_a_transaction_that_only_reads_as_far_as_the_first_row() -> None:
    begin, end = done("SET TRANSACTION READ ONLY"), done("ROLLBACK")
    assert verify(begin, asked_first("SELECT a FROM t", (1,), (2,)), end, queries=["SELECT a FROM t;"]) == []


def test_a_failing_query_is_told_by_its_code_alone() -> None:
    begin, end = done("SET TRANSACTION READ ONLY"), done("ROLLBACK")
    failed = verify(begin, failing(f"SELECT '{CANARY}' FROM t", 1031), end, queries=[f"SELECT '{CANARY}' FROM t"])
    assert "ORA-01031" in failed[0]
    assert CANARY not in failed[0]


@pytest.mark.parametrize("query", ["BEGIN p; END;", "DELETE FROM t", "CALL p()", ""])
def test_what_is_not_a_select_is_not_run(query: str) -> None:
    assert verify(queries=[query]) == ["verify query 1 is not one SELECT, and was not run"]


@pytest.mark.parametrize("code", [1017, 1005, 28000, 28001])
def test_a_refusal_of_the_password_is_certain(code: int) -> None:
    with pytest.raises(AuthenticationFailed, match=f"ORA-{code:05}") as told:
        verify(refusal=driver_error(code, f"said with {CANARY}"), login=False)
    assert CANARY not in str(told.value)


def test_a_user_without_a_session_is_a_failed_check() -> None:
    failed = verify(refusal=driver_error(1045, "lacks CREATE SESSION privilege"), login=False)
    assert "run: GRANT CREATE SESSION TO APP" in failed[0]


def test_a_user_that_a_logon_trigger_turns_away_is_a_failed_check() -> None:
    failed = verify(refusal=driver_error(4088, f"error during execution of trigger {CANARY}"), login=False)
    assert "a logon trigger turned it away (ORA-04088); have it admit APP" in failed[0]
    assert CANARY not in failed[0]


@pytest.mark.parametrize("code", [604, 1033, 1034, 12514, 12520, 18, 2391, 3113, 16000, 99999])
def test_everything_else_is_tried_again(code: int) -> None:
    with pytest.raises(Unavailable) as told:
        verify(refusal=driver_error(code, f"said with {CANARY}"), login=False)
    assert CANARY not in str(told.value)


@pytest.mark.parametrize(
    ("code", "meaning", "told"),
    [
        (1031, Refused, "the admin lacks a privilege"),
        (28003, Refused, "the profile's password function"),
        (28007, Refused, "earlier password again"),
        (65096, Refused, "the pluggable database"),
        (922, Refused, "ORA-00922"),
        (600, Unavailable, "tried again"),
        (54, Unavailable, "tried again"),
        (1920, Unavailable, "tried again"),
        (3113, Unavailable, "tried again"),
        (16000, Unavailable, "tried again"),
    ],
)
def test_what_a_failed_statement_means(code: int, meaning: type[DatabaseError], told: str) -> None:
    base = seen("APP")
    said = [*base, *base, failing(f'ALTER USER "APP" IDENTIFIED BY "{CANARY}"', code)]
    with session(said) as connected, pytest.raises(meaning, match=told) as error:
        connected.set_password(Users("APP"), credential("APP"), Rights.ENFORCE)
    assert CANARY not in str(error.value)
    assert error.value.__cause__ is None


@pytest.mark.parametrize("dbname", [None, "ORCL)(SERVER=x", "a b", "x" * 129])
def test_a_service_that_is_none_is_refused_before_a_connection(dbname: str | None) -> None:
    with OracleDouble(), pytest.raises(Refused, match="dbname"):
        OracleEngine().verify(SERVER, credential("APP", dbname=dbname), USERS)


def test_an_admin_of_one_service_changes_no_user_proven_at_another() -> None:
    """Both services have an APP, and two owners."""
    tenant = credential("APP", dbname="TENANTPDB")
    with session() as connected, pytest.raises(Refused, match="write the same dbname into both secrets"):
        connected.set_password(Users("APP"), tenant, Rights.ENFORCE)


def test_services_are_the_same_in_upper_and_lower_case_and_nothing_else() -> None:
    engine = OracleEngine()
    assert isinstance(engine, KeepsUsersInDatabases)
    named = [engine.users_database(credential("APP", dbname=name)) for name in ("Prod", "PROD", "prod.example", None)]
    assert named == ["prod", "prod", "prod.example", None]
