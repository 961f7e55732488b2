"""What MongoDB says is told apart by its codes, and never repeated."""

from __future__ import annotations

import ssl

import pytest
from pymongo.errors import AutoReconnect, NetworkTimeout, NotPrimaryError, OperationFailure, PyMongoError

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import AuthenticationFailed, Refused, Server, Tls, Unavailable
from rotated_secrets.databases.mongo.errors import failed_command, failed_connection, failed_login

SERVER = Server("db.example", ("10.0.0.1",), 27017, Tls(TlsMode.VERIFY_FULL))


def failure(code: int | None, name: str = "CodeName") -> OperationFailure:
    return OperationFailure("canary", code, {"codeName": name, "errmsg": "canary"})


@pytest.mark.parametrize("code", [6, 7, 64, 89, 91, 189, 10107, 11600, 11602, 13435, 50, 51003, 11])
def test_what_may_pass_is_tried_again(code: int) -> None:
    error = failed_command(failure(code), SERVER, "do it")
    assert isinstance(error, Unavailable)
    assert "canary" not in str(error)


@pytest.mark.parametrize("error", [AutoReconnect("canary"), NetworkTimeout("canary"), NotPrimaryError("canary")])
def test_a_lost_connection_is_tried_again(error: PyMongoError) -> None:
    told = failed_command(error, SERVER, "do it")
    assert isinstance(told, Unavailable)
    assert "canary" not in str(told)


@pytest.mark.parametrize("code", [13, 2, 31, 59, 40415, 303])
def test_what_will_not_pass_is_refused_by_its_code(code: int) -> None:
    told = failed_command(failure(code), SERVER, "do it")
    assert isinstance(told, Refused)
    assert str(told) == f"could not do it at db.example:27017: code {code} (CodeName)"


def test_a_code_name_that_is_a_text_of_its_own_is_not_repeated() -> None:
    assert str(failed_command(failure(13, "canary of\nothers"), SERVER, "do it")).endswith(": code 13")


def test_only_a_refused_password_at_a_server_that_knows_it_is_certain() -> None:
    wrong = failure(18)
    assert isinstance(failed_login(wrong, SERVER, "app", "shop", certain=True), AuthenticationFailed)
    assert isinstance(failed_login(wrong, SERVER, "app", "shop", certain=False), Unavailable)
    for doubtful in (failure(334), failure(13), failure(None), AutoReconnect("canary"), PyMongoError("canary")):
        told = failed_login(doubtful, SERVER, "app", "shop", certain=True)
        assert isinstance(told, Unavailable)
        assert "canary" not in str(told)


def test_certificates_are_told_apart() -> None:
    def told(code: int) -> str:
        cause = ssl.SSLCertVerificationError("canary")
        cause.verify_code = code
        error = AutoReconnect("canary")
        error.__cause__ = cause
        return str(failed_connection(error, SERVER, "app"))

    assert "for another name" in told(62)
    assert "for another name" in told(64)
    assert "not signed by a trusted authority" in told(20)
    assert "canary" not in told(20)
