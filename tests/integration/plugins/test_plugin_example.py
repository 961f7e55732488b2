"""The example package of docs/plugins.md is built, installed, found by its engine's name, and rotates a credential."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "plugin"

PROGRAM = """
import dataclasses
import os
from rotated_secrets.api.rotation import Rights, Strategy
from rotated_secrets.controller.look.database_access import DatabaseAccess, Trust
from rotated_secrets.api.spec import TlsSpec
from rotated_secrets.databases.base import AuthenticationFailed, Refused, Users
from rotated_secrets.databases.hosts import HostRules
from rotated_secrets.databases.logins import CellLogins
from rotated_secrets.databases.registry import engine_modules, engine_named
from rotated_secrets.cells import Cells, CellSettings
from rotated_secrets.observability.metrics import Metrics
from rotated_secrets.rotation.password import check_policy, make_password
from rotated_secrets.api.rotation import PasswordPolicy
from rotated_secrets.values import Credential, SecretText, SecretValue

VALUE = '{"engine": "sqlite-users", "host": "192.0.2.7", "username": "orders", "password": "first"}'
current = Credential.of(SecretValue.parse(VALUE))
engine = engine_named(current.engine)
assert engine.strategies == {Strategy.SINGLE_USER}
cells = Cells(
    CellSettings(
        modules=engine_modules(),
        variables=("SQLITE_USERS",),
        paths=(os.path.dirname(os.environ.get("SQLITE_USERS", "/nowhere/file")),),
    )
)


def access():
    return DatabaseAccess(
        engine,
        application=current,
        trust=Trust(TlsSpec(), None, None),
        rules=HostRules(),
        read_admin=None,
        logins=CellLogins(cells, engine, current.engine, "shop"),
        metrics=Metrics(),
    )


database = access()
users = Users(current.username)


def works(credential):
    try:
        return database.verify(credential, users, ()) == []
    except AuthenticationFailed as error:
        print(error)
        return False


pending = dataclasses.replace(current, password=make_password(PasswordPolicy(), database.limits))
assert works(current) and not works(pending)
with database.open_admin(current) as session, access().open_admin(current) as rival:
    assert session.try_lock(users.base) and session.try_lock(users.base), "asked again by who holds it"
    assert not rival.try_lock(users.base), "one at a time"
    session.check_users(users)
    for _ in range(2):  # a crash may have come right after it
        session.set_password(users, pending, Rights.ENFORCE)
    assert session.sessions_of("orders") is None
    assert works(pending) and not works(current)
    session.set_password(users, current, Rights.ENFORCE)
    assert works(current) and not works(pending), "and back"
    session.disable_login("orders")
    assert not works(current)
    session.set_password(users, pending, Rights.ENFORCE)
    assert works(pending)
    try:
        session.check_users(Users("nobody"))
    except Refused as error:
        print(error)
with database.open_admin(pending) as session:
    assert session.try_lock(users.base), "the lock ends with its session"
assert database.verify(pending, users, ["SELECT 1"]) == ["query 1 cannot be run here"]
print("rotated")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pip makes of a copy of the example, in a folder of its own."""
    directory = tmp_path_factory.mktemp("plugin")
    source, target = directory / "source", directory / "site"
    shutil.copytree(EXAMPLE, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--no-compile"]
    subprocess.run([*pip, *offline, "--target", target, source], check=True)
    return target


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """The application's file of users."""
    file = tmp_path / "users.db"
    salt = b"0" * 16
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE users (name TEXT PRIMARY KEY, salt BLOB NOT NULL, hash BLOB NOT NULL)")
        found = hashlib.scrypt(b"first", salt=salt, n=2**14, r=8, p=1)
        database.execute("INSERT INTO users VALUES ('orders', ?, ?)", (salt, found))
    database.close()
    return file


def run(program: str, installed: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([*(each for each in sys.path if each), str(installed)])
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": path, **variables}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)


def test_the_example_rotates_a_credential(installed: Path, users: Path) -> None:
    ran = run(PROGRAM, installed, SQLITE_USERS=str(users))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.endswith("rotated\n")
    assert "there is no user nobody in the file; create it first" in ran.stdout
    stored = users.read_bytes()
    assert b"first" not in stored


def test_what_the_example_is_not_set_up_for_is_told_with_its_name(installed: Path, tmp_path: Path) -> None:
    program = PROGRAM.replace("assert works(current) and", "works(current); assert")
    ran = run(program, installed)
    told = "Unavailable: engine sqlite-users of package rotated-secrets-sqlite-users 0.1.0 failed to verify: KeyError"
    assert told in ran.stderr
    ran = run(program, installed, SQLITE_USERS=str(tmp_path / "nowhere.db"))
    assert "Unavailable: the file of users cannot be used now" in ran.stderr
    assert not (tmp_path / "nowhere.db").exists()
