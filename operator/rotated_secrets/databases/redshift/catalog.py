"""What Redshift's catalog says about a user: attributes everywhere, privileges in the database of the session.

Reads only; decides nothing. The session's search_path is pg_catalog, and every relation is qualified all the same.
The views of privileges show a superuser everything and others a part, without a word: look only as a superuser.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from rotated_secrets.databases.redshift.rights import Default, Grant, Owned, User, quoted

_PRIVILEGE = re.compile(r"[A-Z]+(?: [A-Z]+)*\Z")
_ARGUMENTS = re.compile(r"[A-Za-z0-9_ ,()\[\]]*\Z")
_LIMIT = re.compile(r"[0-9]+\Z")

_USER = """
SELECT usesysid, usecreatedb, usesuper, valuntil, useconnlimit, useconfig
FROM pg_catalog.pg_user_info WHERE usename = %s
"""
# Of the two views that show it, the one that Serverless has as well.
_MORE = "SELECT syslog_access, session_timeout FROM pg_catalog.svv_user_info WHERE user_name = %s"
_GROUPS = "SELECT groname FROM pg_catalog.pg_group WHERE %s = ANY(grolist)"
_ROLES = "SELECT role_name, admin_option FROM pg_catalog.svv_user_grants WHERE user_name = %s"
_TABLES = """
SELECT n.nspname, c.relname, c.relkind
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relowner = %s AND c.relkind IN ('r', 'v') AND n.nspname NOT LIKE 'pg!_%%' ESCAPE '!'
"""
_SCHEMAS = "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspowner = %s AND nspname NOT LIKE 'pg!_%%' ESCAPE '!'"

_OF_A_USER = "WHERE identity_type = 'user' AND identity_name = %s"
_RELATIONS = f"""
SELECT privilege_type, admin_option, namespace_name, relation_name
FROM pg_catalog.svv_relation_privileges {_OF_A_USER} AND namespace_name NOT IN ('pg_internal', 'pg_automv')
"""
_COLUMNS = f"""
SELECT privilege_type, false, namespace_name, relation_name, column_name
FROM pg_catalog.svv_column_privileges {_OF_A_USER}
"""
_IN_SCHEMAS = f"""
SELECT privilege_type, admin_option, privilege_scope, namespace_name
FROM pg_catalog.svv_schema_privileges {_OF_A_USER}
"""
_IN_DATABASES = f"""
SELECT privilege_type, admin_option, privilege_scope, database_name
FROM pg_catalog.svv_database_privileges {_OF_A_USER}
"""
_FUNCTIONS = f"""
SELECT privilege_type, admin_option, namespace_name, function_name, argument_types
FROM pg_catalog.svv_function_privileges {_OF_A_USER}
"""
_PROCEDURES = """
SELECT DISTINCT n.nspname, p.proname, p.prokind = 'p'
FROM pg_catalog.pg_proc_info p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname NOT LIKE 'pg!_%' ESCAPE '!'
"""
_OWNED_FUNCTIONS = """
SELECT n.nspname, p.proname, pg_catalog.oidvectortypes(p.proargtypes), p.prokind = 'p'
FROM pg_catalog.pg_proc_info p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE p.proowner = %s AND n.nspname NOT LIKE 'pg!_%%' ESCAPE '!'
"""
_LANGUAGES = f"""
SELECT privilege_type, admin_option, language_name FROM pg_catalog.svv_language_privileges {_OF_A_USER}
"""
_DEFAULTS = """
SELECT privilege_type, admin_option, object_type, owner_name, schema_name
FROM pg_catalog.svv_default_privileges WHERE grantee_type = 'user' AND grantee_name = %s
"""
_DEFAULTS_OF = """
SELECT privilege_type, admin_option, object_type, schema_name, grantee_type, grantee_name
FROM pg_catalog.svv_default_privileges WHERE owner_name = %s
"""
_OF_A_TABLE = ("DELETE", "DROP", "INSERT", "REFERENCES", "SELECT", "UPDATE")
# "GRANT", Amazon Redshift Database Developer Guide. Views show more words, of PostgreSQL, which GRANT does not accept.
_WRITABLE = frozenset(
    {
        *("ALTER", "CREATE", "DELETE", "DROP", "EXECUTE", "INSERT", "REFERENCES", "SELECT"),
        *("TEMP", "TEMPORARY", "TRUNCATE", "UPDATE", "USAGE"),
    }
)
_GRANTEES = {"user": "{}", "role": "ROLE {}", "group": "GROUP {}", "public": "PUBLIC"}
_DEFAULT_ON = {"RELATION": "TABLES", "FUNCTION": "FUNCTIONS", "PROCEDURE": "PROCEDURES"}


def look(cursor: Cursor, name: str) -> User | None:
    """Everything about one user; None where it does not exist."""
    cursor.execute(_USER, (name,))
    found = cursor.fetchone()
    if found is None:
        return None
    sysid, creates_databases, superuser, valid_until, limit, config = found
    cursor.execute(_MORE, (name,))
    syslog_access, session_timeout = cursor.fetchone() or ("RESTRICTED", 0)
    grants, unreadable = _grants(cursor, name)
    return User(
        name=name,
        attributes=frozenset(
            word for word, has_it in (("CREATEDB", creates_databases), ("CREATEUSER", superuser)) if has_it
        ),
        valid_until=None if valid_until is None or str(valid_until) == "infinity" else str(valid_until),
        connection_limit=str(limit) if _LIMIT.match(str(limit)) else "UNLIMITED",
        syslog_access="UNRESTRICTED" if str(syslog_access).strip().upper() == "UNRESTRICTED" else "RESTRICTED",
        session_timeout=int(session_timeout or 0),
        settings=dict(setting.split("=", 1) for setting in config or ()),
        groups=frozenset(_column(cursor, _GROUPS, sysid)),
        roles=_pairs(cursor, _ROLES, name),
        grants=grants,
        owned=(*_owned_tables(cursor, sysid), *_owned_schemas(cursor, sysid), *_owned_functions(cursor, sysid)),
        defaults=_defaults_of(cursor, name),
        unreadable=unreadable,
    )


def _grants(cursor: Cursor, name: str) -> tuple[dict[Grant, bool], tuple[str, ...]]:
    grants: dict[Grant, bool] = {}
    unreadable: list[str] = []
    procedures = _procedures(cursor)
    kinds: tuple[tuple[str, Callable[..., Grant | None]], ...] = (
        (_RELATIONS, lambda right, schema, table: Grant(f"{right} ON TABLE {quoted(schema)}.{quoted(table)}")),
        (
            _COLUMNS,
            lambda right, schema, table, column: Grant(
                f"{right} ({quoted(column)}) ON TABLE {quoted(schema)}.{quoted(table)}"
            ),
        ),
        (_IN_SCHEMAS, lambda right, scope, schema: _scoped(right, scope, "SCHEMA", schema)),
        (_IN_DATABASES, lambda right, scope, database: _scoped(right, scope, "DATABASE", database)),
        (_FUNCTIONS, lambda right, *where: _executable(right, *where, procedures=procedures)),
        (_LANGUAGES, lambda right, language: Grant(f"{right} ON LANGUAGE {quoted(language)}")),
        (_DEFAULTS, _default),
    )
    for query, as_grant in kinds:
        cursor.execute(query, (name,))
        for right, option, *where in cursor.fetchall():
            grant = as_grant(right, *where) if right in _WRITABLE else None
            if grant is None:
                unreadable.append(" ".join(str(part) for part in (right, "on", *where)))
            else:
                grants[grant] = grants.get(grant, False) or bool(option)
    return grants, tuple(sorted(unreadable))


def _scoped(right: str, scope: str | None, kind: str, name: str) -> Grant | None:
    """A privilege on a schema or database itself, or on all that is and will be in it."""
    if scope is None or scope.upper() == kind:
        return Grant(f"{right} ON {kind} {quoted(name)}")
    return Grant(f"{right} FOR {scope.upper()} IN {kind} {quoted(name)}") if _PRIVILEGE.match(scope.upper()) else None


def _procedures(cursor: Cursor) -> dict[tuple[str, str], bool]:
    """Whether what has a name is a procedure; a name that functions have and procedures too is left out."""
    cursor.execute(_PROCEDURES)
    kinds: dict[tuple[str, str], set[bool]] = {}
    for schema, name, is_procedure in cursor.fetchall():
        kinds.setdefault((schema, name), set()).add(bool(is_procedure))
    return {where: found.pop() for where, found in kinds.items() if len(found) == 1}


def _executable(
    right: str, schema: str, name: str, arguments: str | None, *, procedures: dict[tuple[str, str], bool]
) -> Grant | None:
    """The view does not separate functions from procedures, but GRANT has a word for each."""
    is_procedure = False if schema.startswith("pg_") else procedures.get((schema, name))
    what = None if is_procedure is None else _function(schema, name, arguments, is_procedure=is_procedure)
    return Grant(f"{right} ON {what}") if what else None


def _function(schema: str, name: str, arguments: str | None, *, is_procedure: bool) -> str | None:
    # Argument types are written as they are: names of types cannot be quoted, and users make none in Redshift.
    if not _ARGUMENTS.match(arguments or ""):
        return None
    types = ", ".join(each.strip() for each in (arguments or "").split(","))
    return f"{'PROCEDURE' if is_procedure else 'FUNCTION'} {quoted(schema)}.{quoted(name)}({types})"


def _default(right: str, kind: str, owner: str, schema: str | None) -> Grant | None:
    if kind.upper() not in _DEFAULT_ON:
        return None
    place = f" IN SCHEMA {quoted(schema)}" if schema else ""
    return Grant(
        f"{right} ON {_DEFAULT_ON[kind.upper()]}", f"ALTER DEFAULT PRIVILEGES FOR USER {quoted(owner)}{place} "
    )


def _defaults_of(cursor: Cursor, owner: str) -> dict[Default, bool]:
    """What the user gives others on all that it will make; its own right to that is no gift."""
    cursor.execute(_DEFAULTS_OF, (owner,))
    found: dict[Default, bool] = {}
    for right, option, kind, schema, grantee_type, grantee in cursor.fetchall():
        to = _GRANTEES.get(grantee_type.lower())
        if to is None or grantee == owner or right not in _WRITABLE or kind.upper() not in _DEFAULT_ON:
            continue
        given = Default(f"{right} ON {_DEFAULT_ON[kind.upper()]}", to.format(quoted(grantee or "")), schema or None)
        found[given] = found.get(given, False) or bool(option)
    return found


def _owned_tables(cursor: Cursor, sysid: int) -> Iterator[Owned]:
    cursor.execute(_TABLES, (sysid,))
    for schema, table, kind in cursor.fetchall():
        what = f"TABLE {quoted(schema)}.{quoted(table)}"
        rights = _OF_A_TABLE if kind == "r" else ("SELECT",)
        yield Owned(what, tuple(Grant(f"{right} ON {what}") for right in rights))


def _owned_schemas(cursor: Cursor, sysid: int) -> Iterator[Owned]:
    for schema in _column(cursor, _SCHEMAS, sysid):
        what = f"SCHEMA {quoted(schema)}"
        yield Owned(what, (Grant(f"CREATE ON {what}"), Grant(f"USAGE ON {what}")))


def _owned_functions(cursor: Cursor, sysid: int) -> Iterator[Owned]:
    cursor.execute(_OWNED_FUNCTIONS, (sysid,))
    for schema, name, arguments, is_procedure in cursor.fetchall():
        what = _function(schema, name, arguments, is_procedure=bool(is_procedure))
        if what:
            yield Owned(what, (Grant(f"EXECUTE ON {what}"),))


def _column(cursor: Cursor, query: str, argument: object) -> list[str]:
    cursor.execute(query, (argument,))
    return [str(row[0]) for row in cursor.fetchall()]


def _pairs(cursor: Cursor, query: str, argument: object) -> dict[str, bool]:
    cursor.execute(query, (argument,))
    return {str(name): bool(option) for name, option in cursor.fetchall()}
