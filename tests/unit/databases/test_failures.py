"""What all engines say of a login that failed."""

from __future__ import annotations

import pytest

from rotated_secrets.databases.base import AuthenticationFailed
from rotated_secrets.databases.failures import with_white_space_told
from rotated_secrets.values import Credential, SecretText

REJECTED = AuthenticationFailed("user app does not log in")


@pytest.mark.parametrize(
    ("username", "password", "told"),
    [
        ("app", "hunter2\n", "password in the secret value begins or ends"),
        ("app", " hunter2", "password in the secret value begins or ends"),
        ("app\t", "hunter2", "username in the secret value begins or ends"),
        ("app\r\n", "hunter2\r\n", "username and password in the secret value begins or ends"),
    ],
)
def test_white_space_around_what_was_rejected_is_told(username: str, password: str, told: str) -> None:
    error = with_white_space_told(REJECTED, Credential("postgres", "db", username, SecretText(password)))
    assert str(error).startswith("user app does not log in; ")
    assert told in str(error)
    assert "hunter2" not in str(error)


def test_white_space_inside_is_part_of_it() -> None:
    assert with_white_space_told(REJECTED, Credential("postgres", "db", "a p", SecretText("hunter 2"))) is REJECTED
