"""The database of one RotatedSecret, as its rotation reaches it: where, how protected, and by which admin.

Here stand the guards between what a tenant writes and where the operator connects. Knows no engine's statements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from rotated_secrets.api.spec import TlsMode, TlsSpec
from rotated_secrets.controller.access.policy import AccessPolicy, Home, PolicyDenied, Request
from rotated_secrets.controller.aws.identities import Identity
from rotated_secrets.databases.base import (
    AdminSession,
    AuthenticationFailed,
    DatabaseError,
    Engine,
    KeepsUsersInDatabases,
    NamesHosts,
    PasswordLimits,
    ProvesUsers,
    Refused,
    Server,
    Tls,
    Unavailable,
    Users,
)
from rotated_secrets.databases.disclosure import without_unproven
from rotated_secrets.databases.hosts import HostRules, Lookups, look_up
from rotated_secrets.databases.logins import Logins
from rotated_secrets.observability.metrics import Metrics
from rotated_secrets.secretstores.base import AccessDenied, SecretNotFound, StoreRefused
from rotated_secrets.values import Credential, InvalidSecretValue, Stage

T = TypeVar("T")

SYNONYMS = ({"postgres", "aurora-postgresql"}, {"mysql", "aurora-mysql"}, {"mongo", "docdb"})
"""Names that AWS gives one server: the first in its secret values, the second in its API."""


@dataclass(frozen=True)
class Trust:
    """How connections are protected, as the operator's settings and the resource say."""

    spec: TlsSpec
    tenant_ca: str | None
    """Certificates from the resource, as PEM. They are trusted for the resource's own users, never for the admin."""
    operator_ca: str | None
    """Certificates from the operator's settings, as PEM; None trusts what the system trusts."""
    missing: str | None = None
    """Why the resource's certificates are missing, if they are."""
    is_admin: bool = False
    """The source secret is an admin secret for other resources, so it is protected like one."""

    def for_application(self, credential: Credential) -> Tls:
        """What the resource says, else what the value says, else full verification.

        Raises:
            Unavailable: the certificates that the resource names are missing; no others are trusted instead.
        """
        if self.is_admin:
            return self.for_admin(credential)
        if self.missing is not None:
            raise Unavailable(self.missing)
        return Tls(self.spec.mode or _said_by(credential), self.tenant_ca or self.operator_ca)

    def for_admin(self, admin: Credential) -> Tls:
        """What the admin secret says. The resource can make it stricter, never weaker."""
        wanted = self.spec.mode or TlsMode.DISABLE
        return Tls(max(_said_by(admin), wanted, key=lambda mode: mode.strength), self.operator_ca)


@dataclass(frozen=True)
class AdminSecret:
    """The secret by which users are created and passwords set."""

    request: Request
    home: Home
    identity: Identity
    policy: Callable[[], AccessPolicy]

    def read(self) -> Credential:
        """Read its current value. Now its ARN is known, so the policy is asked once more.

        Raises:
            Refused: it may not be used, or holds no credential.
            StoreUnavailable: it is not known.
        """
        try:
            store = self.identity.stores.at(self.request.lookup_region)
            version = store.get(self.request.secret_id, stage=Stage.CURRENT)
            self.policy().check_returned(self.request, version.arn, self.home)
            endpoint = self.identity.managed.missing_endpoint(version.value, lambda: store.describe(version.arn))
            return Credential.of(version.value, endpoint, arn=version.arn, version_id=version.version_id)
        except (InvalidSecretValue, PolicyDenied, AccessDenied, SecretNotFound, StoreRefused, Refused) as error:
            raise Refused(f"admin secret {self.request.secret_id}: {error}") from None


@dataclass(frozen=True)
class DeniedAdmin:
    """Takes the place of an admin secret that may not be used: a rotation under way stops here."""

    why: str

    def read(self) -> Credential:
        """Raises: Refused."""
        raise Refused(self.why)


class DatabaseAccess:
    """Logins of one run. Each host is resolved once, so that no name can change its address in the middle."""

    def __init__(
        self,
        engine: Engine,
        *,
        application: Credential,
        trust: Trust,
        rules: HostRules,
        read_admin: Callable[[], Credential] | None,
        logins: Logins,
        metrics: Metrics,
        is_copy: Callable[[Credential, Credential], bool] | None = None,
        known_user: str | None = None,
    ) -> None:
        """Logins for ``application``.

        Args:
            engine: that of the value.
            application: AWSCURRENT's credential.
            trust: how connections are protected.
            rules: which hosts may be connected to.
            read_admin: reads the admin secret, at each call; None if the user changes its own password.
            logins: those of this run; ended by :meth:`close`.
            metrics: where logins are counted.
            is_copy: whether the first credential, the application's, is for a read replica or another end point of the
                database that the second is for; None if AWS cannot be asked.
            known_user: a user that has logged in before, so that messages may name it.
        """
        self._engine = engine
        self._application = application
        self._trust = trust
        self._rules = rules
        self._read_admin = read_admin
        self._logins = logins
        self._metrics = metrics
        self._is_copy = is_copy
        self._primary: Credential | None = None
        """The admin's, once it is known that the application logs in at a copy of its database."""
        self._lookups = Lookups(look_up)
        self._known_users = {known_user} if known_user else set()
        """Users that have logged in. Any other username is withheld from messages: it may be a password."""

    def close(self) -> None:
        """End what the run has opened."""
        self._logins.close()

    @property
    def limits(self) -> PasswordLimits:
        return self._engine.passwords

    def verify(self, credential: Credential, users: Users, queries: Sequence[str]) -> list[str]:
        if self._primary is None:
            return self._verify(credential, users, queries)
        failed = self._verify(_at(self._primary, credential), users, queries)
        return failed or self._verify_copy(credential, self._primary, users, queries)

    def _verify(self, credential: Credential, users: Users, queries: Sequence[str]) -> list[str]:
        server = self._server(credential, self._trust.for_application(credential))
        return self._counted(
            "verify", server, credential, lambda: self._logins.verify(server, credential, users, queries), users
        )

    def _verify_copy(
        self, credential: Credential, primary: Credential, users: Users, queries: Sequence[str]
    ) -> list[str]:
        """What works at the primary and not at its copy is on its way there: to be waited for, never to be undone."""
        try:
            failed = self._verify(credential, users, queries)
        except AuthenticationFailed as error:
            failed = [str(error)]
        if failed:
            raise Unavailable(
                f"{credential.host} does not have yet what works at {primary.host}, whose copy it is: "
                f"{'; '.join(failed)}; it is tried again until the replication has caught up"
            )
        return []

    def open_admin(self, own: Credential) -> AdminSession:
        if self._read_admin is None:
            return self._open(own, self._trust.for_application(own))
        admin = self._admin(self._read_admin)
        if self._primary is not None:
            self._prove(own, admin)
        try:
            return self._open_for(own, admin)
        except AuthenticationFailed:
            # The admin secret may be rotated itself, and have been so between our reading and our login.
            again = self._admin(self._read_admin)
            if again.password == admin.password:
                raise
            return self._open_for(own, again)

    def _open_for(self, own: Credential, admin: Credential) -> AdminSession:
        tls = self._trust.for_admin(admin)
        if not isinstance(self._engine, ProvesUsers):
            return self._open(admin, tls)
        proof = _at(admin, own)
        proven_at, server = self._server(proof, self._trust.for_application(own)), self._server(admin, tls)
        return self._counted(
            "admin", server, admin, lambda: self._logins.open_admin_for(server, admin, proven_at, proof)
        )

    def _prove(self, own: Credential, admin: Credential) -> None:
        """Log in at the primary too: a login at a replica proves nothing there, since a replica may lag for days.

        It would go on taking a password that was changed because it had leaked, and who has that password would have
        the admin set another.
        """
        try:
            self._verify(_at(admin, own), Users(own.username), ())
        except AuthenticationFailed as error:
            raise AuthenticationFailed(
                f"{error}; its copy {own.host} takes that password, so either the replication lags behind or the "
                "secret value is old"
            ) from None

    def _admin(self, read: Callable[[], Credential]) -> Credential:
        """The admin's credential, which must be for the database that the application's is for.

        AWS's templates check the same, so that no tenant can use another's admin on a database of its choice.
        """
        application = self._application
        admin = self._in_a_database(read())
        # The port too: what answers another port of the same host may be the tenant's own, and proves nothing.
        if self._place(admin) == self._place(application):
            return admin
        if self._logs_in_at_copy(admin):
            self._primary = admin
            return admin
        # Without the admin's: nothing has logged in with them yet.
        named = ("engine", "host", "port", *(("dbname",) if self._database(application) else ()), "further hosts")
        places = zip(named, self._place(admin), self._place(application), strict=False)
        other = " and ".join(name for name, theirs, ours in places if theirs != ours) or "further hosts"
        raise Refused(
            f"the admin secret is for another {other} than the secret value; engine, host and port of both must be the "
            "same, or the secret value's host a read replica or an end point of the admin's DB instance or cluster, by "
            f"RDS's word{'; dbname of both must be the same, too' if self._database(application) else ''}"
        )

    def _in_a_database(self, admin: Credential) -> Credential:
        """An admin secret that names no database, as RDS's own do not, is for the one that the application is in."""
        if isinstance(self._engine, KeepsUsersInDatabases) and self._database(admin) is None:
            return replace(admin, dbname=self._application.dbname)
        return admin

    def _database(self, credential: Credential) -> str | None:
        return self._engine.users_database(credential) if isinstance(self._engine, KeepsUsersInDatabases) else None

    def _logs_in_at_copy(self, admin: Credential) -> bool:
        one_kind = self._place(admin)[0] == self._place(self._application)[0]
        # Where a value names several hosts, none of them is the one that AWS could be asked about.
        if self._is_copy is None or not one_kind or isinstance(self._engine, NamesHosts):
            return False
        if self._database(admin) != self._database(self._application):
            return False
        admin = self._with_port(admin)
        self._resolved(admin.host, admin.port or 0)  # so that messages may name it
        return self._is_copy(self._with_port(self._application), admin)

    def _with_port(self, credential: Credential) -> Credential:
        return replace(credential, port=credential.port or self._engine.default_port)

    def _place(self, credential: Credential) -> tuple[str, ...]:
        port = credential.port or self._engine.default_port
        further = sorted(f"{host.removesuffix('.')}:{port}" for host, port in self._hosts(credential)[1:])
        ours = self._application.engine
        engine = ours if _are_one_kind(credential.engine, ours) else credential.engine
        database = self._database(credential)
        inside = () if database is None else (f"dbname={database}",)
        return engine, credential.host.removesuffix("."), str(port), *inside, *further

    def _hosts(self, credential: Credential) -> tuple[tuple[str, int], ...]:
        if isinstance(self._engine, NamesHosts):
            return self._engine.hosts(credential)
        return ((credential.host, credential.port or self._engine.default_port),)

    def _open(self, credential: Credential, tls: Tls) -> AdminSession:
        server = self._server(credential, tls)
        return self._counted("admin", server, credential, lambda: self._logins.open_admin(server, credential))

    def _server(self, credential: Credential, tls: Tls) -> Server:
        servers = [Server(host, self._resolved(host, port), port, tls) for host, port in self._hosts(credential)]
        if not servers:
            return Server(credential.host, (), credential.port or self._engine.default_port, tls)
        return replace(servers[0], others=tuple(servers[1:]))

    def _resolved(self, host: str, port: int) -> tuple[str, ...]:
        return self._lookups.resolve(host, port, self._rules)

    def _counted(
        self, purpose: str, server: Server, credential: Credential, login: Callable[[], T], users: Users | None = None
    ) -> T:
        outcome = "ok"
        try:
            result = login()
        except DatabaseError as error:
            outcome = type(error).__name__
            names = {credential.username, *((users.base, users.clone) if users else ())} - {None}
            if names & self._known_users:
                raise
            raise without_unproven(
                error,
                credential,
                shown=(str(server), credential.engine),
                users=(name for name in names if name),
                whose="the admin secret: " if purpose == "admin" and self._read_admin is not None else "",
            ) from None
        else:
            self._known_users.add(credential.username)
            return result
        finally:
            self._metrics.database_connection(engine=self._application.engine, purpose=purpose, outcome=outcome)


def _at(other: Credential, credential: Credential) -> Credential:
    """A credential at another's server."""
    return replace(credential, host=other.host, port=other.port)


def _are_one_kind(one: str, other: str) -> bool:
    return one == other or any({one, other} <= names for names in SYNONYMS)


def _said_by(credential: Credential) -> TlsMode:
    """AWS's templates read ``ssl`` so, but fall back to plaintext where it is missing; we do not."""
    return TlsMode.DISABLE if credential.ssl is False else TlsMode.VERIFY_FULL
