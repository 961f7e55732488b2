"""Runs the actions of the plan: each is one read or one side effect on store, database, status or target Secret.

Knows other packages only by protocols. Decides nothing: the result of a call goes into the next observation.
"""

from __future__ import annotations

from dataclasses import replace

from rotated_secrets.api.rollout import Workload
from rotated_secrets.api.rotation import Rights, Strategy
from rotated_secrets.databases.base import (
    AdminSession,
    AuthenticationFailed,
    ChecksRights,
    DatabaseError,
    NotAdmitted,
    PasswordLimits,
    Refused,
    Unavailable,
    Users,
)
from rotated_secrets.delivery.target import TargetKind
from rotated_secrets.rotation import actions, rollback
from rotated_secrets.rotation.external import not_configured
from rotated_secrets.rotation.observation import AttemptState, Login, Observation, Terms, with_stage_moved
from rotated_secrets.rotation.ports import Database, LookAgain, PasswordSet, Ports
from rotated_secrets.rotation.random_value import value_generator
from rotated_secrets.rotation.rollback import pending_credential
from rotated_secrets.rotation.stage_moves import move_stage
from rotated_secrets.rotation.strategies import credential_to_try, next_user, pending_value, users_of
from rotated_secrets.secretstores.base import (
    SecretDescription,
    SecretNotFound,
    StoredVersion,
    StoreRefused,
    VersionExists,
)
from rotated_secrets.values import Credential, InvalidSecretValue, Stage, VersionId


class Steps:
    """Runs the actions of one run over one secret. Holds the admin session and its lock until it is closed."""

    def __init__(self, terms: Terms, ports: Ports) -> None:
        self._terms = terms
        self._ports = ports
        self._store = ports.store
        self._target = ports.target
        self._session: AdminSession | None = None

    def close(self) -> None:
        """Close the admin session, which releases its lock."""
        session, self._session = self._session, None
        if session is not None:
            session.__exit__(None, None, None)

    def act(self, action: actions.Doing, seen: Observation) -> Observation:
        """Run the action once, and return the next observation.

        Raises:
            LookAgain: see there.
            StoreError, DatabaseError: it failed, and it is unknown whether it had an effect.
        """
        self._ports.guard()
        match action:
            case actions.WriteStatus(status):
                self._ports.status.write(status)
                return seen.with_status(status)
            case actions.NoteStatus(status):
                self._ports.status.note(status)
                return replace(seen, status=status)
            case actions.ReadPending():
                return self._read_pending(seen)
            case actions.ProbeCurrent():
                return self._probe_current(seen)
            case actions.ProbePending():
                return self._probe_pending(seen)
            case actions.ProbeVersion(version_id):
                return self._probe_version(seen, version_id)
            case actions.Lock():
                return self._lock(seen)
            case actions.Refresh():
                return self._refresh(seen)
            case actions.CreatePending(version_id):
                return self._create(seen, version_id)
            case actions.SetPending():
                return self._set(seen)
            case actions.TestPending():
                return self._test(seen)
            case actions.FinishPending(version_id):
                return self._finish(seen, version_id)
            case actions.ClearPending():
                return rollback.drop_pending(seen, seen.current_id, self._terms, self._store)
            case actions.RequestRotation(version_id):
                return self._request_rotation(seen, version_id)
            case actions.SyncTarget():
                return self._sync(seen)
            case actions.RestartWorkload(workload, version_id):
                return self._restart(seen, workload, version_id)
            case actions.Restore():
                return rollback.restore(seen, self._terms, self._store, self._reached, self._admin)
            case actions.Retire():
                return rollback.retire(seen, self._terms, self._admin)
            case actions.TakeBack(version_id):
                return rollback.take_back(seen, version_id, self._terms, self._store)
            case actions.Abandon(version_id):
                dropped = rollback.drop_pending(seen, version_id, self._terms, self._store)
                return replace(dropped, used_ids=seen.used_ids | {version_id})

    # ---- reads

    def _read_pending(self, seen: Observation) -> Observation:
        try:
            pending = self._store.get(self._terms.arn, stage=Stage.PENDING, version_id=seen.pending_id)
        except (SecretNotFound, StoreRefused) as error:
            if isinstance(error, StoreRefused) and self._store.describe(self._terms.arn).stages == seen.stages:
                raise
            raise LookAgain(f"AWSPENDING was moved meanwhile: {error}") from error
        return seen.with_pending(pending, self._terms)

    def _probe_current(self, seen: Observation) -> Observation:
        current, queries = seen.current_credential, self._terms.rotation.verify_queries
        users = self._users(current)
        if current.username != users.clone:
            users = Users(current.username)  # a clone that lost rights is no concern of its base user's login
        missing: list[str] = []
        try:
            failed = self._reached.verify(current, users, queries)
            if failed and users.clone is not None:
                missing = self._reached.verify(current, users, ()) if queries else failed
        except AuthenticationFailed as error:
            return replace(seen, login=Login.REJECTED, login_message=str(error))
        except Unavailable as error:
            return replace(seen, login=Login.UNREACHABLE, login_message=str(error))
        return replace(seen, login=Login.WORKS, failed_checks=tuple(failed), missing_rights=tuple(missing))

    def _probe_pending(self, seen: Observation) -> Observation:
        pending = pending_credential(seen)
        try:
            failed = self._reached.verify(pending, self._users(pending), ())
        except AuthenticationFailed:
            failed = ["it does not log in"]
        return seen.in_attempt(pending_login=Login.REJECTED if failed else Login.WORKS)

    def _probe_version(self, seen: Observation, version_id: VersionId) -> Observation:
        return replace(seen, other_logins={**seen.other_logins, version_id: self._try_version(seen, version_id)})

    def _try_version(self, seen: Observation, version_id: VersionId) -> Login:
        try:
            other = credential_to_try(self._terms, seen, self._store.get(self._terms.arn, version_id=version_id))
        except (SecretNotFound, StoreRefused, InvalidSecretValue):
            return Login.UNTRIED  # it has no value yet, or none that could be a credential
        if other is None:
            return Login.UNTRIED
        try:
            self._reached.verify(other, Users(other.username), ())
        except AuthenticationFailed:
            return Login.REJECTED
        return Login.WORKS

    def _lock(self, seen: Observation) -> Observation:
        current = seen.current_credential
        users = self._users(current)
        own = current if seen.login is Login.WORKS or seen.pending is None else pending_credential(seen)
        try:
            self._session = self._reached.open_admin(own)
            if not self._session.try_lock(users.base):
                raise LookAgain(
                    f"the lock of user {users.base} is taken by another operator, or by a session that must not have it"
                )
            to_clone = next_user(self._terms.rotation, current) == users.clone
            if to_clone and self._terms.rotation.rights is Rights.ENFORCE and isinstance(self._session, ChecksRights):
                self._session.check_rights(users)
            else:
                self._session.check_users(users)
        except (AuthenticationFailed, Refused) as error:
            self.close()
            return replace(seen, refusal=str(error))
        return replace(seen, locked=True)

    def _refresh(self, seen: Observation) -> Observation:
        stages = self._store.describe(self._terms.arn).stages
        if stages != seen.stages:
            raise LookAgain("the secret's stages were moved before the lock was taken")
        return replace(seen, fresh=True)

    # ---- the four steps

    def _create(self, seen: Observation, version_id: VersionId) -> Observation:
        value = pending_value(self._terms, seen, value_generator(self._terms.rotation, self._limits))
        try:
            self._store.put_pending(self._terms.arn, version_id, value)
        except VersionExists:
            return self._version_exists(seen, version_id)
        stages = with_stage_moved(seen.stages, Stage.PENDING, to=version_id)
        pending = StoredVersion(version_id, value, self._ports.now(), self._terms.arn)
        # The stages are fresh: had AWSCURRENT been replaced, this version id would exist already.
        return replace(seen.with_pending(pending, self._terms), stages=stages, fresh=True)

    def _version_exists(self, seen: Observation, version_id: VersionId) -> Observation:
        """Continue with a version that another operator or attempt created, if it is pending; else use the next id."""
        stages = self._store.describe(self._terms.arn).stages
        if Stage.CURRENT not in stages.get(seen.current_id, frozenset()):
            raise LookAgain("AWSCURRENT was moved meanwhile")
        if Stage.PENDING in stages.get(version_id, frozenset()):
            return replace(seen, stages=stages, fresh=seen.locked)
        return replace(seen, stages=stages, used_ids=seen.used_ids | {version_id})

    def _set(self, seen: Observation) -> Observation:
        pending = pending_credential(seen)
        try:
            rights = self._admin.set_password(
                self._users(pending), pending, self._terms.rotation.rights, self._kept(seen)
            )
            sessions = self._admin.sessions_of(pending.username)
        except Refused as error:
            return seen.in_attempt(failure=str(error))
        count = None if sessions is None else sum(connections.count for connections in sessions)
        self._ports.reports.set_password(PasswordSet(pending.username, rights, count))
        return seen.in_attempt(password_set=True)

    def _test(self, seen: Observation) -> Observation:
        pending = pending_credential(seen)
        try:
            failed = self._reached.verify(pending, self._users(pending), self._terms.rotation.verify_queries)
        except (AuthenticationFailed, Refused) as error:
            return seen.in_attempt(failure=str(error))
        except NotAdmitted as error:
            if pending.username == seen.current_credential.username:
                raise
            # AWSCURRENT's user was admitted in this run, so nothing but the other user's name can be the reason.
            return seen.in_attempt(failure=str(error))
        if failed:
            whose = f"user {pending.username}: " if pending.username else ""
            return seen.in_attempt(failure=f"{whose}{'; '.join(failed)}")
        return seen.in_attempt(tested=True)

    def _finish(self, seen: Observation, version_id: VersionId) -> Observation:
        if self._session is not None and not self._session.try_lock(self._users(seen.current_credential).base):
            raise LookAgain("the lock was lost")  # this session holds the lock, so a refusal means that it was lost
        move_stage(self._store, self._terms.arn, Stage.CURRENT, to=version_id, remove_from=seen.current_id)
        self.close()
        current = seen.pending or seen.current
        return replace(
            seen,
            stages=with_stage_moved(seen.stages, Stage.CURRENT, to=version_id, remove_from=seen.current_id),
            current=current,
            credential=seen.pending_credential if seen.pending else seen.credential,
            pending=None,
            pending_credential=None,
            target=self._target.look(current) if self._target else None,
            login=Login.WORKS if seen.attempt.tested else Login.UNTRIED,
            missing_rights=(),
            locked=False,
            fresh=False,
            attempt=AttemptState(),
            restarts={},
        )

    def _sync(self, seen: Observation) -> Observation:
        if self._target is None:
            return replace(seen, target=None)
        if seen.target is not None and seen.target.kind is TargetKind.ABSENT:
            # An update of a Secret that was changed or made again is refused. Its creation is not: if another operator
            # made it, rotated, and someone deleted it since the look, an old credential would be delivered.
            stages = self._store.describe(self._terms.arn).stages
            if Stage.CURRENT not in stages.get(seen.current_id, frozenset()):
                raise LookAgain("AWSCURRENT was moved before the target Secret was created")
        return replace(seen, target=self._target.write(seen.current))

    def _restart(self, seen: Observation, workload: Workload, version_id: VersionId) -> Observation:
        if self._ports.workloads is None:
            raise LookAgain("this run cannot restart workloads")
        return replace(seen, restarts={**seen.restarts, workload: self._ports.workloads.restart(workload, version_id)})

    # ---- rotation by AWS

    def _request_rotation(self, seen: Observation, version_id: VersionId) -> Observation:
        arn = self._terms.arn
        found = self._described(seen)
        if not found.rotation_enabled:
            # RotateSecret would turn on a rotation that a person has turned off.
            return replace(seen, refusal=not_configured(arn))
        try:
            self._store.rotate(arn, version_id)
        except StoreRefused as error:
            # Described again: the SDK repeats a request whose answer was lost, and AWS refuses the second.
            found = self._described(seen)
            if found.version_at(Stage.PENDING) in (None, seen.current_id):
                return replace(seen, refusal=str(error))
            # A rotation is running, or is stuck and AWS resumes it when asked: this serves the request too.
        return replace(seen, stages=found.stages, asked=True)

    def _described(self, seen: Observation) -> SecretDescription:
        """Describe the secret again. Raises: LookAgain, where AWSCURRENT was moved."""
        found = self._store.describe(self._terms.arn)
        if Stage.CURRENT not in found.stages.get(seen.current_id, frozenset()):
            raise LookAgain("AWSCURRENT was moved meanwhile")
        return found

    # ---- users and ports

    def _users(self, credential: Credential) -> Users:
        return users_of(self._terms.rotation, credential.username)

    @property
    def _reached(self) -> Database:
        if self._ports.database is None:
            raise DatabaseError("this strategy uses no database")
        return self._ports.database

    @property
    def _admin(self) -> AdminSession:
        if self._session is None:
            raise LookAgain("the admin session is closed")
        return self._session

    def _kept(self, seen: Observation) -> Credential | None:
        """The credential that must still log in beside the pending one of the same user."""
        dual = self._terms.rotation.strategy is Strategy.DUAL_PASSWORD
        return seen.current_credential if dual else None

    @property
    def _limits(self) -> PasswordLimits:
        return self._ports.database.limits if self._ports.database is not None else PasswordLimits()
