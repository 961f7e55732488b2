"""A login is as protected as it was asked to be, or is not made: the modes of TLS, the same for four engines."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import Server, Tls, Unavailable, Users
from rotated_secrets.databases.registry import engine_named
from rotated_secrets.values import Credential, SecretValue
from sandbox.tls import CertificateAuthority
from tests.life.conftest import PlaceFor

ENCRYPTED = {
    "postgres": "SELECT 1 / (SELECT count(*) FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl)",
    "mysql": "SELECT ST_GeomFromText(IF(VARIABLE_VALUE = '', 'plain', 'POINT(1 1)')) "
    "FROM performance_schema.session_status WHERE VARIABLE_NAME = 'Ssl_cipher'",
    "mariadb": "SELECT (SELECT 1 FROM information_schema.SESSION_STATUS "
    "WHERE VARIABLE_NAME IN ('Ssl_cipher', 'Ssl_version') AND VARIABLE_VALUE = '')",
    "mongo": '{"ping": 1}',
}
"""By engine, a verify query that fails on a connection in plain text. MongoDB's server takes none of those at all."""
Look = Callable[..., list[str]]


@pytest.fixture(params=ENCRYPTED)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def ca_pem(engine: str, place_for: PlaceFor) -> str:
    """The authority of the server's certificate."""
    found = place_for(engine).side.ca_pem
    if found is None:
        pytest.skip(f"the {engine} here has no TLS")
    return found


@pytest.fixture
def look(engine: str, place_for: PlaceFor) -> Look:
    """Log in as the server's owner, and run the query."""
    side = place_for(engine).side
    value = {"port": side.port, **side.value(side.owner)}

    def look(mode: TlsMode, ca: str | None, host: str = "localhost") -> list[str]:
        owner = Credential.of(SecretValue.parse(json.dumps(value | {"host": host})))
        where = Server(owner.host, ("127.0.0.1",), side.port, Tls(mode, ca))
        queries = [ENCRYPTED[engine]] if engine in ENCRYPTED else []
        return engine_named(engine).verify(where, owner, Users(owner.username), queries)

    return look


@pytest.mark.parametrize(
    ("engine", "why"),
    [
        ("postgres", "SQLSTATE 22012 (DivisionByZero)"),
        ("mysql", "error 3037 (SQLSTATE 22023)"),
        ("mariadb", "error 1242 (SQLSTATE 21000)"),
    ],
)
def test_disable_is_what_it_says(look: Look, why: str) -> None:
    assert look(TlsMode.DISABLE, None) == [f"verify query 1 failed: {why}"]


@pytest.mark.parametrize("mode", [TlsMode.REQUIRE, TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL])
def test_a_trusted_server_is_spoken_to_in_tls(look: Look, ca_pem: str, mode: TlsMode) -> None:
    assert look(mode, ca_pem) == []


def test_require_encrypts_without_certificates(look: Look, ca_pem: str) -> None:
    assert look(TlsMode.REQUIRE, None) == []


@pytest.mark.parametrize("engine", ["mysql", "mariadb"])
def test_require_does_not_look_at_a_ca_bundle(look: Look) -> None:
    assert look(TlsMode.REQUIRE, CertificateAuthority.create().certificate) == []


@pytest.mark.parametrize("mode", [TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL])
@pytest.mark.parametrize("trusted", ["another", "system"])
def test_a_server_signed_by_another_authority_is_not_spoken_to(
    look: Look, ca_pem: str, mode: TlsMode, trusted: str
) -> None:
    ca = CertificateAuthority.create().certificate if trusted == "another" else None
    with pytest.raises(Unavailable, match="not signed by a trusted authority"):
        look(mode, ca)


def test_only_full_verification_looks_at_the_name(look: Look, ca_pem: str) -> None:
    """The name of the host, that is, and not the address that was connected to."""
    assert look(TlsMode.VERIFY_CA, ca_pem, "db.example.com") == []
    with pytest.raises(Unavailable, match="another name"):
        look(TlsMode.VERIFY_FULL, ca_pem, "db.example.com")


def test_the_certificate_is_verified_for_an_address_too(look: Look, ca_pem: str) -> None:
    assert look(TlsMode.VERIFY_FULL, ca_pem, "127.0.0.1") == []
    with pytest.raises(Unavailable, match="another name"):
        look(TlsMode.VERIFY_FULL, ca_pem, "10.0.0.1")


@pytest.mark.parametrize("engine", [*ENCRYPTED, "redis"])
@pytest.mark.parametrize("host", ["localhost.", "LOCALHOST", "LocalHost.", "::1", "[::1]", "0:0:0:0:0:0:0:1"])
def test_the_certificate_is_for_a_host_however_it_is_written(look: Look, ca_pem: str, host: str) -> None:
    assert look(TlsMode.VERIFY_FULL, ca_pem, host) == []


@pytest.mark.parametrize("host", ["localhost.example.", "[::2]"])
def test_no_way_to_write_it_makes_another_host_the_certificates(look: Look, ca_pem: str, host: str) -> None:
    with pytest.raises(Unavailable, match="another name"):
        look(TlsMode.VERIFY_FULL, ca_pem, host)


def test_a_broken_ca_bundle_is_unavailable(look: Look, ca_pem: str) -> None:
    for broken in ("not a certificate", "", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(Unavailable):
            look(TlsMode.VERIFY_FULL, broken)
