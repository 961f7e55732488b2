"""What an error shows of a credential that has not logged in; the error itself stays as it is."""

from __future__ import annotations

import pytest

from rotated_secrets.cells.cell import plain
from rotated_secrets.databases.base import AuthenticationFailed, DatabaseError, Refused, Unavailable
from rotated_secrets.databases.disclosure import without_unproven
from rotated_secrets.values import Credential, SecretText

CREDENTIAL = Credential(
    engine="postgres", host="db.example", username="hunter2user", password=SecretText("hunter2"), dbname="bank"
)


class Slow(Unavailable):
    """An engine's own error, whose constructor takes more than a message."""

    def __init__(self, message: str, retry_in: float) -> None:
        super().__init__(message)
        self.retry_in = retry_in


@pytest.mark.parametrize("kind", [AuthenticationFailed, Unavailable, Refused])
def test_what_no_login_has_proven_is_hidden_in_a_new_error_of_the_same_kind(kind: type[DatabaseError]) -> None:
    error = kind("hunter2user cannot log in to bank at db.example with hunter2")
    hidden = without_unproven(error, CREDENTIAL, shown=("db.example",), whose="the admin secret: ")
    assert type(hidden) is kind
    assert str(hidden) == "the admin secret: *** cannot log in to *** at db.example with ***"
    assert str(error) == "hunter2user cannot log in to bank at db.example with hunter2"


def test_an_error_keeps_what_else_it_knows_and_loses_its_causes() -> None:
    try:
        raise Slow("hunter2user waits", 7.0) from ValueError("hunter2")
    except Slow as error:
        hidden = without_unproven(error, CREDENTIAL)
        assert str(error.__cause__) == "hunter2"
    assert (str(hidden), hidden.retry_in) == ("*** waits", 7.0)
    assert hidden.__cause__ is None
    assert hidden.__context__ is None


@pytest.mark.parametrize(
    "written", ["hunter2canary", "s3cr3t", "s3cr3t\n", "s3\tcr3t", "Hunter2\r\nCanary", "s3cr3t\u2028"]
)
def test_password_in_the_place_of_a_name_is_hidden_in_every_form_of_it(written: str) -> None:
    """Oracle's names are in upper case, and what a cell says is one line."""
    for name in (written, written.upper(), written.lower()):
        error = Unavailable(plain(f"user {name} at db:1521 does not log in to database {name}"))
        credential = Credential("oracle", "db", written, SecretText("p"), dbname=written)
        assert (
            str(without_unproven(error, credential, shown=["db:1521"]))
            == "user *** at db:1521 does not log in to database ***"
        )
