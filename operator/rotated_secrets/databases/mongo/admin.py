"""The session of a MongoDB user that sets passwords and roles.

A user belongs to one database, its authentication database: two of the same name in two databases are different users.
The credential says which one is meant; if there is only a name, it is the one that exists. Never drops a user.
Knows nothing of the order of a rotation's steps.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pymongo.errors import PyMongoError

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import DatabaseError, Refused, RightsReport, Server, SessionCount, Users
from rotated_secrets.databases.base_classes import BaseAdminSession
from rotated_secrets.databases.guards import (
    check_is_base_or_clone,
    check_is_no_clone,
    check_is_only_clone,
    check_keeps_nothing,
    check_names,
    not_provably_the_clone,
)
from rotated_secrets.databases.mongo.directory import Directory
from rotated_secrets.databases.mongo.errors import failed_command
from rotated_secrets.databases.mongo.lease import MAJORITY, Lease
from rotated_secrets.databases.mongo.login import Document, Login
from rotated_secrets.databases.mongo.users import (
    MARK,
    Account,
    Difference,
    Part,
    differences,
    grant_role,
    missing_privilege,
    not_the_clone,
    shell,
    unusable_name,
)
from rotated_secrets.values import Credential

_ROLES_ONLY = frozenset({Part.LACKS_ROLE, Part.HAS_ROLE})


@dataclass(frozen=True)
class Seen:
    """Both users as they are."""

    base: Account
    clone: Account | None

    def differences(self) -> tuple[Difference, ...]:
        return tuple(differences(self.base, self.clone)) if self.clone else ()


class MongoAdminSession(BaseAdminSession):
    """An open connection of the admin, or of a user that changes itself."""

    def __init__(
        self,
        login: Login,
        server: Server,
        user: str,
        source: str,
        *,
        lease_seconds: float,
        source_of: Callable[[Credential], str],
        wrote: Callable[[Server, str], None],
        proven_in: str | None = None,
    ) -> None:
        """``user`` of database ``source`` is logged in. ``source_of`` returns the database of another credential's
        user; ``wrote`` is called with each user whose password was set. ``proven_in`` is the database of the only users
        that may be changed, if that is known.
        """
        self._login = login
        self._server = server
        self._user = user
        self._source = source
        self._source_of = source_of
        self._wrote = wrote
        self._proven_in = proven_in
        self._lease = Lease(login, server, user, source, lease_seconds)
        self._directory = Directory(login, server, user, source)
        self._databases: list[str] = []
        self._proven: set[tuple[str, str]] = set()
        """Users, by name and database, that were seen to be the base user or its clone."""

    def close(self) -> None:
        self._lease.release()
        self._login.close()

    def try_lock(self, base_user: str) -> bool:
        return self._lease.take(base_user)

    def check_users(self, users: Users) -> None:
        check_names(users, unusable_name)
        if self._proven_in is not None:
            self._databases = [self._examined(users, self._proven_in).base.database]
            return
        self._databases = self._directory.databases_of(users.base)
        refusals = []
        # If there are several, the credential says which is meant, and that one is checked again before it is changed.
        for database in self._databases:
            try:
                self._examined(users, database)
            except Refused as error:
                refusals.append(error)
        if not self._databases:
            raise Refused(
                f"user {users.base} does not exist at {self._server}, or not in a database that {self._user} may read; "
                f"create it, correct the secret value, or run: "
                f"{grant_role(self._source, self._user, 'userAdminAnyDatabase', 'admin')}"
            )
        if len(refusals) == len(self._databases):
            raise refusals[0]

    def set_password(
        self, users: Users, credential: Credential, rights: Rights, keep: Credential | None = None
    ) -> RightsReport:
        user, database = credential.username, self._source_of(credential)
        check_keeps_nothing("MongoDB", user, keep)
        check_is_base_or_clone(users, user)
        if self._proven_in not in (None, database):
            raise Refused(
                f"user {user} of database {database} at {self._server} is not the one that AWSCURRENT logs in as, "
                f"which is of database {self._proven_in}"
            )
        self._lease.assert_held()
        self._databases = [database]
        seen = self._examined(users, database)
        self._databases = [database] = [seen.base.database]
        before = seen.differences()
        failures: dict[str, str] = {}
        enforced = rights is Rights.ENFORCE
        if user == users.base:
            self._update(seen.base, self._password(credential, seen.base))
            if enforced and seen.clone:
                self._repair(seen.base, seen.clone, before, failures, with_password=None)
        elif seen.clone is None:
            self._create(seen.base, credential)
        else:
            self._repair(seen.base, seen.clone, before if enforced else (), None, with_password=credential)
        created = user == users.clone and seen.clone is None
        if rights is Rights.IGNORE and not created:
            return RightsReport()
        left = [each.sentence for each in self._examined(users, database).differences()]
        return RightsReport(
            # What a new clone was created with is not a repair.
            tuple(each.sentence for each in before if enforced and each.sentence not in left),
            tuple(f"{sentence} ({failures[sentence]})" if sentence in failures else sentence for sentence in left),
        )

    def disable_login(self, user: str) -> None:
        """Set a random password that is not kept: MongoDB has no other way to lock a user out and keep all it has."""
        database = self._database_of(user)
        found = self._directory.accounts([user], database).get(user)
        if found is None:
            return  # setSecret failed before it was made
        if (user, database) not in self._proven:
            raise Refused(
                f"user {user} of database {database} at {self._server} is not locked out: it is not provably one that "
                f"this session may change"
            )
        self._lease.assert_held()
        self._update(found, {"pwd": secrets.token_urlsafe(48), **self._mechanisms(found)})

    def sessions_of(self, user: str) -> tuple[SessionCount, ...] | None:
        try:
            return self._directory.sessions(user, self._database_of(user))
        except Refused:
            return None

    def _database_of(self, user: str) -> str:
        """Return the database of the last credential, else the only one that was found."""
        if len(self._databases) != 1:
            raise Refused(
                f"it is not known which user {user} at {self._server} is meant: {self._user} sees its base user in "
                f"{len(self._databases)} databases"
            )
        return self._databases[0]

    def _examined(self, users: Users, database: str) -> Seen:
        """Return both users as they are, once it is certain that they may be changed."""
        names = [name for name in (users.base, users.clone) if name is not None]
        found = self._directory.accounts(names, database)
        if not found and (self._directory.roles_only or self._directory.privileges is None):
            database = "admin"  # where all of its users are, whatever database they log in by
            found = self._directory.accounts(names, database)
        base, clone = found.get(users.base), found.get(users.clone or "")
        if base is None:
            raise Refused(
                f"user {users.base} of database {database} does not exist at {self._server}; create it, or correct "
                f"username, authSource or dbname in the secret value"
            )
        if self._directory.privileges is not None:
            lacking = missing_privilege(
                self._directory.privileges,
                admin=self._user,
                source=self._source,
                itself=(self._user, self._source) == (base.name, base.database) and users.clone is None,
                base=base,
                clone=clone,
                clones=users.clone is not None,
            )
            if lacking:
                raise Refused(f"the admin may not change user {users.base} at {self._server}: {lacking}")
        place = f"of database {database} at {self._server}"
        if users.clone is not None:
            check_is_no_clone(base.name, base.clone_of, place)
        why = not_the_clone(base, clone) if clone else None
        if why:
            raise not_provably_the_clone(users.clone, users.base, place, why)
        if users.clone is not None and clone is None:
            check_is_only_clone(base.name, self._directory.clones_of(base.name, database), place)
        self._proven |= {(each.name, each.database) for each in (base, clone) if each is not None}
        return Seen(base, clone)

    # ---- changes

    def _create(self, base: Account, credential: Credential) -> None:
        command: Document = {
            "createUser": credential.username,
            **self._password(credential, base),
            "roles": [role.document() for role in sorted(base.roles)],
        }
        if not self._directory.roles_only:
            command["customData"] = {**base.custom, MARK: base.name}
            command["authenticationRestrictions"] = base.restriction_documents()
        self._lease.assert_fresh()
        self._write(base.database, command, f"create user {credential.username}")
        self._proven.add((credential.username, base.database))
        self._wrote(self._server, credential.username)

    def _repair(
        self,
        base: Account,
        clone: Account,
        found: Sequence[Difference],
        failures: dict[str, str] | None,
        *,
        with_password: Credential | None,
    ) -> None:
        """Make the clone equal to its base user, and set its password if one is given.

        ``failures`` collects why something could not be done; if it is None, the error is raised before the password is
        set: a rotation to a user that lacks a right is worse than no rotation.
        """
        for command, sentences, doing in self._steps(base, clone, found, with_password):
            try:
                if command.get("pwd") is not None:
                    self._lease.assert_fresh()
                self._write(clone.database, command, doing)
            except DatabaseError as error:
                if failures is None or not isinstance(error, Refused):
                    raise
                failures.update(dict.fromkeys(sentences, str(error)))
        if with_password is not None:
            self._wrote(self._server, clone.name)

    def _steps(
        self, base: Account, clone: Account, found: Sequence[Difference], with_password: Credential | None
    ) -> list[tuple[Document, list[str], str]]:
        """Return the commands in order: first roles, by database, because an admin may lack the right for one."""
        steps: list[tuple[Document, list[str], str]] = []
        for part, name in ((Part.LACKS_ROLE, "grantRolesToUser"), (Part.HAS_ROLE, "revokeRolesFromUser")):
            for database in sorted({each.role.database for each in found if each.part is part and each.role}):
                those = [each for each in found if each.part is part and each.role and each.role.database == database]
                command: Document = {name: clone.name, "roles": [each.role.document() for each in those if each.role]}
                given = "grant" if part is Part.LACKS_ROLE else "revoke"
                doing = f"{given} roles of database {database} {'to' if given == 'grant' else 'from'} {clone.name}"
                steps.append((command, [each.sentence for each in those], doing))
        parts = {each.part: each.sentence for each in found if each.part not in _ROLES_ONLY}
        changes: Document = {}
        if with_password is not None:
            changes |= self._password(with_password, base if Part.MECHANISMS in parts else clone)
        if not self._directory.roles_only:
            if Part.RESTRICTIONS in parts:
                changes["authenticationRestrictions"] = base.restriction_documents()
            custom = base.custom if Part.CUSTOM in parts else clone.custom
            if Part.CUSTOM in parts or clone.clone_of is None:
                changes["customData"] = {**custom, MARK: base.name}
        if changes:
            doing = f"set the password of user {clone.name}" if with_password else f"make {clone.name} as {base.name}"
            steps.append(({"updateUser": clone.name, **changes}, list(parts.values()), doing))
        return steps

    def _update(self, account: Account, changes: Document) -> None:
        self._lease.assert_fresh()
        self._write(
            account.database, {"updateUser": account.name, **changes}, f"set the password of user {account.name}"
        )
        self._wrote(self._server, account.name)

    def _password(self, credential: Credential, like: Account) -> Document:
        return {"pwd": credential.password.reveal(), **self._mechanisms(like)}

    def _mechanisms(self, account: Account) -> Document:
        if self._directory.roles_only or not account.mechanisms:
            return {}
        return {"mechanisms": sorted(account.mechanisms)}  # if left out, they would become all mechanisms of the server

    def _write(self, database: str, command: Document, doing: str) -> None:
        sent = command if self._directory.roles_only else {**command, "writeConcern": MAJORITY}
        try:
            self._login.command(database, sent)
        except PyMongoError as error:
            method, *_ = command
            by_hand = shell(database, method, *command.values()) if "roles" in command and "pwd" not in command else ""
            raise failed_command(error, self._server, doing, by_hand) from None
