"""What Oracle can write inside double quotes is read back as it was; what it can't is refused."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotated_secrets.api.rotation import PasswordPolicy
from rotated_secrets.databases.oracle import OracleEngine
from rotated_secrets.databases.oracle.rights import object_privilege, quoted
from rotated_secrets.rotation.password import InvalidPasswordPolicy, check_policy, make_password

SIGNS = "".join(sign for sign in string.printable if sign not in '"\x00')


@given(st.text(SIGNS, min_size=1, max_size=30))
def test_a_name_or_password_is_read_back_as_it_was(text: str) -> None:
    written = quoted(text)
    assert (written[0], written[-1], written[1:-1]) == ('"', '"', text)
    assert written.count('"') == 2


@given(st.tuples(st.text(string.printable), st.text(string.printable)).map(chr(34).join))
def test_a_double_quote_is_never_written(text: str) -> None:
    with pytest.raises(ValueError, match="double quote"):
        quoted(text)


@given(st.text(SIGNS, max_size=20))
def test_only_words_are_written_where_nothing_quotes_them(privilege: str) -> None:
    written = object_privilege(privilege, "OWNER", "NAME", "TABLE")
    assert written is None or set(privilege) <= set(string.ascii_uppercase + string.digits + " _")


def test_passwords_have_30_bytes_and_signs_that_can_be_written() -> None:
    limits = OracleEngine.passwords
    with pytest.raises(InvalidPasswordPolicy, match="at most 30"):
        check_policy(PasswordPolicy(length=31), limits)
    policy = PasswordPolicy(length=30, exclude_punctuation=False)
    made = "".join(make_password(policy, limits).reveal() for _ in range(50))
    assert not set(made) & set("\"/@'\\")
