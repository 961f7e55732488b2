"""Making passwords, and refusing policies that no good password can meet. Pure but for the system's randomness."""

from __future__ import annotations

import math
import secrets
import string

from rotated_secrets.api.rotation import PASSWORD_LENGTH, PasswordPolicy
from rotated_secrets.databases.base import PasswordLimits
from rotated_secrets.values import SecretText

MINIMUM_BITS = 64
"""Fewer bits of entropy than this can be searched by a patient attacker who has a verifier."""

_UNLIMITED = PasswordLimits()

_UNQUOTED = "_-"
"""Punctuation that needs no quoting in URLs, shells and connection strings, and so stays when the rest is excluded."""


class InvalidPasswordPolicy(Exception):
    """No password, or none worth the name, meets the policy; says which field to change."""


def check_policy(policy: PasswordPolicy, limits: PasswordLimits = _UNLIMITED) -> None:
    """``limits`` are the engine's. Raises: InvalidPasswordPolicy."""
    alphabet, required = _alphabet(policy, limits), _required_types(policy, limits)
    length = length_of(policy, limits)
    if limits.longest is not None and length > limits.longest:
        raise InvalidPasswordPolicy(
            f"rotation.password.length is {length}, and this engine accepts at most {limits.longest} characters"
        )
    if length < limits.shortest:
        raise InvalidPasswordPolicy(
            f"rotation.password.length is {length}, and this engine accepts no fewer than {limits.shortest} characters"
        )
    if not alphabet:
        raise InvalidPasswordPolicy("rotation.password leaves no character to choose from; exclude fewer")
    for name, signs in limits.demanded:
        if not any(sign in alphabet for sign in signs):
            raise InvalidPasswordPolicy(
                f"this engine rejects a password without {name}, and rotation.password excludes all of them; allow some"
            )
    if emptied := [field for field, signs in required.items() if not signs]:
        raise InvalidPasswordPolicy(
            f"rotation.password.excludeCharacters leaves none of a required type; set {' and '.join(emptied)} to true, "
            "or requireEachIncludedType to false"
        )
    bits = bits_of(length, len(alphabet))
    if bits < MINIMUM_BITS:
        raise InvalidPasswordPolicy(
            f"rotation.password allows only {bits:.0f} bits of entropy, and at least {MINIMUM_BITS} are needed; "
            "raise length or exclude fewer characters"
        )


def length_of(policy: PasswordPolicy, limits: PasswordLimits = _UNLIMITED) -> int:
    """How many characters a password has: as asked for, else as usual, or what the engine takes where that is fewer."""
    usual = PASSWORD_LENGTH if limits.longest is None else min(PASSWORD_LENGTH, limits.longest)
    return usual if policy.length is None else policy.length


def bits_of(length: int, signs: int) -> float:
    """The entropy of a text of ``length`` characters, each drawn evenly from ``signs``."""
    return length * math.log2(signs)


def make_password(policy: PasswordPolicy, limits: PasswordLimits = _UNLIMITED) -> SecretText:
    """A password drawn evenly from all that meet the policy and begin with a letter, where letters are allowed.

    Raises:
        InvalidPasswordPolicy: none can be made.
    """
    check_policy(policy, limits)
    alphabet, required = _alphabet(policy, limits), _required_types(policy, limits)
    first = "".join(sign for sign in alphabet if sign in string.ascii_letters) or alphabet
    while True:  # ends soon: with 64 bits and more, even a type of one character is drawn every few times
        drawn = secrets.choice(first) + "".join(secrets.choice(alphabet) for _ in range(length_of(policy, limits) - 1))
        if all(any(sign in signs for sign in drawn) for signs in required.values()):
            return SecretText(drawn)


def _included_types(policy: PasswordPolicy, limits: PasswordLimits) -> dict[str, str]:
    """The characters of each included type, by the field that leaves the type out.

    Source: GetRandomPassword, AWS Secrets Manager API Reference, whose parameters the fields are named after.
    """
    types = {
        "excludeLowercase": "" if policy.exclude_lowercase else string.ascii_lowercase,
        "excludeUppercase": "" if policy.exclude_uppercase else string.ascii_uppercase,
        "excludeNumbers": "" if policy.exclude_numbers else string.digits,
        "excludePunctuation": "" if policy.exclude_punctuation else string.punctuation,
    }
    return {field: _without(signs, policy, limits) for field, signs in types.items() if signs}


def _required_types(policy: PasswordPolicy, limits: PasswordLimits) -> dict[str, str]:
    """Characters of which each password has one, by the field or the engine's word for them."""
    demanded = {name: _without(signs, policy, limits) for name, signs in limits.demanded}
    return demanded | (_included_types(policy, limits) if policy.require_each_included_type else {})


def _alphabet(policy: PasswordPolicy, limits: PasswordLimits) -> str:
    signs = "".join(_included_types(policy, limits).values())
    return signs + _without(_UNQUOTED, policy, limits) if policy.exclude_punctuation else signs


def _without(signs: str, policy: PasswordPolicy, limits: PasswordLimits) -> str:
    return "".join(sign for sign in signs if sign not in policy.exclude_characters + limits.excluded)
