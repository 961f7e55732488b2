"""What the demo tells of a strategy: what each step did, what a rotation leaves to see, what must be so at the end.

All is looked at from outside, in the database and in the store.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from sandbox.application import Application, account_in
from sandbox.applications.base import Account, LoginFailed
from sandbox.pod import Pod

Row = tuple[str | Text, ...]


@dataclass(frozen=True)
class Story:
    """One strategy's part of the demo."""

    rotation: Mapping[str, Any]
    """Its fields of ``spec.rotation``."""
    steps: Mapping[str, str]
    """What each of AWS's four steps did."""
    well: str
    """What is so at the end, where nothing is wrong."""
    columns: tuple[str, ...]
    rows: Callable[[Application, Pod], Iterable[Row]]
    """The database after a rotation, as a table."""
    wrong: Callable[[Application], Iterator[str]]
    """What is not as it should be after the last rotation, as sentences."""
    retire_seconds: int | None = None
    """How long an old password lives on; None where none retires."""


# ---- two users take turns


def _users(application: Application, pod: Pod) -> Iterator[Row]:
    active, logins = application.account().user, pod.logins_by_user
    yield application.admin, "", "", Text("admin", "dim")
    for user in sorted(application.users()):
        if user == application.user:
            rights = "its own"
        else:
            rights = f"{'as' if _alike(application) else 'other than'} {application.user}"
        what = Text("active", "bold green") if user == active else Text("passive")
        yield user, rights, str(logins[user]), what


def _wrong_users(application: Application) -> Iterator[str]:
    wanted = {application.user, application.clone}
    users = {stage: application.account(stage).user for stage in application.stages()}
    if set(users.values()) != wanted:
        yield f"the users of the versions are {users}"
    if application.users() != wanted:
        yield f"the users are {sorted(application.users())} instead of {sorted(wanted)}"
    elif not _alike(application):
        yield f"{application.clone} has other rights than {application.user}"


def _alike(application: Application) -> bool:
    side, database = application.stack.side, application.database
    base, clone = (side.rights(Account(user, "", database)) for user in (application.user, application.clone))
    return base == clone


ALTERNATING_USERS = Story(
    rotation={"strategy": "AlternatingUsers"},
    steps={
        "createSecret": "a new version carries AWSPENDING: the other user, a new password",
        "setSecret": "the admin gave that user the password and the rights",
        "testSecret": "that user logged in",
        "finishSecret": "AWSCURRENT moved to the new version",
    },
    well="two users and no third, every version staged as AWS would have it, no AWSPENDING left",
    columns=("database user", "rights", "client's logins", ""),
    rows=_users,
    wrong=_wrong_users,
)


# ---- one user has two passwords


def _passwords(application: Application, pod: Pod) -> Iterator[Row]:
    for version, stages, account in _versions(application):
        if _logs_in(application, account):
            works = Text("logs in", "bold green" if "AWSCURRENT" in stages else "")
        else:
            works = Text("retired", "dim")
        yield version, ", ".join(stages), str(pod.logins_by_account[account]), works


def _wrong_passwords(application: Application) -> Iterator[str]:
    if application.users() != {application.user}:
        yield f"the users are {sorted(application.users())} instead of {application.user} alone"
    for version, stages, account in _versions(application):
        if account.user != application.user:
            yield f"version {version} is of user {account.user}"
        if "AWSCURRENT" in stages and not _logs_in(application, account):
            yield "AWSCURRENT does not log in"
        if not stages and _logs_in(application, account):
            yield f"the password of version {version} still logs in"


def _versions(application: Application) -> Iterator[tuple[str, list[str], Account]]:
    """Every version there ever was, the oldest first, with its stages."""
    client = application.store.client()
    listed = client.list_secret_version_ids(SecretId=application.secret_id, IncludeDeprecated=True)["Versions"]
    for each in sorted(listed, key=lambda version: version["CreatedDate"]):
        found = client.get_secret_value(SecretId=application.secret_id, VersionId=each["VersionId"])
        yield each["VersionId"], sorted(each.get("VersionStages", ())), account_in(json.loads(found["SecretString"]))


def _logs_in(application: Application, account: Account) -> bool:
    try:
        application.stack.side.log_in(account)
    except LoginFailed:
        return False
    return True


_RETIRE_SECONDS = 20
DUAL_PASSWORD = Story(
    rotation={"strategy": "DualPassword", "retireAfter": f"{_RETIRE_SECONDS}s"},
    steps={
        "createSecret": "a new version carries AWSPENDING: the same user, a new password",
        "setSecret": "the admin gave the user that password, beside the present one",
        "testSecret": "the user logged in with it",
        "finishSecret": "AWSCURRENT moved to the new version",
    },
    well="one user and no second, no password but the last two logs in, no AWSPENDING left",
    columns=("password of version", "stage", "client's logins", ""),
    rows=_passwords,
    wrong=_wrong_passwords,
    retire_seconds=_RETIRE_SECONDS,
)
