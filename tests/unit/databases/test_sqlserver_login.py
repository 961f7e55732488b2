"""How the operator comes into a SQL Server: never without the TLS that was asked for, never on to another host."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import AuthenticationFailed, Refused, Unavailable, Users
from rotated_secrets.databases.sqlserver import SqlServerEngine, session
from rotated_secrets.values import Credential, SecretText
from sandbox.tls import CertificateAuthority
from tests.support.doubles.sqlserver_server import (
    ENCRYPT_NOT_SUPPORTED,
    ENCRYPT_OFF,
    ENCRYPT_REQUIRED,
    Conversation,
    Error,
    SqlServerDouble,
    asked,
    done,
)

CANARY = "Canary-7hT2pQ9xLw4R"
PINNED = [
    done(f"SET {setting}") for setting in ("XACT_ABORT ON", "LOCK_TIMEOUT 5000", "QUOTED_IDENTIFIER ON", "NOCOUNT ON")
]
CREDENTIAL = Credential("sqlserver", "db.example", "app", SecretText(CANARY))
AUTHORITY = CertificateAuthority.create()


def certificate(folder: Path, *names: str) -> tuple[Path, Path]:
    pair = AUTHORITY.issue(*names)
    (folder / "server.crt").write_text(pair.certificate)
    (folder / "server.key").write_text(pair.key)
    return folder / "server.crt", folder / "server.key"


def conversation(**more: object) -> Conversation:
    return Conversation("app", CANARY, "master", list(PINNED), **more)  # type: ignore[arg-type]


def log_in(double: SqlServerDouble, mode: TlsMode, ca: str | None, host: str = "db.example") -> list[str]:
    return SqlServerEngine().verify(double.server(host, mode, ca), CREDENTIAL, Users("app"))


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("db.example", "db.example"),
        ("db.example", "DB.Example"),
        ("db.example.", "db.example"),
        ("db.shop.example", "*.shop.example"),
        ("::1", "::1"),
    ],
)
def test_a_certificate_for_the_host_lets_the_password_through(tmp_path: Path, host: str, name: str) -> None:
    with SqlServerDouble(conversation(), certificate=certificate(tmp_path, name, "other")) as double:
        assert log_in(double, TlsMode.VERIFY_FULL, AUTHORITY.certificate, host) == []


def test_a_server_that_requires_encryption_gets_it(tmp_path: Path) -> None:
    with SqlServerDouble(
        conversation(), certificate=certificate(tmp_path, "db.example"), encryption=ENCRYPT_REQUIRED
    ) as double:
        assert log_in(double, TlsMode.VERIFY_FULL, AUTHORITY.certificate) == []


@pytest.mark.parametrize(
    ("mode", "names", "ca"),
    [
        (TlsMode.VERIFY_FULL, ("other.example",), AUTHORITY.certificate),
        (TlsMode.VERIFY_FULL, ("*.db.example", "*.com"), AUTHORITY.certificate),
        (TlsMode.VERIFY_FULL, ("db.example",), CertificateAuthority.create().certificate),
        (TlsMode.VERIFY_CA, ("db.example",), CertificateAuthority.create().certificate),
        (TlsMode.VERIFY_FULL, ("db.example",), None),
        (TlsMode.VERIFY_FULL, ("db.example",), "no certificate"),
    ],
)
def test_a_wrong_certificate_never_sees_the_password(
    tmp_path: Path, mode: TlsMode, names: tuple[str, ...], ca: str | None
) -> None:
    with SqlServerDouble(certificate=certificate(tmp_path, *names)) as double:
        with pytest.raises(Unavailable):
            log_in(double, mode, ca)
        assert double.passwords_seen == []


@pytest.mark.parametrize(("mode", "ca"), [(TlsMode.VERIFY_CA, AUTHORITY.certificate), (TlsMode.REQUIRE, None)])
def test_less_than_everything_is_verified_where_that_was_asked_for(
    tmp_path: Path, mode: TlsMode, ca: str | None
) -> None:
    with SqlServerDouble(conversation(), certificate=certificate(tmp_path, "other.example")) as double:
        assert log_in(double, mode, ca) == []


@pytest.mark.parametrize("answer", [ENCRYPT_NOT_SUPPORTED, ENCRYPT_OFF])
@pytest.mark.parametrize("mode", [TlsMode.REQUIRE, TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL])
def test_a_server_without_encryption_never_sees_the_password(tmp_path: Path, mode: TlsMode, answer: int) -> None:
    with SqlServerDouble(certificate=certificate(tmp_path, "db.example"), encryption=answer) as double:
        with pytest.raises(Unavailable, match="not with the required TLS"):
            log_in(double, mode, AUTHORITY.certificate)
        assert double.passwords_seen == []


def test_an_address_is_verified_as_an_address(tmp_path: Path) -> None:
    with SqlServerDouble(conversation(), certificate=certificate(tmp_path, "127.0.0.1")) as double:
        assert log_in(double, TlsMode.VERIFY_FULL, AUTHORITY.certificate, "127.0.0.1") == []


def test_a_server_that_sends_on_to_another_is_not_followed() -> None:
    with (
        SqlServerDouble() as other,
        SqlServerDouble(Conversation("app", CANARY, "master", route=("127.0.0.1", other.port))) as double,
    ):
        with pytest.raises(Refused, match="sends user app to another server, which is not followed"):
            log_in(double, TlsMode.DISABLE, None)
        assert other.passwords_seen == []


def test_a_server_that_never_answers_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "LOGIN_SECONDS", 0.3)
    with SqlServerDouble(silent=True) as double, pytest.raises(Unavailable):
        log_in(double, TlsMode.DISABLE, None)


def test_an_address_that_nobody_listens_at_is_passed_over() -> None:
    with SqlServerDouble(conversation()) as double:
        here = double.server()
        both = type(here)(here.host, ("127.255.255.254", "127.0.0.1"), here.port, here.tls)
        assert SqlServerEngine().verify(both, CREDENTIAL, Users("app")) == []
    with pytest.raises(Unavailable, match="cannot be reached"):
        SqlServerEngine().verify(here, CREDENTIAL, Users("app"))


@pytest.mark.parametrize("number", [18456, 18470, 18486, 18487, 18488, 18452])
def test_a_refusal_of_the_password_is_certain(number: int) -> None:
    with (
        SqlServerDouble(conversation(refusals=(Error(number),))) as double,
        pytest.raises(AuthenticationFailed) as told,
    ):
        log_in(double, TlsMode.DISABLE, None)
    assert CANARY not in str(told.value)
    assert str(number) in str(told.value)


@pytest.mark.parametrize("numbers", [(4060, 18456), (4064,), (916,), (17892, 18456)])
def test_a_closed_database_is_a_failed_check_although_the_login_is_said_to_have_failed(
    numbers: tuple[int, ...],
) -> None:
    with SqlServerDouble(conversation(refusals=tuple(Error(number) for number in numbers))) as double:
        assert f"(error {numbers[0]})" in log_in(double, TlsMode.DISABLE, None)[0]


def test_name_of_a_closed_database_is_not_shown_for_it_may_be_a_password() -> None:
    wrong = replace(CREDENTIAL, dbname=CANARY)
    with SqlServerDouble(Conversation("app", CANARY, CANARY, list(PINNED), refusals=(Error(4060),))) as double:
        (failure,) = SqlServerEngine().verify(double.server("db.example", TlsMode.DISABLE, None), wrong, Users("app"))
    assert CANARY not in failure
    assert "dbname" in failure


@pytest.mark.parametrize("number", [18401, 40613, 17142, 99999])
def test_everything_else_is_tried_again(number: int) -> None:
    with (
        SqlServerDouble(conversation(refusals=(Error(number),))) as double,
        pytest.raises(Unavailable) as told,
    ):
        log_in(double, TlsMode.DISABLE, None)
    assert CANARY not in str(told.value)


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("SELECT COUNT(*) FROM t WHERE a = ')'", True),
        ("SELECT (1)", True),
        ("SELECT 1) DELETE FROM t WHERE EXISTS (SELECT 1", False),
        ("SELECT 1 -- )", False),
        ("SELECT 1; DROP TABLE t", False),
        ("SELECT /* ) */ 1", False),
        ("SELECT 'a", False),
        ("SELECT [a", False),
        ("EXEC p", False),
        ("SELECT (1", False),
    ],
)
def test_a_verify_query_cannot_leave_the_question_it_is_put_into(query: str, sent: bool) -> None:
    steps = [*PINNED, asked(f"IF EXISTS ( {query} ) SELECT 1 ELSE SELECT 0", rows=[(1,)])]
    with SqlServerDouble(Conversation("app", CANARY, "master", steps if sent else PINNED)) as double:
        failed = SqlServerEngine().verify(double.server(), CREDENTIAL, Users("app"), [query])
    assert bool(failed) is not sent


def test_the_drivers_log_tells_no_statement(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    query = f"SELECT '{CANARY}'"
    steps = [*PINNED, asked(f"IF EXISTS ( {query} ) SELECT 1 ELSE SELECT 0", rows=[(1,)])]
    with SqlServerDouble(Conversation("app", CANARY, "master", steps)) as double:
        SqlServerEngine().verify(double.server(), CREDENTIAL, Users("app"), [query])
    assert CANARY not in caplog.text
