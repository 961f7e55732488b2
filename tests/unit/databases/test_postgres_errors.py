"""Only what certainly means a wrong password does; the rest is tried again."""

from __future__ import annotations

import psycopg2
import pytest

from rotated_secrets.databases.base import AuthenticationFailed, Refused, Server, Tls, Unavailable
from rotated_secrets.databases.base_classes import DatabaseClosed
from rotated_secrets.databases.postgres.errors import NotAdmitted, failed_login
from rotated_secrets.databases.postgres.login import log_in
from rotated_secrets.values import Credential, SecretText

SERVER = Server("db.example", ("10.0.0.1", "10.0.0.2"), 5432, Tls())
HEAD = 'connection to server at "db.example" (10.0.0.1), port 5432 failed: '


def meaning(text: str) -> Exception:
    return failed_login(psycopg2.OperationalError(text), SERVER, "app", "shop")


@pytest.mark.parametrize(
    "said",
    [
        'FATAL:  password authentication failed for user "app"\n',
        'FATAL:  role "app" is not permitted to log in\n',
        'FATAL:  role "a\nb" does not exist\n',
        "fe_sendauth: no password supplied\n",
    ],
)
def test_the_texts_that_are_certain(said: str) -> None:
    assert type(meaning(HEAD + said)) is AuthenticationFailed


@pytest.mark.parametrize(
    "said",
    [
        "FATAL:  Passwort-Authentifizierung für Benutzer »app« fehlgeschlagen\n",
        "FATAL:  la autentificación password falló para el usuario «app»\n",
        "ERREUR:  authentification par mot de passe échouée pour l'utilisateur « app »\n",
        "FATAL:  sorry, too many clients already\n",
        "FATAL:  the database system is starting up\n",
        'FATAL:  LDAP authentication failed for user "app"\n',
        'FATAL:  PAM authentication failed for user "app"\n',
        'FATAL:  something says: password authentication failed for user "app"\n',
        "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?\n",
        "timeout expired\n",
        "",
    ],
)
def test_the_doubtful_is_unavailable(said: str) -> None:
    assert type(meaning(HEAD + said)) is Unavailable


@pytest.mark.parametrize(
    "said",
    [
        'FATAL:  database "password authentication failed for user "app"" does not exist\n',
        'FATAL:  permission denied for database "shop"\nDETAIL:  User does not have CONNECT privilege.\n',
        'FATAL:  database "shop" is not currently accepting connections\n',
    ],
)
def test_a_closed_database_is_no_wrong_password(said: str) -> None:
    assert type(meaning(HEAD + said)) is DatabaseClosed


@pytest.mark.parametrize(
    "said",
    [
        'FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "app", database "shop", no encryption\n',
        'FATAL:  pg_hba.conf rejects connection for host "10.0.0.9", user "app", database "shop", no encryption\n',
    ],
)
def test_what_is_said_before_the_password_is_looked_at_is_no_closed_database(said: str) -> None:
    told = meaning(HEAD + said)
    assert type(told) is NotAdmitted
    assert isinstance(told, Unavailable) and not isinstance(told, DatabaseClosed)
    assert "before the password was checked" in str(told)


def test_the_last_address_tried_decides() -> None:
    second = HEAD.replace("10.0.0.1", "10.0.0.2")
    wrong = 'FATAL:  password authentication failed for user "app"\n'
    assert type(meaning(HEAD + "Connection refused\n" + second + wrong)) is AuthenticationFailed
    assert type(meaning(HEAD + "Connection refused\n" + second + "timeout expired\n")) is Unavailable


def test_what_a_port_answered_is_not_repeated() -> None:
    told = str(meaning(HEAD + "received invalid response to SSL negotiation: canary\n"))
    assert "canary" not in told
    assert "db.example:5432" in told
    assert not isinstance(meaning(HEAD + "FATAL:  canary\n"), Refused)


@pytest.mark.parametrize(
    "said",
    [
        "FATAL:  unsupported startup parameter: options\n",
        "FATAL:  unsupported startup parameter in options: statement_timeout\n",
        "FATAL:  Feature not supported: RDS Proxy currently doesn\u2019t support command-line options.\n",
    ],
)
def test_a_pooler_is_told_to_be_one(said: str) -> None:
    told = meaning(HEAD + said)
    assert type(told) is Unavailable
    assert "PgBouncer and RDS Proxy are not supported: name the server itself" in str(told)


def test_a_server_that_is_too_old_is_told_to_be() -> None:
    told = meaning(HEAD + 'FATAL:  unrecognized configuration parameter "idle_session_timeout"\n')
    assert type(told) is Unavailable
    assert "PostgreSQL 14 or later is needed" in str(told)


def test_a_server_that_answers_in_another_encoding_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a session has begun, nothing says in which encoding its messages are; the driver takes them for UTF-8."""

    def connect(**_: object) -> None:
        b"Passwort-Authentifizierung f\xfcr Benutzer".decode()

    monkeypatch.setattr(psycopg2, "connect", connect)
    with pytest.raises(Unavailable, match="a text that is not UTF-8"):
        log_in(SERVER, Credential("postgres", "db.example", "app", SecretText("hunter2")), "shop", {})
