"""Passwords meet their policy, and policies that allow no strong password are refused."""

from __future__ import annotations

import string

import hypothesis.strategies as st
import pytest
from hypothesis import given

from rotated_secrets.api.rotation import PasswordPolicy
from rotated_secrets.databases.base import PasswordLimits
from rotated_secrets.rotation.password import InvalidPasswordPolicy, check_policy, make_password


def test_default_password_needs_no_quoting_anywhere() -> None:
    drawn = [make_password(PasswordPolicy()).reveal() for _ in range(200)]
    assert {len(password) for password in drawn} == {32}
    assert set("".join(drawn)) <= set(string.ascii_letters + string.digits + "_-")
    assert all(password[0] in string.ascii_letters for password in drawn)
    assert len(set(drawn)) == len(drawn)


@given(
    length=st.integers(16, 64),
    excluded=st.text(string.ascii_letters + string.digits + string.punctuation, max_size=20),
    punctuation=st.booleans(),
    numbers=st.booleans(),
    each=st.booleans(),
)
def test_password_meets_any_policy_that_can_be_met(
    length: int, excluded: str, punctuation: bool, numbers: bool, each: bool
) -> None:
    policy = PasswordPolicy(
        length=length,
        exclude_characters=excluded,
        exclude_punctuation=punctuation,
        exclude_numbers=numbers,
        require_each_included_type=each,
    )
    try:
        check_policy(policy)
    except InvalidPasswordPolicy:
        return
    password = make_password(policy).reveal()
    assert len(password) == length
    assert not set(password) & set(excluded)
    assert not (numbers and set(password) & set(string.digits))
    assert not (punctuation and set(password) & set(string.punctuation) - set("_-"))
    if each:
        assert set(password) & set(string.ascii_lowercase)
        assert set(password) & set(string.ascii_uppercase)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (PasswordPolicy(exclude_characters=string.digits), "set excludeNumbers to true"),
        (PasswordPolicy(length=8), "48 bits of entropy"),
        (
            PasswordPolicy(
                exclude_characters=string.ascii_letters + "_-",
                exclude_numbers=True,
                require_each_included_type=False,
            ),
            "no character to choose from",
        ),
    ],
)
def test_impossible_policy_is_refused_with_the_field_to_change(policy: PasswordPolicy, message: str) -> None:
    with pytest.raises(InvalidPasswordPolicy, match=message):
        make_password(policy)


def test_default_length_fits_the_engine() -> None:
    assert len(make_password(PasswordPolicy())) == 32
    assert len(make_password(PasswordPolicy(), PasswordLimits(longest=30))) == 30
    with pytest.raises(InvalidPasswordPolicy, match="at most 30"):
        check_policy(PasswordPolicy(length=32), PasswordLimits(longest=30))
    with pytest.raises(InvalidPasswordPolicy, match="no fewer than 16"):
        check_policy(PasswordPolicy(length=12), PasswordLimits(shortest=16))
