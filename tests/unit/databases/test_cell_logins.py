"""Logins in cells: the same engine elsewhere, with its errors, and what ends a cell is a database that is not there."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.cells import CellLimits, Cells, CellSettings
from rotated_secrets.cells.landlock import abi
from rotated_secrets.databases import logins as module
from rotated_secrets.databases.base import (
    AuthenticationFailed,
    ChecksRights,
    NotAdmitted,
    Refused,
    Server,
    SessionCount,
    Tls,
    Unavailable,
    Users,
)
from rotated_secrets.databases.logins import CellLogins
from rotated_secrets.databases.webhook import Purpose, Receiver, SigningKey, WebhookEngine
from rotated_secrets.values import Credential, SecretText
from tests.support.toy_engine import CloudEngine, ToyEngine, UncopiedEngine

SERVER = Server("db.example", ("192.0.2.7",), 5432, Tls())
USERS = Users("app", "app_clone")


def user(name: str = "app", password: str = "seven77") -> Credential:
    return Credential("toy", "db.example", name, SecretText(password))


@pytest.fixture(scope="module")
def cells() -> Iterator[Cells]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
        limits = CellLimits(cpu_seconds=1)
        made = Cells(CellSettings(limits=limits, modules=("tests.support.toy_engine", module.__name__)))
        made.start()
    yield made
    made.close()


@pytest.fixture
def logins(cells: Cells) -> Iterator[Callable[..., CellLogins]]:
    made: list[CellLogins] = []

    def make(engine: Any = None, name: str = "toy") -> CellLogins:
        made.append(CellLogins(cells, engine or ToyEngine(), name, "shop"))
        return made[-1]

    yield make
    for each in made:
        each.close()
    assert cells.running == 0


MakeLogins = Callable[..., CellLogins]


def test_a_login_happens_in_another_process_with_this_credential(logins: MakeLogins) -> None:
    pid, password, queries, _ = logins().verify(SERVER, user(), USERS, ("SELECT 1",))
    assert int(pid) != os.getpid()
    assert (password, queries) == ("seven77", "SELECT 1")


def test_all_logins_of_a_run_are_in_one_cell(logins: MakeLogins, cells: Cells) -> None:
    run = logins()
    pids = {run.verify(SERVER, user(), USERS)[0] for _ in range(3)}
    with run.open_admin(SERVER, user("admin")) as session:
        pids.add(session.set_password(USERS, user(), Rights.ENFORCE).repaired[0].split()[1])
    assert len(pids) == 1
    assert cells.running == 1


def test_runs_share_no_cell(logins: MakeLogins) -> None:
    one, other = logins(), logins()
    assert one.verify(SERVER, user(), USERS)[0] != other.verify(SERVER, user(), USERS)[0]


def test_servers_at_other_ports_get_a_cell_that_may_connect_there(logins: MakeLogins, cells: Cells) -> None:
    run = logins()
    elsewhere = Server("db.example", ("192.0.2.7",), 5433, Tls(), (SERVER,))
    assert run.verify(SERVER, user(), USERS)[0] != run.verify(elsewhere, user(), USERS)[0]


@pytest.mark.skipif(abi() < 4, reason="this kernel's Landlock knows no ports")
def test_a_login_reaches_the_ports_of_its_servers_alone(logins: MakeLogins) -> None:
    with socket.create_server(("127.0.0.1", 0)) as own, socket.create_server(("127.0.0.1", 0)) as other:
        here = Server("db.example", ("127.0.0.1",), own.getsockname()[1], Tls())
        for port, reached in ((here.port, True), (other.getsockname()[1], False)):
            credential = replace(user("connect"), dbname=str(port))
            if reached:
                assert logins().verify(here, credential, USERS) == ["connected"]
                continue
            with pytest.raises(Unavailable, match="PermissionError"):
                logins().verify(here, credential, USERS)


def test_a_session_answers_as_the_engines_own(logins: MakeLogins) -> None:
    with logins().open_admin(SERVER, user("admin")) as session:
        assert session.try_lock("app")
        assert not session.try_lock("locked")
        session.check_users(USERS)
        report = session.set_password(USERS, user(password="next"), Rights.REPORT, keep=user())
        assert report.remaining == ("next", "db.example:5432")
        assert report.repaired[0].startswith("Report ")
        assert session.sessions_of("app") == (SessionCount("192.0.2.1", "shop", 3),)
        assert session.sessions_of("unseen") is None
        with pytest.raises(Refused, match=r"user missing does not exist at db\.example:5432"):
            session.check_users(Users("missing"))
        with pytest.raises(Refused, match="user app is not to be locked"):
            session.disable_login("app")


def test_a_session_that_checks_rights_does_so_in_its_cell(logins: MakeLogins) -> None:
    with logins().open_admin(SERVER, user("checking")) as session:
        assert isinstance(session, ChecksRights)
        with pytest.raises(Refused, match="user app_clone would lack a right"):
            session.check_rights(USERS)
    with logins().open_admin(SERVER, user("admin")) as session:
        assert isinstance(session, ChecksRights)
        session.check_rights(USERS)  # the toy's does not


def test_a_session_can_be_for_the_user_that_a_login_proves(logins: MakeLogins) -> None:
    with logins().open_admin_for(SERVER, user("admin"), SERVER, user()) as session:
        told = session.set_password(USERS, user(), Rights.ENFORCE).remaining[1]
    assert told == "db.example:5432 for app proven at db.example:5432"


def test_a_session_has_ended_when_it_was_left(logins: MakeLogins) -> None:
    run = logins()
    with run.open_admin(SERVER, user("admin")) as session:
        pass
    with pytest.raises(Unavailable, match="the session has ended"):
        session.try_lock("app")
    assert run.verify(SERVER, user(), USERS), "the cell is used on"


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("refused", AuthenticationFailed, "user refused was refused"),
        ("slow", Unavailable, "the server is slow"),
        ("strange", NotAdmitted, "user strange is not admitted"),
        ("loop", Unavailable, "the client of toy for db.example:5432 used 1 s of CPU time without an end; check"),
        ("memory", Unavailable, "the client of toy for db.example:5432 needed more than 64 MiB of memory; check"),
        ("crash", Unavailable, "the client of toy for db.example:5432 crashed; check what answers there"),
        ("fault", Unavailable, r"db.example:5432 failed \(ZeroDivisionError at support/toy_engine.py:[0-9]+\)"),
    ],
)
def test_how_a_login_fails(logins: MakeLogins, name: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as failed:
        logins().verify(SERVER, user(name, "hunter2"), USERS)
    assert type(failed.value) is kind
    assert "hunter2" not in str(failed.value)


def test_white_space_around_a_rejected_password_is_told(logins: MakeLogins) -> None:
    run, padded = logins(), user("refused", "hunter2\n")
    with pytest.raises(AuthenticationFailed, match="password in the secret value begins or ends with"):
        run.verify(SERVER, padded, USERS)
    with pytest.raises(AuthenticationFailed, match="password in the secret value begins or ends with"):
        run.open_admin(SERVER, padded)


def test_a_login_that_hangs_is_ended(logins: MakeLogins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOGIN_SECONDS", 0.3)
    with pytest.raises(Unavailable, match=r"did not end within 0\.3 s"):
        logins().verify(SERVER, user("hang"), USERS)


def test_the_next_login_gets_another_cell_where_one_has_ended(logins: MakeLogins) -> None:
    run = logins()
    with pytest.raises(Unavailable):
        run.verify(SERVER, user("crash"), USERS)
    assert run.verify(SERVER, user(), USERS)


def test_a_session_never_moves_to_another_cell(logins: MakeLogins) -> None:
    """Its lock has ended with it."""
    run = logins()
    with run.open_admin(SERVER, user("admin")) as session:
        with pytest.raises(Unavailable, match="crashed"):
            session.set_password(USERS, user("crash"), Rights.ENFORCE)
        run.verify(SERVER, user(), USERS)
        with pytest.raises(Unavailable, match="has ended before"):
            session.try_lock("app")


def test_what_was_written_is_known_to_later_runs(logins: MakeLogins) -> None:
    engine = ToyEngine()
    with logins(engine).open_admin(SERVER, user("admin")) as session:
        session.set_password(USERS, user(), Rights.ENFORCE)
        with pytest.raises(Unavailable):
            session.set_password(USERS, user("crash"), Rights.ENFORCE)
    written = logins(engine).verify(SERVER, user(), USERS)[3]
    assert written == "app@db.example:5432,crash@db.example:5432"


def test_an_admin_at_aws_is_no_server_of_a_tenants(logins: MakeLogins) -> None:
    run = logins(CloudEngine())
    with run.open_admin(SERVER, user("admin")) as session:
        assert session.set_password(USERS, user(), Rights.ENFORCE).repaired == (f"Enforce {os.getpid()}",)
    assert run.verify(SERVER, user(), USERS)[0] != str(os.getpid())


def test_what_has_no_address_is_asked_of_aws_here(logins: MakeLogins) -> None:
    nowhere = Server("db.example", (), 5432, Tls())
    assert logins(CloudEngine()).verify(nowhere, user(), USERS)[0] == str(os.getpid())


def test_an_engine_that_cannot_be_copied_is_found_by_its_name(logins: MakeLogins) -> None:
    with pytest.raises(Refused, match="is not one of"):
        logins(UncopiedEngine(), "no-such-engine").verify(SERVER, user(), USERS)


def test_a_webhooks_key_goes_into_its_cell(logins: MakeLogins) -> None:
    key = SigningKey(b"k" * 32)
    engine = WebhookEngine(
        Receiver.at("https://hooks.example/db"),
        key,
        Purpose("shop", "orders", next(iter(ToyEngine.strategies)), (), None, ()),
    )
    engine.call_seconds = 0.1
    closed = Server("hooks.example", ("127.0.0.1",), 9, Tls())
    with pytest.raises(Unavailable, match=r"webhook hooks\.example"):
        logins(engine, "webhook").verify(closed, user(), USERS)
