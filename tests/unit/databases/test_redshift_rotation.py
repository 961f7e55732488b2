"""What the operator says to Redshift, statement by statement, and what it makes of the answers.

No Redshift is to be had here: the real driver talks to a server that takes exactly what is written down below.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Iterable, Iterator

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import (
    AdminSession,
    AuthenticationFailed,
    DatabaseError,
    Refused,
    RightsReport,
    SessionCount,
    Unavailable,
    Users,
)
from rotated_secrets.databases.redshift import RedshiftEngine
from rotated_secrets.databases.redshift.rights import mark_of
from rotated_secrets.values import Credential, SecretText
from tests.support.doubles.redshift_server import (
    Conversation,
    Error,
    RedshiftDouble,
    Step,
    Value,
    asked,
    done,
    failing,
    transaction,
)

CANARY = "Canary-7hT2pQ9xLw4R"
USERS = Users("app", "app_clone")
MARK = mark_of("app")
PINNED = [
    done("SET search_path TO pg_catalog"),
    done("SET statement_timeout TO 15000"),
    done("SET enable_case_sensitive_identifier TO true"),
]
Row = tuple[Value, ...]


def credential(username: str, password: str = CANARY, dbname: str | None = None) -> Credential:
    return Credential("redshift", "127.0.0.1", username, SecretText(password), dbname=dbname)


ADMIN = credential("admin", "Adm1nPassword")


def digest(username: str, password: str = CANARY) -> str:
    return "md5" + hashlib.md5((password + username).encode()).hexdigest()


def opened(user: str) -> list[Step]:
    return transaction(*PINNED, asked("SELECT SESSION_USER, CURRENT_USER", (user, user)))


def single(step: Step) -> list[Step]:
    return transaction(step)


def exists(user: str, *, there: bool = True) -> list[Step]:
    rows: list[Row] = [(1,)] if there else []
    return single(asked(f"SELECT 1 FROM pg_catalog.pg_user WHERE usename = '{user}'", *rows))


def superuser(*, is_one: bool = True) -> list[Step]:
    return single(asked("SELECT usesuper FROM pg_catalog.pg_user WHERE usename = SESSION_USER", (is_one,)))


def marked(user: str, *roles: str) -> list[Step]:
    rows: list[Row] = [(role,) for role in roles]
    return single(asked(f"SELECT role_name FROM pg_catalog.svv_user_grants WHERE user_name = '{user}'", *rows))


def checked(*, clone: bool) -> list[Step]:
    """check_users, where all is well."""
    return [
        *exists("app"),
        *superuser(),
        *exists("app_clone", there=clone),
        *(marked("app_clone", MARK) if clone else [*marked("app"), *clones()]),
    ]


def clones(*users: str) -> list[Step]:
    rows: list[Row] = [(user,) for user in users]
    return single(asked(f"SELECT user_name FROM pg_catalog.svv_user_grants WHERE role_name = '{MARK}'", *rows))


def seen(
    user: str,
    *,
    sysid: int = 100,
    createdb: bool = False,
    valid_until: str | None = None,
    limit: str | None = "UNLIMITED",
    config: tuple[str, ...] | None = None,
    syslog: str = "RESTRICTED",
    timeout: int = 0,
    groups: Iterable[str] = (),
    roles: Iterable[tuple[str, bool]] = (),
    tables: Iterable[Row] = (),
    schemas: Iterable[str] = (),
    kinds: Iterable[tuple[str, str, bool]] = (("public", "price", False),),
    owned_functions: Iterable[Row] = (),
    gives: Iterable[Row] = (),
    **privileges: list[Row],
) -> list[Step]:
    """One look at one user."""
    of_user = f"WHERE identity_type = 'user' AND identity_name = '{user}'"
    views = {
        "relations": f"SELECT privilege_type, admin_option, namespace_name, relation_name FROM "
        f"pg_catalog.svv_relation_privileges {of_user} AND namespace_name NOT IN ('pg_internal', 'pg_automv')",
        "columns": f"SELECT privilege_type, false, namespace_name, relation_name, column_name FROM "
        f"pg_catalog.svv_column_privileges {of_user}",
        "in_schemas": f"SELECT privilege_type, admin_option, privilege_scope, namespace_name FROM "
        f"pg_catalog.svv_schema_privileges {of_user}",
        "in_databases": f"SELECT privilege_type, admin_option, privilege_scope, database_name FROM "
        f"pg_catalog.svv_database_privileges {of_user}",
        "functions": f"SELECT privilege_type, admin_option, namespace_name, function_name, argument_types FROM "
        f"pg_catalog.svv_function_privileges {of_user}",
        "languages": f"SELECT privilege_type, admin_option, language_name FROM "
        f"pg_catalog.svv_language_privileges {of_user}",
        "defaults": f"SELECT privilege_type, admin_option, object_type, owner_name, schema_name FROM "
        f"pg_catalog.svv_default_privileges WHERE grantee_type = 'user' AND grantee_name = '{user}'",
    }
    assert privileges.keys() <= views.keys()
    return transaction(
        asked(
            f"SELECT usesysid, usecreatedb, usesuper, valuntil, useconnlimit, useconfig FROM pg_catalog.pg_user_info "
            f"WHERE usename = '{user}'",
            (sysid, createdb, False, valid_until, limit, config),
        ),
        asked(
            f"SELECT syslog_access, session_timeout FROM pg_catalog.svv_user_info WHERE user_name = '{user}'",
            (syslog, timeout),
        ),
        asked(
            "SELECT DISTINCT n.nspname, p.proname, p.prokind = 'p' FROM pg_catalog.pg_proc_info p JOIN "
            "pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname NOT LIKE 'pg!_%' ESCAPE '!'",
            *kinds,
        ),
        *(asked(view, *privileges.get(name, [])) for name, view in views.items()),
        asked(f"SELECT groname FROM pg_catalog.pg_group WHERE {sysid} = ANY(grolist)", *((each,) for each in groups)),
        asked(f"SELECT role_name, admin_option FROM pg_catalog.svv_user_grants WHERE user_name = '{user}'", *roles),
        asked(
            f"SELECT n.nspname, c.relname, c.relkind FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON "
            f"n.oid = c.relnamespace WHERE c.relowner = {sysid} AND c.relkind IN ('r', 'v') AND n.nspname NOT LIKE "
            f"'pg!_%' ESCAPE '!'",
            *tables,
        ),
        asked(
            f"SELECT nspname FROM pg_catalog.pg_namespace WHERE nspowner = {sysid} AND nspname NOT LIKE 'pg!_%' "
            f"ESCAPE '!'",
            *((each,) for each in schemas),
        ),
        asked(
            f"SELECT n.nspname, p.proname, pg_catalog.oidvectortypes(p.proargtypes), p.prokind = 'p' FROM "
            f"pg_catalog.pg_proc_info p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE "
            f"p.proowner = {sysid} AND n.nspname NOT LIKE 'pg!_%' ESCAPE '!'",
            *owned_functions,
        ),
        asked(
            f"SELECT privilege_type, admin_option, object_type, schema_name, grantee_type, grantee_name FROM "
            f"pg_catalog.svv_default_privileges WHERE owner_name = '{user}'",
            *gives,
        ),
    )


def clone_seen(**more: object) -> list[Step]:
    roles = [(MARK, False), *more.pop("roles", [])]  # type: ignore[misc]
    return seen("app_clone", sysid=101, roles=roles, **more)  # type: ignore[arg-type]


@contextlib.contextmanager
def session(
    *conversations: Conversation, own: Credential = ADMIN, engine: RedshiftEngine | None = None
) -> Iterator[AdminSession]:
    with (
        RedshiftDouble(*conversations) as double,
        (engine or RedshiftEngine()).open_admin(double.server, own) as connected,
    ):
        yield connected


def set_password(
    user: str, *steps: list[Step], rights: Rights = Rights.ENFORCE, users: Users = USERS, clone: bool = True
) -> RightsReport:
    said = [*opened("admin"), *checked(clone=clone), *(step for several in steps for step in several)]
    with session(Conversation("admin", "Adm1nPassword", "dev", said)) as connected:
        return connected.set_password(users, credential(user), rights)


def test_the_first_rotation_makes_the_clone_with_all_its_rights_in_one_transaction() -> None:
    base = seen(
        "app",
        createdb=True,
        valid_until="2030-01-01 00:00:00+00",
        limit="30",
        config=('search_path=sales, "Odd ""one"', "statement_timeout=1000"),
        syslog="UNRESTRICTED",
        timeout=120,
        groups=["readers"],
        roles=[("sys:monitor", False), ("ana lyst", True)],
        tables=[("sales", "own", "r"), ("sales", "seen", "v")],
        schemas=["sales"],
        relations=[("SELECT", True, "public", "orders"), ("INSERT", False, 'o"dd', "100% of it")],
        columns=[("UPDATE", False, "public", "orders", "state")],
        in_schemas=[("USAGE", False, "SCHEMA", "public"), ("SELECT", False, "TABLES", "mart")],
        in_databases=[("TEMP", False, "DATABASE", "dev"), ("USAGE", False, "SCHEMAS", "dev")],
        functions=[("EXECUTE", False, "public", "price", "integer, character varying")],
        languages=[("USAGE", False, "plpythonu")],
        defaults=[("SELECT", False, "RELATION", "loader", "mart"), ("EXECUTE", False, "FUNCTION", "loader", None)],
    )
    whole = {
        "createdb": True,
        "valid_until": "2030-01-01 00:00:00+00",
        "limit": "30",
        "config": ('search_path=sales, "Odd ""one"', "statement_timeout=1000"),
        "syslog": "UNRESTRICTED",
        "timeout": 120,
        "groups": ["readers"],
        "roles": [("sys:monitor", False), ("ana lyst", True)],
        "relations": [
            ("SELECT", True, "public", "orders"),
            ("INSERT", False, 'o"dd', "100% of it"),
            *(
                (right, False, "sales", "own")
                for right in ("DELETE", "DROP", "INSERT", "REFERENCES", "SELECT", "UPDATE")
            ),
            ("SELECT", False, "sales", "seen"),
        ],
        "columns": [("UPDATE", False, "public", "orders", "state")],
        "in_schemas": [
            ("USAGE", False, "SCHEMA", "public"),
            ("SELECT", False, "TABLES", "mart"),
            ("CREATE", False, "SCHEMA", "sales"),
            ("USAGE", False, "SCHEMA", "sales"),
        ],
        "in_databases": [("TEMP", False, "DATABASE", "dev"), ("USAGE", False, "SCHEMAS", "dev")],
        "functions": [("EXECUTE", False, "public", "price", "integer, character varying")],
        "languages": [("USAGE", False, "plpythonu")],
        "defaults": [("SELECT", False, "RELATION", "loader", "mart"), ("EXECUTE", False, "FUNCTION", "loader", None)],
    }
    created = transaction(
        done(f"CREATE USER \"app_clone\" PASSWORD '{digest('app_clone')}'"),
        done(f'CREATE ROLE "{MARK}"'),
        done(f'GRANT ROLE "{MARK}" TO "app_clone"'),
        done('ALTER USER "app_clone" CREATEDB'),
        done('ALTER USER "app_clone" SYSLOG ACCESS UNRESTRICTED'),
        done("ALTER USER \"app_clone\" VALID UNTIL '2030-01-01 00:00:00+00'"),
        done('ALTER USER "app_clone" CONNECTION LIMIT 30'),
        done('ALTER USER "app_clone" SESSION TIMEOUT 120'),
        done('ALTER USER "app_clone" SET "search_path" TO \'sales\', \'Odd "one\''),
        done('ALTER USER "app_clone" SET "statement_timeout" TO \'1000\''),
        done('ALTER GROUP "readers" ADD USER "app_clone"'),
        done('GRANT ROLE "ana lyst" TO "app_clone" WITH ADMIN OPTION'),
        done('GRANT ROLE sys:monitor TO "app_clone"'),
        *(
            done(statement)
            for statement in (
                'ALTER DEFAULT PRIVILEGES FOR USER "loader" GRANT EXECUTE ON FUNCTIONS TO "app_clone"',
                'ALTER DEFAULT PRIVILEGES FOR USER "loader" IN SCHEMA "mart" GRANT SELECT ON TABLES TO "app_clone"',
                'GRANT CREATE ON SCHEMA "sales" TO "app_clone"',
                'GRANT DELETE ON TABLE "sales"."own" TO "app_clone"',
                'GRANT DROP ON TABLE "sales"."own" TO "app_clone"',
                'GRANT EXECUTE ON FUNCTION "public"."price"(integer, character varying) TO "app_clone"',
                'GRANT INSERT ON TABLE "o""dd"."100% of it" TO "app_clone"',
                'GRANT INSERT ON TABLE "sales"."own" TO "app_clone"',
                'GRANT REFERENCES ON TABLE "sales"."own" TO "app_clone"',
                'GRANT SELECT FOR TABLES IN SCHEMA "mart" TO "app_clone"',
                'GRANT SELECT ON TABLE "public"."orders" TO "app_clone" WITH GRANT OPTION',
                'GRANT SELECT ON TABLE "sales"."own" TO "app_clone"',
                'GRANT SELECT ON TABLE "sales"."seen" TO "app_clone"',
                'GRANT TEMP ON DATABASE "dev" TO "app_clone"',
                'GRANT UPDATE ("state") ON TABLE "public"."orders" TO "app_clone"',
                'GRANT UPDATE ON TABLE "sales"."own" TO "app_clone"',
                'GRANT USAGE FOR SCHEMAS IN DATABASE "dev" TO "app_clone"',
                'GRANT USAGE ON LANGUAGE "plpythonu" TO "app_clone"',
                'GRANT USAGE ON SCHEMA "public" TO "app_clone"',
                'GRANT USAGE ON SCHEMA "sales" TO "app_clone"',
            )
        ),
    )
    report = set_password(
        "app_clone",
        exists("app_clone", there=False),
        base,
        single(asked(f"SELECT 1 FROM pg_catalog.svv_roles WHERE role_name = '{MARK}'")),
        created,
        base,
        clone_seen(**whole),
        clone=False,
    )
    assert report == RightsReport()


def test_what_the_base_user_was_given_and_lost_since_holds_for_the_clone_after_its_turn() -> None:
    base = seen("app", groups=["now"], relations=[("SELECT", False, "s", "new"), ("INSERT", False, "s", "both")])
    before = clone_seen(
        groups=["then"],
        roles=[("old", False)],
        relations=[("SELECT", False, "s", "old"), ("INSERT", True, "s", "both")],
        config=("query_group=batch",),
    )
    after = clone_seen(groups=["now"], relations=[("SELECT", False, "s", "new"), ("INSERT", False, "s", "both")])
    report = set_password(
        "app_clone",
        exists("app_clone"),
        single(done(f"ALTER USER \"app_clone\" PASSWORD '{digest('app_clone')}'")),
        base,
        before,
        single(done('ALTER USER "app_clone" RESET "query_group"')),
        single(done('ALTER GROUP "now" ADD USER "app_clone"')),
        single(done('ALTER GROUP "then" DROP USER "app_clone"')),
        single(done('REVOKE ROLE "old" FROM "app_clone"')),
        single(done('GRANT SELECT ON TABLE "s"."new" TO "app_clone"')),
        single(done('REVOKE GRANT OPTION FOR INSERT ON TABLE "s"."both" FROM "app_clone"')),
        single(done('REVOKE SELECT ON TABLE "s"."old" FROM "app_clone"')),
        base,
        after,
    )
    assert report.remaining == ()
    assert 'app_clone lacks SELECT ON TABLE "s"."new"' in report.repaired
    assert 'app_clone has SELECT ON TABLE "s"."old" itself' in report.repaired
    assert len(report.repaired) == 7


def test_what_the_clone_owns_becomes_the_base_users_and_is_granted_back() -> None:
    privileges = [(right, False, "s", "t") for right in ("DELETE", "DROP", "INSERT", "REFERENCES", "SELECT", "UPDATE")]
    rights = ("DELETE", "DROP", "INSERT", "REFERENCES", "SELECT", "UPDATE")
    owner = seen("app", tables=[("s", "t", "r")])
    report = set_password(
        "app_clone",
        exists("app_clone"),
        single(done(f"ALTER USER \"app_clone\" PASSWORD '{digest('app_clone')}'")),
        seen("app"),
        clone_seen(tables=[("s", "t", "r")]),
        single(done('ALTER TABLE "s"."t" OWNER TO "app"')),
        owner,
        clone_seen(),
        *(single(done(f'GRANT {right} ON TABLE "s"."t" TO "app_clone"')) for right in rights),
        owner,
        clone_seen(relations=privileges),
    )
    assert report.remaining == ()
    assert 'app_clone owns TABLE "s"."t"' in report.repaired


def test_a_clone_that_cannot_be_given_what_it_lacks_is_not_made_current() -> None:
    base = seen("app", relations=[("SELECT", False, "s", "t")])
    grant = 'GRANT SELECT ON TABLE "s"."t" TO "app_clone"'
    with pytest.raises(
        Refused, match=r'app_clone is not made current, because it lacks SELECT ON TABLE "s"\."t" \(could'
    ):
        set_password(
            "app_clone",
            exists("app_clone"),
            single(done(f"ALTER USER \"app_clone\" PASSWORD '{digest('app_clone')}'")),
            base,
            clone_seen(),
            single(failing(grant, "42501", "permission denied for relation t")),
            base,
            clone_seen(),
        )


@pytest.mark.parametrize(("rights", "told"), [(Rights.REPORT, 1), (Rights.IGNORE, 0)])
def test_nothing_is_repaired_that_is_not_to_be(rights: Rights, told: int) -> None:
    look = [seen("app", groups=["g"]), clone_seen()] if rights is Rights.REPORT else []
    report = set_password(
        "app_clone",
        exists("app_clone"),
        single(done(f"ALTER USER \"app_clone\" PASSWORD '{digest('app_clone')}'")),
        *look,
        rights=rights,
    )
    assert report == RightsReport((), ("app_clone lacks group g",)[:told])


def test_a_privilege_of_an_unknown_kind_stops_the_clone_from_being_made_before_anything_is() -> None:
    base = seen("app", in_schemas=[("SELECT", False, "MODELS; DROP", "s")])
    with pytest.raises(Refused, match="app_clone is not made, because it may lack SELECT on MODELS; DROP s"):
        set_password("app_clone", exists("app_clone", there=False), base, clone=False)


def test_the_base_users_turn_sets_its_password_alone() -> None:
    report = set_password("app", single(done(f"ALTER USER \"app\" PASSWORD '{digest('app')}'")))
    assert report == RightsReport()


def test_a_user_sets_its_own_password_without_an_admin() -> None:
    own = credential("app", "Old1Password")
    said = [
        *opened("app"),
        *exists("app"),
        *exists("app"),
        *single(done(f"ALTER USER \"app\" PASSWORD '{digest('app')}'")),
    ]
    with session(Conversation("app", "Old1Password", "dev", said), own=own) as connected:
        connected.check_users(Users("app"))
        connected.set_password(Users("app"), credential("app"), Rights.ENFORCE)


def test_rights_are_compared_in_the_database_of_the_secret() -> None:
    at_home = [
        *opened("admin"),
        *checked(clone=True),
        *exists("app_clone"),
        *single(done(f"ALTER USER \"app_clone\" PASSWORD '{digest('app_clone')}'")),
    ]
    in_shop = [*opened("admin"), *seen("app"), *clone_seen()]
    with session(
        Conversation("admin", "Adm1nPassword", "dev", at_home), Conversation("admin", "Adm1nPassword", "shop", in_shop)
    ) as connected:
        connected.set_password(USERS, credential("app_clone", dbname="shop"), Rights.ENFORCE)


def check_users(*steps: list[Step], users: Users = USERS) -> None:
    said = [*opened("admin"), *(step for several in steps for step in several)]
    with session(Conversation("admin", "Adm1nPassword", "dev", said)) as connected:
        connected.check_users(users)


def test_a_stranger_with_the_clones_name_is_refused_before_anything_is_changed() -> None:
    with pytest.raises(Refused, match=f'not provably the clone of app: .* run: CREATE ROLE "{MARK}"; GRANT ROLE'):
        check_users(exists("app"), superuser(), exists("app_clone"), marked("app_clone", mark_of("other")))


def test_a_user_that_has_a_clone_gets_no_second_one() -> None:
    found = [*exists("app"), *superuser(), *exists("app_clone", there=False), *marked("app", "readers")]
    with pytest.raises(
        Refused, match=r"user app at .* has a clone already, app_b, .*cloneSuffix: _b, or drop user app_b$"
    ):
        check_users(found, clones("app_b"))


def test_a_clone_gets_no_clone_of_its_own() -> None:
    found = [*exists("app_clone"), *superuser(), *exists("app_clone_b", there=False), *marked("app_clone", MARK)]
    with pytest.raises(Refused, match=r"app_clone at .* is itself the clone of app; .*cloneSuffix: _clone$"):
        check_users(found, users=Users("app_clone", "app_clone_b"))


def test_an_admin_who_sees_a_part_of_the_rights_is_refused() -> None:
    with pytest.raises(Refused, match='run: ALTER USER "admin" CREATEUSER'):
        check_users(exists("app"), superuser(is_one=False))


def test_a_base_user_that_does_not_exist_is_refused() -> None:
    with pytest.raises(Refused, match="user app does not exist"):
        check_users(exists("app", there=False))


@pytest.mark.parametrize("name", ["a" * 122 + "_clone", "a'b", 'a"b', "a\\b", "", "PUBLIC", "a\nb"])
def test_names_that_cannot_be_are_refused_without_a_connection(name: str) -> None:
    with pytest.raises(Refused):
        RedshiftEngine().check_username(name)


def test_a_failed_first_rotation_locks_the_clone_out() -> None:
    said = [*opened("admin"), *exists("app_clone"), *single(done('ALTER USER "app_clone" PASSWORD DISABLE'))]
    with session(Conversation("admin", "Adm1nPassword", "dev", said)) as connected:
        connected.disable_login("app_clone")


def test_a_clone_that_was_never_made_is_not_locked_out() -> None:
    said = [*opened("admin"), *exists("app_clone", there=False)]
    with session(Conversation("admin", "Adm1nPassword", "dev", said)) as connected:
        connected.disable_login("app_clone")


def test_sessions_are_counted_by_a_superuser_and_unknown_to_others() -> None:
    counted = asked(
        "SELECT TRIM(db_name), COUNT(*) FROM pg_catalog.stv_sessions WHERE TRIM(user_name) = 'app' AND process <> "
        "pg_backend_pid() GROUP BY 1 ORDER BY 1",
        ("dev", 2),
        ("shop", 1),
    )
    said = [*opened("admin"), *superuser(), *single(counted), *superuser(is_one=False)]
    with session(Conversation("admin", "Adm1nPassword", "dev", said)) as connected:
        assert connected.sessions_of("app") == (SessionCount("unknown", "dev", 2), SessionCount("unknown", "shop", 1))
        assert connected.sessions_of("app") is None


def test_serverless_has_no_view_of_sessions_and_all_that_equality_needs() -> None:
    """Its double refuses every STL, STV and SVL view, as Serverless does."""
    counted = failing(
        "SELECT TRIM(db_name), COUNT(*) FROM pg_catalog.stv_sessions WHERE TRIM(user_name) = 'app' AND process <> "
        "pg_backend_pid() GROUP BY 1 ORDER BY 1",
        "42501",
        "permission denied",
    )
    said = [*opened("admin"), *superuser(), *single(counted), *checked(clone=True), *exists("app_clone")]
    said += [*single(done(f"ALTER USER \"app_clone\" PASSWORD '{digest('app_clone')}'")), *seen("app"), *clone_seen()]
    with session(Conversation("admin", "Adm1nPassword", "dev", said, serverless=True)) as connected:
        assert connected.sessions_of("app") is None
        assert connected.set_password(USERS, credential("app_clone"), Rights.ENFORCE) == RightsReport()


def clone_turn(*looks: list[Step]) -> RightsReport:
    own = single(done(f"ALTER USER \"app_clone\" PASSWORD '{digest('app_clone')}'"))
    return set_password("app_clone", exists("app_clone"), own, *looks)


def test_procedures_are_granted_as_procedures_whether_given_or_owned() -> None:
    kinds = [("s", "load", True), ("s", "mine", True), ("s", "f", False)]
    given: list[Row] = [
        ("EXECUTE", False, "s", "load", "integer,character varying"),
        ("EXECUTE", False, "s", "f", None),
    ]
    base = seen("app", kinds=kinds, functions=given, owned_functions=[("s", "mine", "integer", True)])
    granted: list[Row] = [*given, ("EXECUTE", False, "s", "mine", "integer")]
    report = clone_turn(
        base,
        clone_seen(kinds=kinds),
        single(done('GRANT EXECUTE ON FUNCTION "s"."f"() TO "app_clone"')),
        single(done('GRANT EXECUTE ON PROCEDURE "s"."load"(integer, character varying) TO "app_clone"')),
        single(done('GRANT EXECUTE ON PROCEDURE "s"."mine"(integer) TO "app_clone"')),
        base,
        clone_seen(kinds=kinds, functions=granted),
    )
    assert report.remaining == ()


def test_what_a_user_gives_others_on_what_it_will_make_is_the_clones_too() -> None:
    base = seen(
        "app",
        gives=[
            ("SELECT", False, "RELATION", "mart", "group", "readers"),
            ("INSERT", True, "RELATION", None, "role", "ana lyst"),
            ("EXECUTE", False, "FUNCTION", None, "public", None),
            ("SELECT", False, "RELATION", None, "user", "app"),
            ("SELECT", False, "RELATION", None, "user", "app_clone"),
            ("RULE", False, "RELATION", None, "user", "other"),
        ],
    )
    before: list[Row] = [
        ("INSERT", False, "RELATION", None, "role", "ana lyst"),
        ("DELETE", False, "RELATION", None, "user", 'o"dd'),
    ]
    whole: list[Row] = [
        ("SELECT", False, "RELATION", "mart", "group", "readers"),
        ("INSERT", True, "RELATION", None, "role", "ana lyst"),
        ("EXECUTE", False, "FUNCTION", None, "public", None),
    ]
    own = 'ALTER DEFAULT PRIVILEGES FOR USER "app_clone"'
    report = clone_turn(
        base,
        clone_seen(gives=before),
        single(done(f'{own} REVOKE DELETE ON TABLES FROM "o""dd"')),
        single(done(f"{own} GRANT EXECUTE ON FUNCTIONS TO PUBLIC")),
        single(done(f'{own} REVOKE INSERT ON TABLES FROM ROLE "ana lyst"')),
        single(done(f'{own} GRANT INSERT ON TABLES TO ROLE "ana lyst" WITH GRANT OPTION')),
        single(done(f'{own} IN SCHEMA "mart" GRANT SELECT ON TABLES TO GROUP "readers"')),
        base,
        clone_seen(gives=whole),
    )
    assert report == RightsReport(
        repaired=(
            'app_clone gives DELETE ON TABLES to "o""dd" on what it makes, unlike app',
            "app_clone does not give EXECUTE ON FUNCTIONS to PUBLIC on what it makes, unlike app",
            'app_clone gives otherwise INSERT ON TABLES to ROLE "ana lyst" on what it makes, unlike app',
            'app_clone does not give SELECT ON TABLES to GROUP "readers" in schema mart on what it makes, unlike app',
        )
    )


def test_a_name_that_a_function_and_a_procedure_have_is_told() -> None:
    kinds = [("s", "both", True), ("s", "both", False)]
    base = seen("app", kinds=kinds, functions=[("EXECUTE", False, "s", "both", "integer")])
    with pytest.raises(Refused, match="may lack EXECUTE on s both integer, which app has"):
        clone_turn(base, clone_seen())


def test_privileges_that_no_grant_writes_and_that_do_nothing_are_told_and_hold_up_nothing() -> None:
    defaults: list[Row] = [(right, False, "RELATION", "loader", "s") for right in ("SELECT", "RULE", "TRIGGER")]
    report = clone_turn(seen("app", defaults=defaults), clone_seen(defaults=defaults[:2]))
    assert report == RightsReport((), ("app_clone may lack TRIGGER on RELATION loader s, which app has",))


def test_a_privilege_of_an_unknown_word_is_not_written_into_a_statement() -> None:
    base = seen("app", relations=[("VACUUM", False, "s", "t")])
    with pytest.raises(Refused, match="may lack VACUUM on s t, which app has"):
        clone_turn(base, clone_seen())


def test_a_session_that_was_silent_for_too_long_is_not_used_any_more() -> None:
    with (
        session(
            Conversation("admin", "Adm1nPassword", "dev", opened("admin")), engine=RedshiftEngine(idle_seconds=-1)
        ) as connected,
        pytest.raises(Unavailable, match="silent for more than"),
    ):
        connected.set_password(Users("app"), credential("app"), Rights.ENFORCE)


# ---- verify


def verify(
    *steps: Step, queries: Iterable[str] = (), password: str = CANARY, refusal: Error | None = None, login: bool = True
) -> list[str]:
    said = [*(opened("app") if login else []), *steps]
    with RedshiftDouble(Conversation("app", CANARY, "dev", said, refusal)) as double:
        return RedshiftEngine().verify(double.server, credential("app", password), USERS, list(queries))


def queried(query: str) -> Step:
    return asked(f"SELECT 1 FROM ( {query} ) AS verified LIMIT 1", (1,))


def test_the_digest_that_is_set_is_the_password_that_logs_in() -> None:
    assert digest("user1", "ez") == "md5153c434b4b77c89e6b94f12c5393af5b"  # CREATE USER, Redshift's guide
    assert verify() == []


def test_a_wrong_password_is_certain() -> None:
    with pytest.raises(AuthenticationFailed) as told:
        verify(password="Wrong" + CANARY, login=False)
    assert CANARY not in str(told.value)


@pytest.mark.parametrize(
    "refusal",
    [
        Error("57P03", "the database system is starting up"),
        Error("53300", 'connection limit "500" exceeded for non-bootstrap users'),
        Error("XX000", f"something else about {CANARY}"),
    ],
)
def test_the_doubtful_is_unavailable_and_not_repeated(refusal: Error) -> None:
    with pytest.raises(Unavailable) as told:
        verify(refusal=refusal, login=False)
    assert CANARY not in str(told.value)


def test_a_database_that_is_not_there_is_a_failed_check() -> None:
    refusal = Error("3D000", 'database "dev" does not exist')
    assert "check dbname in the secret value" in verify(refusal=refusal, login=False)[0]


def test_verify_queries_run_inside_a_query_that_takes_one_row() -> None:
    limit = done("SET statement_timeout TO 4999")
    steps: list[Step] = [done("BEGIN"), done("RESET search_path"), limit, queried("SELECT a FROM t"), done("ROLLBACK")]
    engine = RedshiftEngine(verify_seconds=5.0)
    with (
        RedshiftDouble(Conversation("app", CANARY, "dev", [*opened("app"), *steps])) as double,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("time.monotonic", itertools.count(0.0, 0.0001).__next__)
        assert engine.verify(double.server, credential("app"), USERS, ["SELECT a FROM t;"]) == []


@pytest.mark.parametrize("query", ["DELETE FROM t", "SELECT 1; DROP TABLE t", "SELECT ';'", "CALL p()", ""])
def test_what_is_not_one_select_is_not_run(query: str) -> None:
    assert verify(queries=[query]) == ["verify query 1 is not one SELECT without a semicolon, and was not run"]


def test_a_session_of_somebody_else_is_no_login() -> None:
    steps = transaction(*PINNED, asked("SELECT SESSION_USER, CURRENT_USER", ("app_clone", "app_clone")))
    with pytest.raises(AuthenticationFailed, match="belongs to another user"):
        verify(*steps, login=False)


def test_a_session_that_runs_as_somebody_else_fails_the_check() -> None:
    steps = transaction(*PINNED, asked("SELECT SESSION_USER, CURRENT_USER", ("app", "root")))
    assert "does not run as app" in verify(*steps, login=False)[0]


# ---- errors of statements


@pytest.mark.parametrize(
    ("sqlstate", "message", "meaning", "told"),
    [
        ("42501", "permission denied", Refused, "has to be a superuser; run: ALTER USER … CREATEUSER"),
        ("42601", "syntax error at or near", Refused, "syntax error"),
        ("40001", "Serializable isolation violation on table", Unavailable, "tried again"),
        ("57014", "Query cancelled on user's request", Unavailable, "tried again"),
        ("XX000", "Assert", Unavailable, "tried again"),
        ("25006", "transaction is read-only", Unavailable, "tried again"),
    ],
)
def test_what_a_failed_statement_means(sqlstate: str, message: str, meaning: type[DatabaseError], told: str) -> None:
    statement = f"ALTER USER \"app\" PASSWORD '{digest('app')}'"
    with pytest.raises(meaning, match=told) as error:
        set_password("app", single(failing(statement, sqlstate, message, quotes=True)))
    assert CANARY not in str(error.value)
    assert error.value.__cause__ is None
