"""What Oracle's data dictionary says about a user of one database or pluggable database.

Reads only; decides nothing. Every view is named with its schema, for a synonym of the session's user would come first.
"""

from __future__ import annotations

from rotated_secrets.databases.oracle.rights import (
    Synonym,
    User,
    known_privilege,
    object_privilege,
    quoted,
)
from rotated_secrets.databases.oracle.session import Row, Session

_USER = """
SELECT account_status, default_tablespace, temporary_tablespace, profile, authentication_type, oracle_maintained
FROM sys.dba_users WHERE username = :name
"""
_QUOTAS = """
SELECT tablespace_name, max_bytes FROM sys.dba_ts_quotas
WHERE username = :name AND dropped = 'NO' AND max_bytes <> 0
"""
_ROLES = """
SELECT granted_role, MAX(admin_option), MAX(default_role) FROM sys.dba_role_privs
WHERE grantee = :name GROUP BY granted_role
"""
_SYSTEM = "SELECT privilege, MAX(admin_option) FROM sys.dba_sys_privs WHERE grantee = :name GROUP BY privilege"
_OBJECTS = """
SELECT privilege, owner, table_name, type, MAX(grantable), MAX(hierarchy) FROM sys.dba_tab_privs
WHERE grantee = :name GROUP BY privilege, owner, table_name, type
"""
_COLUMNS = """
SELECT privilege, owner, table_name, column_name, MAX(grantable) FROM sys.dba_col_privs
WHERE grantee = :name GROUP BY privilege, owner, table_name, column_name
"""
_SYNONYMS = "SELECT synonym_name, table_owner, table_name, db_link FROM sys.dba_synonyms WHERE owner = :name"
_BECOMES = "SELECT client FROM sys.proxy_users WHERE proxy = :name"
_BECOME_IT = "SELECT proxy FROM sys.proxy_users WHERE client = :name"
_OWNED = """
SELECT object_type, COUNT(*) FROM sys.dba_objects
WHERE owner = :name AND object_type <> 'SYNONYM' AND object_name NOT LIKE 'BIN$%' GROUP BY object_type
"""
_YES = "YES"


def look(session: Session, name: str) -> User | None:
    """Everything about one user; None where it does not exist."""

    def ask(query: str) -> list[Row]:
        return session.ask(f"look at user {name}", query, name=name)

    found = ask(_USER)
    if not found:
        return None
    status, tablespace, temporary, profile, authentication, maintained = found[0]
    roles = ask(_ROLES)
    unreadable: list[str] = []
    system: dict[str, bool] = {}
    for privilege, option in ask(_SYSTEM):
        if known_privilege(privilege):
            system[privilege] = option == _YES
        else:
            unreadable.append(f"privilege {privilege}")
    objects: dict[str, bool] = {}
    for privilege, owner, table, kind, option, hierarchy in ask(_OBJECTS):
        written = object_privilege(privilege, owner, table, kind or "TABLE")
        if written is None or hierarchy == _YES:
            unreadable.append(f"{privilege} on {kind} {owner}.{table}{' with its hierarchy' * (hierarchy == _YES)}")
        else:
            objects[written] = option == _YES
    return User(
        name=name,
        status=status,
        tablespace=tablespace,
        temporary_tablespace=temporary,
        profile=profile,
        authentication=authentication or "NONE",
        maintained=maintained == "Y",
        quotas={str(where): int(size) for where, size in ask(_QUOTAS)},
        roles={role: option == _YES for role, option, _ in roles},
        default_roles=frozenset(role for role, _, default in roles if default == _YES),
        system=system,
        objects=objects,
        columns=_columns(ask(_COLUMNS)),
        synonyms={synonym: Synonym(owner, target, link) for synonym, owner, target, link in ask(_SYNONYMS)},
        becomes=frozenset(client for (client,) in ask(_BECOMES)),
        owned={kind: int(count) for kind, count in ask(_OWNED)},
        unreadable=tuple(sorted(unreadable)),
    )


def clones_of(session: Session, base: str) -> list[str]:
    """The users that may log in through to a user, and whose name says that they are its clones."""
    found = session.ask(f"look for clones of user {base}", _BECOME_IT, name=base)
    return [proxy for (proxy,) in found if proxy.startswith(base)]


def _columns(rows: list[Row]) -> dict[tuple[str, str, bool], frozenset[str]]:
    columns: dict[tuple[str, str, bool], frozenset[str]] = {}
    for privilege, owner, table, column, option in rows:
        key = (privilege, f"{quoted(owner)}.{quoted(table)}", option == _YES)
        columns[key] = columns.get(key, frozenset()) | {column}
    return columns
