"""Only what certainly means a wrong password does; the rest is tried again. No word of a server's decides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rotated_secrets.databases.base import AuthenticationFailed, NotAdmitted, Refused, Server, Tls, Unavailable
from rotated_secrets.databases.base_classes import DatabaseClosed
from rotated_secrets.databases.postgres.errors import failed_login
from rotated_secrets.databases.postgres.libpq import Failure, read_failure

SERVER = Server("db.example", ("10.0.0.1", "10.0.0.2"), 5432, Tls())
HEAD = 'connection to server at "db.example" (10.0.0.1), port 5432 failed: '
WRONG = "LOCATION:  auth_failed, auth.c:331\n"
LOCKED = "LOCATION:  InitializeSessionUserId, miscinit.c:781\n"


def read(said: str | bytes, *, answered: bool = True, asked: bool = True, missing: bool = False) -> Failure:
    raw = said if isinstance(said, bytes) else said.encode()
    return read_failure(HEAD.encode() + raw, answered=answered, asked=asked, missing=missing)


def meaning(said: str | bytes, *, asked: bool = True, missing: bool = False, says_28000: bool = False) -> Exception:
    failure = read(said, asked=asked, missing=missing)
    return failed_login(failure, SERVER, "app", "the database that dbname names", says_28000=says_28000)


@pytest.mark.parametrize(
    "said",
    [
        f'FATAL:  28P01: password authentication failed for user "app"\n{WRONG}',
        'FATAL:  28P01: password authentication failed for user "app"\n',
        f"FATAL:  28P01: Passwort-Authentifizierung für Benutzer »app« fehlgeschlagen\n{WRONG}",
        f"FATAL:  28P01: la autentificación password falló para el usuario «app»\n{WRONG}",
        f'ВАЖНО:  28P01: пользователь "app" не прошёл проверку подлинности (по паролю)\n{WRONG}'.encode("koi8-r"),
        f'致命的エラー:  28P01: ユーザー"app"のパスワード認証に失敗しました\n{WRONG}'.encode("euc-jp"),
        f'FATAL:  28000: role "app" is not permitted to log in\n{LOCKED}',
        f"FATAL:  28000: Rolle »app« hat keine Berechtigung zum Einloggen\n{LOCKED}",
        f'FATAL:  28000: role "a\nb" does not exist\n{LOCKED}',
    ],
)
def test_the_codes_that_are_certain(said: str | bytes) -> None:
    assert type(meaning(said)) is AuthenticationFailed


def test_a_password_that_is_missing_is_certain() -> None:
    assert type(meaning("fe_sendauth: no password supplied\n", missing=True)) is AuthenticationFailed


@pytest.mark.parametrize(
    "said",
    [
        'FATAL:  password authentication failed for user "app"\n',
        'FATAL:  role "app" is not permitted to log in\n',
        "ERREUR:  authentification par mot de passe échouée pour l'utilisateur « app »\n",
        "FATAL:  53300: sorry, too many clients already\nLOCATION:  InitProcess, proc.c:357\n",
        "FATAL:  57P03: the database system is starting up\nLOCATION:  ProcessStartupPacket, postmaster.c:2416\n",
        f'FATAL:  XX000: something says: 28P01: password authentication failed for user "app"\n{WRONG}',
        "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?\n",
        "timeout expired\n",
        "",
    ],
)
def test_the_doubtful_is_unavailable(said: str) -> None:
    assert type(meaning(said)) is Unavailable


@pytest.mark.parametrize(
    "said",
    [
        f'FATAL:  28000: LDAP authentication failed for user "app"\n{WRONG}',
        f'FATAL:  28000: PAM authentication failed for user "app"\n{WRONG}',
        f"FATAL:  28000: LDAP-Authentifizierung für Benutzer »app« fehlgeschlagen\n{WRONG}",
        'authentication method requirement "scram-sha-256,md5" failed: server did not request authentication\n',
        'authentication method requirement "scram-sha-256,md5" failed: server requested GSSAPI authentication\n',
        'authentication method requirement "scram-sha-256,md5" failed: server requested a cleartext password\n',
    ],
)
def test_a_method_that_proves_no_password_of_the_servers_admits_nobody(said: str) -> None:
    """It is doubtful, and no new password changes it."""
    told = meaning(said)
    assert type(told) is NotAdmitted
    assert "have pg_hba.conf use scram-sha-256 for it" in str(told)


@pytest.mark.parametrize("code", ["P0001", "28000", "28P01", "42501", "22012"])
def test_who_is_turned_away_after_the_session_began_has_logged_in(code: str) -> None:
    """An event trigger on login may say anything."""
    told = begun(f"FATAL:  {code}: canary\nLOCATION:  exec_stmt_raise, pl_exec.c:3911\n")
    assert type(told) is DatabaseClosed
    assert "event trigger on login" in str(told)
    assert "canary" not in str(told)


@pytest.mark.parametrize("code", ["57014", "40001", "53100", "25006", "08P01", "0A000"])
def test_a_session_that_began_and_did_not_last_is_unavailable(code: str) -> None:
    assert type(begun(f"FATAL:  {code}: canary\n")) is Unavailable


def begun(said: str) -> Exception:
    return failed_login(replace(read(said), began=True), SERVER, "app", "the database that dbname names")


@pytest.mark.parametrize("code", ["28P01", "3D000", "42501", "55000"])
def test_what_comes_before_the_password_was_asked_for_says_nothing_of_it(code: str) -> None:
    assert type(meaning(f"FATAL:  {code}: canary\n", asked=False)) is Unavailable


def test_redshift_says_28000_of_a_wrong_password() -> None:
    """aws/amazon-redshift-python-driver, issue 237: what the server sends."""
    said = f'FATAL:  28000: password authentication failed for user "app"\n{WRONG}'
    assert type(meaning(said, says_28000=True)) is AuthenticationFailed
    assert type(meaning(said, says_28000=True, asked=False)) is NotAdmitted


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ('3D000: database "password authentication failed for user "app"" does not exist', "check dbname"),
        (
            '42501: permission denied for database "shop"\nDETAIL:  User does not have CONNECT privilege.',
            "GRANT CONNECT ON DATABASE … TO app",
        ),
        ('55000: database "shop" is not currently accepting connections', "ALTER DATABASE … ALLOW_CONNECTIONS true"),
        ("42501: keine Berechtigung für Datenbank »shop«", "GRANT CONNECT ON DATABASE … TO app"),
    ],
)
def test_a_closed_database_is_no_wrong_password(said: str, advice: str) -> None:
    told = meaning(f"FATAL:  {said}\nLOCATION:  CheckMyDatabase, postinit.c:384\n")
    assert type(told) is DatabaseClosed
    assert advice in str(told)
    assert "shop" not in str(told), "the name may be a password"


@pytest.mark.parametrize(
    "said",
    [
        '28000: no pg_hba.conf entry for host "10.0.0.9", user "app", database "shop", no encryption',
        '28000: pg_hba.conf rejects connection for host "10.0.0.9", user "app", database "shop", no encryption',
        "28000: kein pg_hba.conf-Eintrag für Host »10.0.0.9«, Benutzer »app«, Datenbank »shop«, keine Verschlüsselung",
    ],
)
def test_what_is_said_before_the_password_is_looked_at_is_no_closed_database(said: str) -> None:
    told = meaning(f"FATAL:  {said}\nLOCATION:  ClientAuthentication, auth.c:543\n", asked=False)
    assert type(told) is NotAdmitted
    assert isinstance(told, Unavailable) and not isinstance(told, DatabaseClosed)
    assert "before the password was checked" in str(told)


@pytest.mark.parametrize(
    ("routine", "advice"),
    [
        ("InitializeSessionUserId", "ALTER ROLE app CONNECTION LIMIT -1"),
        ("CheckMyDatabase", "ALTER DATABASE … CONNECTION LIMIT -1"),
        ("InitProcess", "one has to be free"),
    ],
)
def test_it_is_told_whose_limit_of_connections_is_reached(routine: str, advice: str) -> None:
    told = meaning(f"FATAL:  53300: zu viele Verbindungen\nLOCATION:  {routine}, some.c:1\n")
    assert type(told) is Unavailable
    assert advice in str(told)


def test_the_place_is_read_from_the_last_line_alone() -> None:
    """A user's name may hold what looks like the line of a place."""
    faked = f'FATAL:  28000: role "x\n{WRONG}" is not permitted to log in\n{LOCKED}'
    assert read(faked).routine == "InitializeSessionUserId"
    assert read(f"FATAL:  28000: x\n{WRONG}DETAIL:  y\n").routine is None


def test_another_address_is_tried_only_where_this_one_learned_nothing() -> None:
    wrong = f'FATAL:  28P01: password authentication failed for user "app"\n{WRONG}'
    assert not read(wrong).elsewhere
    assert not read("server closed the connection unexpectedly\n").elsewhere
    assert read("Connection refused\n", answered=False).elsewhere
    assert read("FATAL:  57P03: the database system is starting up\n").elsewhere


def test_what_a_port_answered_is_not_repeated() -> None:
    told = str(meaning("received invalid response to SSL negotiation: canary\n"))
    assert "canary" not in told
    assert "db.example:5432" in told
    for said in ("FATAL:  canary\n", "FATAL:  XX000: canary\nLOCATION:  canary, canary.c:1\n"):
        assert "canary" not in str(meaning(said))
        assert not isinstance(meaning(said), Refused)


@pytest.mark.parametrize(
    "said",
    [
        "FATAL:  08P01: unsupported startup parameter: options\n",
        "FATAL:  08P01: unsupported startup parameter in options: statement_timeout\n",
        "FATAL:  0A000: Feature not supported: RDS Proxy currently doesn\u2019t support command-line options.\n",
        # PgBouncer's words for a wrong password: what it knows of passwords may be old.
        "FATAL:  08P01: SASL authentication failed\n",
    ],
)
def test_a_pooler_is_told_to_be_one(said: str) -> None:
    told = meaning(said)
    assert type(told) is Unavailable
    assert "not supported: write the server's own host and port into the secret value" in str(told)


def test_a_server_that_is_too_old_is_told_to_be() -> None:
    told = meaning('FATAL:  42704: unrecognized configuration parameter "idle_session_timeout"\n')
    assert type(told) is Unavailable
    assert "PostgreSQL 14 or later is needed" in str(told)


def test_a_library_that_every_session_loads_and_that_is_not_there_is_told() -> None:
    told = meaning('FATAL:  58P01: could not access file "canary": No such file or directory\n')
    assert type(told) is Unavailable
    assert "session_preload_libraries" in str(told)
    assert "canary" not in str(told)


def test_a_text_that_is_not_utf8_without_a_code_is_unavailable() -> None:
    assert type(meaning("FATAL:  Passwort-Authentifizierung für Benutzer".encode("latin-1"))) is Unavailable


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("server does not support SSL, but SSL was required\n", "offers no TLS"),
        ("SSL error: certificate verify failed\n", "CA certificates"),
        ('server certificate for "other" does not match host name "db.example"\n', "for another name"),
        ("authentication method 13 requested an unknown authentication type\n", "set it once as md5"),
    ],
)
def test_what_libpq_says_itself_is_told_in_words(said: str, advice: str) -> None:
    told = meaning(said, asked=False)
    assert type(told) is Unavailable
    assert advice in str(told)
