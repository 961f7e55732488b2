"""What an error of MySQL or MariaDB means: wrong password, not now, or never; and what of it is told."""

from __future__ import annotations

import ssl

import pytest

from rotated_secrets.databases.base import AuthenticationFailed, Refused, Server, Tls, Unavailable
from rotated_secrets.databases.base_classes import DatabaseClosed
from rotated_secrets.databases.mysql.errors import (
    ConnectionLost,
    ServerError,
    failed_handshake,
    failed_login,
    failed_statement,
    reason,
)

SERVER = Server("db.example", ("192.0.2.1",), 3306, Tls())
CANARY = "near 'IDENTIFIED BY 'Kanarienvogel'"


@pytest.mark.parametrize(("certain", "kind"), [(True, DatabaseClosed), (False, Unavailable)])
def test_whom_init_connect_turns_away_has_logged_in_if_the_server_had_seen_a_password(
    certain: bool, kind: type[Unavailable]
) -> None:
    told = failed_login(ServerError(1184, CANARY), SERVER, "app", certain=certain)
    assert type(told) is kind
    assert "init_connect" in str(told)


@pytest.mark.parametrize("code", [1045, 1698, 3118, 4151, 1820, 1862])
def test_what_is_certain_about_a_password(code: int) -> None:
    told = failed_login(ServerError(code, CANARY), SERVER, "app", certain=True)
    assert type(told) is AuthenticationFailed
    assert "app" in str(told)
    assert "db.example" in str(told)


@pytest.mark.parametrize("code", [1820, 1862])
def test_an_expired_password_is_one_wherever_the_server_says_so(code: int) -> None:
    for told in (
        failed_login(ServerError(code, CANARY), SERVER, "app", certain=True),
        failed_statement(ServerError(code, CANARY), SERVER, "open a session of app"),
    ):
        assert type(told) is AuthenticationFailed
        assert "app" in str(told)
        assert "has expired" in str(told)
        assert "Kanarienvogel" not in str(told)


@pytest.mark.parametrize("code", [1045, 3118, 1862, 1064])
def test_the_same_is_doubtful_where_the_password_was_not_looked_at(code: int) -> None:
    told = failed_login(ServerError(code, CANARY), SERVER, "app", certain=False)
    assert type(told) is Unavailable
    assert "before the password was checked" in str(told)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1040, "too many connections"),
        (1129, "blocks this host"),
        (1130, "from this host"),
        (1203, "too many connections"),
        (1226, "resource limits"),
        (3159, "require_secure_transport"),
        (3955, "FAILED_LOGIN_ATTEMPTS"),
        (3032, "offline"),
        (1524, "plug-in"),
        (4150, "runs: FLUSH PRIVILEGES"),
        (9999, "error 9999"),
    ],
)
@pytest.mark.parametrize("certain", [True, False])
def test_everything_else_that_comes_instead_of_a_login_is_not_now(code: int, words: str, certain: bool) -> None:
    told = failed_login(ServerError(code, CANARY), SERVER, "app", certain=certain)
    assert type(told) is Unavailable
    assert words in str(told)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionLost("x"),
        ServerError(1290),
        ServerError(1836),
        ServerError(1205, sqlstate="HY000"),
        ServerError(1213, sqlstate="40001"),
        ServerError(1396),
        ServerError(4031),
        ServerError(9999, sqlstate="08S01"),
        ServerError(3101),
    ],
)
def test_what_may_go_better_later(error: ServerError | ConnectionLost) -> None:
    assert type(failed_statement(error, SERVER, "set the password of user app")) is Unavailable


@pytest.mark.parametrize("code", [1064, 1227, 1044, 1142, 1370, 3619, 1141, 1133, 9999])
def test_what_will_not(code: int) -> None:
    told = failed_statement(ServerError(code, CANARY, "42000"), SERVER, "set the password of user app")
    assert type(told) is Refused
    assert str(told).startswith("could not set the password of user app at db.example:3306: ")


@pytest.mark.parametrize("code", [1064, 1045, 1227, 1396, 1290, 9999])
def test_the_servers_text_is_in_no_message(code: int) -> None:
    error = ServerError(code, CANARY, "42000")
    messages = [str(error), repr(error), reason(error)]
    messages += [str(failed_login(error, SERVER, "app", certain=certain)) for certain in (True, False)]
    messages.append(str(failed_statement(error, SERVER, "look")))
    assert not any("Kanarienvogel" in message for message in messages)


@pytest.mark.parametrize(
    ("text", "privilege"),
    [
        ("Access denied; you need (at least one of) the CREATE USER privilege(s) for this operation", "CREATE USER"),
        ("Access denied; you need (at least one of) the SUPER, SYSTEM_USER privilege(s) for …", "SUPER, SYSTEM_USER"),
        ("Access denied; you need (at least one of) the 'Kanarienvogel' privilege(s)", None),
        ("Zugriff verweigert", None),
    ],
)
def test_a_missing_privilege_is_named(text: str, privilege: str | None) -> None:
    error = ServerError(1227, text)
    assert error.privilege == privilege
    assert (privilege or "lacks a privilege") in reason(error)


def verification_error(message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = message
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (verification_error("Hostname mismatch, certificate is not valid for 'x'."), "another name"),
        (verification_error("IP address mismatch, certificate is not valid for '127.0.0.1'."), "another name"),
        (verification_error("self-signed certificate in certificate chain"), "trusted authority"),
        (verification_error("certificate has expired"), "has expired"),
        (ssl.SSLError(1, "WRONG_VERSION_NUMBER"), "TLS with it failed"),
        (ConnectionRefusedError(), "cannot be reached"),
        (None, "does not answer as MySQL does"),
    ],
)
def test_a_connection_that_never_came_to_a_login(error: BaseException | None, words: str) -> None:
    told = failed_handshake(error, SERVER, "app")
    assert type(told) is Unavailable
    assert words in str(told)
