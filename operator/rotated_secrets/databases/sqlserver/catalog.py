"""What SQL Server's catalog says about a login, and about its user in one database.

Reads only; decides nothing. No user can replace the views of schema sys.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rotated_secrets.databases.sqlserver.rights import DatabaseUser, Login, Permission, Permissions, literal, quoted
from rotated_secrets.databases.sqlserver.session import Session

_LOGIN = """
SELECT l.principal_id, l.name, l.sid, l.is_disabled, CAST(LOGINPROPERTY(l.name, 'IsLocked') AS int),
       l.default_database_name, l.default_language_name, l.is_policy_checked, l.is_expiration_checked
FROM sys.sql_logins AS l WHERE l.name = %s
"""
_SERVER_ROLES = """
SELECT r.name FROM sys.server_role_members AS m
JOIN sys.server_principals AS r ON r.principal_id = m.role_principal_id WHERE m.member_principal_id = %s
"""
_SERVER_PERMISSIONS = """
SELECT p.state, p.permission_name, p.class_desc, s.kind, NULL, s.name, NULL
FROM sys.server_permissions AS p
LEFT JOIN (
    SELECT 100 AS class, 0 AS id, '' AS kind, N'' AS name
    UNION ALL SELECT 101, principal_id, CASE type WHEN 'R' THEN 'SERVER ROLE' ELSE 'LOGIN' END, name
              FROM sys.server_principals
    UNION ALL SELECT 105, endpoint_id, 'ENDPOINT', name FROM sys.endpoints
) AS s ON s.class = p.class AND s.id = p.major_id
WHERE p.grantee_principal_id = %s
"""
_MARKED_LOGINS = """
SELECT g.name FROM sys.server_permissions AS p
JOIN sys.server_principals AS b ON b.principal_id = p.major_id
JOIN sys.server_principals AS g ON g.principal_id = p.grantee_principal_id
WHERE p.class = 101 AND p.permission_name = 'IMPERSONATE' AND p.state IN ('G', 'W') AND b.name = %s
"""
# Users do not log in to the ones left out: the server's own, and RDS's.
_DATABASES = """
SELECT name, CASE WHEN state = 0 AND is_read_only = 0 AND HAS_DBACCESS(name) = 1 THEN 1 ELSE 0 END FROM sys.databases
WHERE source_database_id IS NULL AND name NOT IN (N'model', N'rdsadmin', N'tempdb')
ORDER BY name
"""

_USER = """
SELECT u.principal_id, u.name, u.default_schema_name, u.default_language_name, u.authentication_type
FROM sys.database_principals AS u WHERE u.type = 'S'
"""
_ROLES = """
SELECT r.name FROM sys.database_role_members AS m
JOIN sys.database_principals AS r ON r.principal_id = m.role_principal_id WHERE m.member_principal_id = %s
"""
_SCHEMAS = "SELECT name FROM sys.schemas WHERE principal_id = %s ORDER BY name"
_PERMISSIONS = """
SELECT p.state, p.permission_name, p.class_desc, s.kind, s.container, s.name, c.name
FROM sys.database_permissions AS p
LEFT JOIN (
    SELECT 0 AS class, 0 AS id, '' AS kind, NULL AS container, N'' AS name
    UNION ALL SELECT 1, object_id, 'OBJECT', SCHEMA_NAME(schema_id), name FROM sys.all_objects
    UNION ALL SELECT 3, schema_id, 'SCHEMA', NULL, name FROM sys.schemas
    UNION ALL SELECT 4, principal_id,
                     CASE type WHEN 'R' THEN 'ROLE' WHEN 'A' THEN 'APPLICATION ROLE' ELSE 'USER' END, NULL, name
              FROM sys.database_principals
    UNION ALL SELECT 5, assembly_id, 'ASSEMBLY', NULL, name FROM sys.assemblies
    UNION ALL SELECT 6, user_type_id, 'TYPE', SCHEMA_NAME(schema_id), name FROM sys.types
    UNION ALL SELECT 10, xml_collection_id, 'XML SCHEMA COLLECTION', SCHEMA_NAME(schema_id), name
              FROM sys.xml_schema_collections
    UNION ALL SELECT 15, message_type_id, 'MESSAGE TYPE', NULL, name FROM sys.service_message_types
    UNION ALL SELECT 16, service_contract_id, 'CONTRACT', NULL, name FROM sys.service_contracts
    UNION ALL SELECT 17, service_id, 'SERVICE', NULL, name FROM sys.services
    UNION ALL SELECT 18, remote_service_binding_id, 'REMOTE SERVICE BINDING', NULL, name
              FROM sys.remote_service_bindings
    UNION ALL SELECT 19, route_id, 'ROUTE', NULL, name FROM sys.routes
    UNION ALL SELECT 23, fulltext_catalog_id, 'FULLTEXT CATALOG', NULL, name FROM sys.fulltext_catalogs
    UNION ALL SELECT 24, symmetric_key_id, 'SYMMETRIC KEY', NULL, name FROM sys.symmetric_keys
    UNION ALL SELECT 25, certificate_id, 'CERTIFICATE', NULL, name FROM sys.certificates
    UNION ALL SELECT 26, asymmetric_key_id, 'ASYMMETRIC KEY', NULL, name FROM sys.asymmetric_keys
) AS s ON s.class = p.class AND s.id = p.major_id
LEFT JOIN sys.all_columns AS c
       ON p.class = 1 AND p.minor_id > 0 AND c.object_id = p.major_id AND c.column_id = p.minor_id
WHERE p.grantee_principal_id = %s
"""
_MARKED_USERS = """
SELECT g.name FROM sys.database_permissions AS p
JOIN sys.database_principals AS b ON b.principal_id = p.major_id
JOIN sys.database_principals AS g ON g.principal_id = p.grantee_principal_id
WHERE p.class = 4 AND p.permission_name = 'IMPERSONATE' AND p.state IN ('G', 'W') AND b.name = %s
"""
_DBO = 1
_IN_THE_DATABASE = 2


def login(session: Session, name: str) -> Login | None:
    """Return the login of this name that has a password; None if there is none."""
    doing = f"look at login {name}"
    found = session.ask(doing, _LOGIN, name)
    if not found:
        return None
    number, exact, sid, disabled, locked, database, language, policy, expiration = found[0]
    permissions, unreadable = _permissions(session.ask(doing, _SERVER_PERMISSIONS, number))
    return Login(
        name=exact,
        sid=bytes(sid),
        disabled=bool(disabled),
        locked=bool(locked),
        database=database,
        language=language,
        policy=bool(policy),
        expiration=bool(expiration),
        roles=frozenset(role for (role,) in session.ask(doing, _SERVER_ROLES, number)),
        permissions=permissions,
        unreadable=unreadable,
    )


def clones_of_login(session: Session, base: str) -> list[str]:
    """The logins that are marked as clones of a login."""
    return [str(name) for (name,) in session.ask(f"look for clones of login {base}", _MARKED_LOGINS, base)]


def clones_of_user(session: Session, base: str, database: str) -> list[str]:
    """The users of the session's database that are marked as clones of one of them."""
    found = session.ask(f"look for clones of user {base} in database {database}", _MARKED_USERS, base)
    return [str(name) for (name,) in found]


def databases_of(session: Session, sids: Iterable[bytes]) -> tuple[list[str], list[str]]:
    """The databases in which one of these logins is known, and those that cannot be looked into or changed."""
    found = session.ask("look at the databases", _DATABASES)
    names, closed = [name for name, is_open in found if is_open], [name for name, is_open in found if not is_open]
    if not names:
        return [], closed
    wanted = ", ".join(_hex(sid) for sid in sids)
    parts = [
        f"SELECT {literal(name)} FROM {quoted(name)}.sys.database_principals WHERE sid IN ({wanted})" for name in names
    ]
    known = session.ask("look for users in the databases", "\nUNION\n".join(parts))
    return sorted({str(name) for (name,) in known}), closed


def user_of_login(session: Session, sid: bytes, database: str) -> DatabaseUser | None:
    """Return the user of a login in the session's database; None if it has none."""
    return _user(session, session.ask(f"look into database {database}", _USER + f"AND u.sid = {_hex(sid)}"), database)


def user_named(session: Session, name: str, database: str) -> DatabaseUser | None:
    """The user of this name in the session's database."""
    return _user(session, session.ask(f"look into database {database}", _USER + "AND u.name = %s", name), database)


def _user(session: Session, found: list[tuple[Any, ...]], database: str) -> DatabaseUser | None:
    if not found:
        return None
    number, name, schema, language, kind = found[0]
    if number == _DBO:
        return DatabaseUser(name=name, owner=True)
    doing = f"look at user {name} in database {database}"
    permissions, unreadable = _permissions(session.ask(doing, _PERMISSIONS, number))
    return DatabaseUser(
        name=name,
        schema=schema,
        language=language,
        contained=kind == _IN_THE_DATABASE,
        roles=frozenset(role for (role,) in session.ask(doing, _ROLES, number)),
        permissions=permissions,
        schemas=tuple(schema for (schema,) in session.ask(doing, _SCHEMAS, number)),
        unreadable=unreadable,
    )


def _permissions(rows: list[tuple[Any, ...]]) -> tuple[Permissions, tuple[str, ...]]:
    permissions: dict[Permission, str] = {}
    unreadable: list[str] = []
    for state, permission, class_name, kind, container, name, column in rows:
        if name is None:
            unreadable.append(f"{permission} on something of class {class_name}")
            continue
        on = f"{kind}::{quoted(container) + '.' if container else ''}{quoted(name)}" if kind else ""
        permissions[Permission(permission, on, column or "")] = state.strip()
    return permissions, tuple(sorted(unreadable))


def _hex(sid: bytes) -> str:
    """Bytes as T-SQL writes them: the driver would send them as text."""
    return f"0x{sid.hex().upper()}"
