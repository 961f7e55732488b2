"""Finds out by logins which version of a secret has its user's password, before a person is advised to move a stage.

Pure. The rotator that made the version does not matter: this operator, a Lambda, or a person.
"""

from __future__ import annotations

from collections.abc import Iterator

from rotated_secrets.api.status import Claim, HistoryEntry, Outcome, Step
from rotated_secrets.rotation.actions import Action, ProbeCurrent, ProbeVersion
from rotated_secrets.rotation.observation import Login, Observation, Terms, version_at
from rotated_secrets.values import Stage, VersionId


def find_working(seen: Observation, terms: Terms) -> Action | None:
    """Try AWSCURRENT, and where it is rejected the other versions until one logs in; None once this is known."""
    if not terms.has_database:
        return None
    if seen.login is Login.UNTRIED:
        return ProbeCurrent()
    if seen.login is not Login.REJECTED or _working(seen) is not None:
        return None
    return next((ProbeVersion(version) for version in _candidates(seen) if version not in seen.other_logins), None)


def _candidates(seen: Observation) -> Iterator[VersionId]:
    """The versions other than AWSCURRENT whose password the database may have, the likeliest first."""
    tried: list[Claim | HistoryEntry] = [seen.claim] if seen.claim is not None else []
    tried += [entry for entry in seen.status.history[:1] if entry.outcome is Outcome.ABANDONED]
    set_perhaps = [attempt.version_id for attempt in tried if attempt.step is not Step.CREATE]
    for version in (seen.pending_id, *set_perhaps, version_at(seen.stages, Stage.PREVIOUS)):
        if version not in (None, seen.current_id):
            yield version


def _working(seen: Observation) -> VersionId | None:
    return next((version for version, login in seen.other_logins.items() if login is Login.WORKS), None)


def advice(seen: Observation, terms: Terms) -> str:
    """Return what a person has to do while AWSCURRENT is rejected: a stage is moved only to a version that logs in."""
    if seen.attempt.pending_login is Login.WORKS:
        return f"version {seen.pending_id}, which carries AWSPENDING, logs in: this operator finishes its rotation"
    version = _working(seen)
    if version is not None:
        run = f"run {_move_current(seen, terms, version)}"
        if version == seen.pending_id:
            return f"version {version}, which carries AWSPENDING, logs in: if its rotation does not finish, {run}"
        return f"version {version} logs in: {run}"
    rejected = [version for version, login in seen.other_logins.items() if login is Login.REJECTED]
    neither = f"nor does version {' or '.join(rejected)}: " if rejected else ""
    return f"{neither}put the user's real password into the secret"


def advice_about_pending(seen: Observation, terms: Terms, pending: VersionId) -> str:
    """Return what a person has to do about a version that another rotator made and that carries AWSPENDING."""
    finish = "let its rotation finish"
    if not terms.has_database:
        return (
            f"{finish}; if it has stopped, try both values where they are used: if AWSCURRENT's works, run "
            f"{_remove_pending(terms, pending)}, else run {_move_current(seen, terms, pending)}"
        )
    match seen.login:
        case Login.WORKS:
            return f"{finish}; if it has stopped, run {_remove_pending(terms, pending)}: AWSCURRENT logs in"
        case Login.REJECTED:
            return f"AWSCURRENT does not log in ({seen.login_message}); {advice(seen, terms)}"
    return f"{finish}; it is not known yet which version logs in: {seen.login_message}"


def _move_current(seen: Observation, terms: Terms, to: VersionId) -> str:
    return _moving(terms, Stage.CURRENT, f"--move-to-version-id {to} --remove-from-version-id {seen.current_id}")


def _remove_pending(terms: Terms, version: VersionId) -> str:
    return _moving(terms, Stage.PENDING, f"--remove-from-version-id {version}")


def _moving(terms: Terms, stage: Stage, versions: str) -> str:
    return (
        f"aws secretsmanager update-secret-version-stage --secret-id {terms.arn} "
        f"--version-stage {stage.value} {versions}"
    )
