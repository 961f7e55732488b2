"""What messages about a failed login may show of a secret value."""

from __future__ import annotations

import pytest

from rotated_secrets.cells.cell import plain
from rotated_secrets.databases.base import Unavailable
from rotated_secrets.databases.disclosure import withhold
from rotated_secrets.values import Credential, SecretText


@pytest.mark.parametrize(
    "written", ["hunter2canary", "s3cr3t", "s3cr3t\n", "s3\tcr3t", "Hunter2\r\nCanary", "s3cr3t\u2028"]
)
def test_password_in_the_place_of_a_name_is_hidden_in_every_form_of_it(written: str) -> None:
    """Oracle's names are in upper case, and what a cell says is one line."""
    for name in (written, written.upper(), written.lower()):
        error = Unavailable(plain(f"user {name} at db:1521 does not log in to database {name}"))
        withhold(error, Credential("oracle", "db", written, SecretText("p"), dbname=written), shown=["db:1521"])
        assert str(error) == "user *** at db:1521 does not log in to database ***"
