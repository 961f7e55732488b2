"""Generates passwords, and rejects policies that allow no strong password. Pure except for the system's randomness."""

from __future__ import annotations

import math
import secrets
import string

from rotated_secrets.api.rotation import PASSWORD_LENGTH, PasswordPolicy
from rotated_secrets.databases.base import PasswordLimits
from rotated_secrets.values import SecretText

MINIMUM_BITS = 64
"""Least entropy: with fewer bits, an attacker who has a hash can search all passwords."""

_UNLIMITED = PasswordLimits()

_UNQUOTED = "_-"
"""Punctuation that needs no quoting in URLs, shells and connection strings. Allowed even if punctuation is excluded."""


class InvalidPasswordPolicy(Exception):
    """No password, or no strong one, meets the policy; the message says which field to change."""


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
    for name, characters in limits.demanded:
        if not any(character in alphabet for character in characters):
            raise InvalidPasswordPolicy(
                f"this engine rejects a password without {name}, and rotation.password excludes all of them; allow some"
            )
    if emptied := [field for field, characters in required.items() if not characters]:
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
    """Return a password's length: the policy's, else the default or the engine's maximum if that is shorter."""
    usual = PASSWORD_LENGTH if limits.longest is None else min(PASSWORD_LENGTH, limits.longest)
    return usual if policy.length is None else policy.length


def bits_of(length: int, characters: int) -> float:
    """Return the entropy of a text of ``length`` characters, drawn uniformly from ``characters`` different ones."""
    return length * math.log2(characters)


def make_password(policy: PasswordPolicy, limits: PasswordLimits = _UNLIMITED) -> SecretText:
    """Return a password drawn uniformly from all that meet the policy and begin with a letter, if letters are allowed.

    Raises:
        InvalidPasswordPolicy: no password meets the policy.
    """
    check_policy(policy, limits)
    alphabet, required = _alphabet(policy, limits), _required_types(policy, limits)
    first = "".join(character for character in alphabet if character in string.ascii_letters) or alphabet
    while True:  # ends soon: with at least 64 bits, even a type of one character is drawn every few tries
        drawn = secrets.choice(first) + "".join(secrets.choice(alphabet) for _ in range(length_of(policy, limits) - 1))
        if all(any(character in characters for character in drawn) for characters in required.values()):
            return SecretText(drawn)


def _included_types(policy: PasswordPolicy, limits: PasswordLimits) -> dict[str, str]:
    """The characters of each included type, by the field that excludes the type.

    Source: GetRandomPassword, AWS Secrets Manager API Reference, whose parameters the fields are named after.
    """
    types = {
        "excludeLowercase": "" if policy.exclude_lowercase else string.ascii_lowercase,
        "excludeUppercase": "" if policy.exclude_uppercase else string.ascii_uppercase,
        "excludeNumbers": "" if policy.exclude_numbers else string.digits,
        "excludePunctuation": "" if policy.exclude_punctuation else string.punctuation,
    }
    return {field: _without(characters, policy, limits) for field, characters in types.items() if characters}


def _required_types(policy: PasswordPolicy, limits: PasswordLimits) -> dict[str, str]:
    """Sets of characters of which each password has at least one, by field or by the engine's name for them."""
    demanded = {name: _without(characters, policy, limits) for name, characters in limits.demanded}
    return demanded | (_included_types(policy, limits) if policy.require_each_included_type else {})


def _alphabet(policy: PasswordPolicy, limits: PasswordLimits) -> str:
    characters = "".join(_included_types(policy, limits).values())
    return characters + _without(_UNQUOTED, policy, limits) if policy.exclude_punctuation else characters


def _without(characters: str, policy: PasswordPolicy, limits: PasswordLimits) -> str:
    excluded = policy.exclude_characters + limits.excluded
    return "".join(character for character in characters if character not in excluded)
