"""Random values for API keys and tokens: which keys of a secret value they replace, and how they are generated.

Pure except for the system's randomness. Must not know databases or webhooks.
"""

from __future__ import annotations

import base64
import json
import secrets
import string
import uuid
from collections.abc import Callable, Iterable

from rotated_secrets.api.rotation import PasswordPolicy, RandomValue, Rotation, Strategy, ValueFormat
from rotated_secrets.databases.base import PasswordLimits
from rotated_secrets.json_object import BYTE_ORDER_MARK
from rotated_secrets.rotation.password import (
    MINIMUM_BITS,
    InvalidPasswordPolicy,
    bits_of,
    check_policy,
    length_of,
    make_password,
)
from rotated_secrets.values import InvalidSecretValue, SecretText, SecretValue

Draw = Callable[[], SecretText]
"""Generates a new value with each call."""

_ALPHANUMERIC = string.ascii_letters + string.digits
_HEXADECIMAL = 16
_UNLIMITED = PasswordLimits()


def value_generator(rotation: Rotation, limits: PasswordLimits = _UNLIMITED) -> Draw:
    """Return a function that generates new values: passwords or, with RandomValue, what ``rotation.random`` says.

    ``limits`` are those of the engine. The returned function raises InvalidPasswordPolicy.
    """
    if rotation.strategy is not Strategy.RANDOM_VALUE:
        return lambda: make_password(rotation.password, limits)
    wanted, policy = random_settings(rotation), rotation.password
    if wanted.format is ValueFormat.PASSWORD:
        return lambda: _prefixed(wanted.prefix, make_password(policy, limits).reveal())
    return lambda: _prefixed(wanted.prefix, _drawn(wanted.format, length_of(policy)))


def check_generator(rotation: Rotation, limits: PasswordLimits = _UNLIMITED) -> None:
    """Raises: InvalidPasswordPolicy, if no value is possible or it would be too weak; names the field to change."""
    form, policy = random_settings(rotation).format, rotation.password
    if rotation.strategy is not Strategy.RANDOM_VALUE or form is ValueFormat.PASSWORD:
        check_policy(policy, limits)
        return
    if ignored := _ignored(form, policy):
        raise InvalidPasswordPolicy(
            f"rotation.random.format {form} ignores {' and '.join(ignored)}; remove it, or write format: Password"
        )
    length = length_of(policy)
    if form is ValueFormat.HEX and length % 2:
        raise InvalidPasswordPolicy(
            f"rotation.password.length is {length}, and two hexadecimal digits make a byte; write an even number"
        )
    if form is ValueFormat.BASE64URL and length % 4 == 1:
        raise InvalidPasswordPolicy(
            f"rotation.password.length is {length}, a length that base64 text cannot have; write {length + 1}"
        )
    bits = _bits(form, length)
    if bits < MINIMUM_BITS:
        raise InvalidPasswordPolicy(
            f"{length} characters of rotation.random.format {form} have {bits:.0f} bits of entropy, and at least "
            f"{MINIMUM_BITS} are needed; raise rotation.password.length"
        )


def check_keys(rotation: Rotation, value: SecretValue) -> None:
    """Raises: InvalidSecretValue, if the value lacks a key that is to be replaced."""
    keys, fields = random_settings(rotation).keys, value.fields
    if value.is_binary:
        raise InvalidSecretValue(f"the secret value {value.problem}; store text as SecretString")
    if fields is None:
        if value.text.reveal().removeprefix(BYTE_ORDER_MARK).lstrip().startswith(("{", "[")):
            raise InvalidSecretValue(
                f"the secret value looks like JSON but {value.problem}; correct it, since the whole text would be "
                "replaced"
            )
        if keys != RandomValue().keys:
            raise InvalidSecretValue(
                "the secret value is plain text, and rotation.random.keys names keys of a JSON object; "
                "leave keys out to replace the whole text, or make it a JSON object"
            )
        return
    value.check_unrepeated(keys)
    missing = [key for key in keys if not isinstance(fields.get(key), str)]
    if missing:
        raise InvalidSecretValue(
            f"the secret value has no text at {', '.join(missing)}, which rotation.random.keys names for replacement; "
            "add one, or correct keys"
        )


def with_new_values(rotation: Rotation, value: SecretValue, draw: Draw) -> SecretValue:
    """Return the next version's value: each key with a different new value, or plain text replaced as a whole.

    Raises:
        InvalidSecretValue: see :func:`check_keys`.
    """
    check_keys(rotation, value)
    if value.fields is None:
        return SecretValue.parse(draw().reveal())
    return value.replacing(**{key: draw().reveal() for key in random_settings(rotation).keys})


def random_settings(rotation: Rotation) -> RandomValue:
    return rotation.random or RandomValue()


def difference(now: SecretValue, then: SecretValue, but: Iterable[str]) -> str | None:
    """Return the first key, other than the keys ``but``, in which two JSON objects differ; None if they are equal."""
    ours, theirs = dict(now.fields or {}), dict(then.fields or {})
    for key in (*ours, *theirs):
        if key not in but and (key not in ours or key not in theirs or _text(ours[key]) != _text(theirs[key])):
            return key
    return None


def _text(found: object) -> str:
    """Return a text for comparisons: in Python NaN does not equal itself, and 1 equals True."""
    return json.dumps(found)


def _prefixed(prefix: str, drawn: str) -> SecretText:
    return SecretText(prefix + drawn)


def _drawn(form: ValueFormat, length: int) -> str:
    match form:
        case ValueFormat.UUID:
            return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
        case ValueFormat.HEX:
            return secrets.token_hex(length // 2)
        case ValueFormat.BASE64URL:
            return base64.urlsafe_b64encode(secrets.token_bytes(length * 6 // 8)).rstrip(b"=").decode()
        case _:
            return "".join(secrets.choice(_ALPHANUMERIC) for _ in range(length))


def _bits(form: ValueFormat, length: int) -> float:
    match form:
        case ValueFormat.UUID:
            return 122  # the version and the variant take six (RFC 9562, section 5.4)
        case ValueFormat.HEX:
            return bits_of(length, _HEXADECIMAL)
        case ValueFormat.BASE64URL:
            return length * 6 // 8 * 8
        case _:
            return bits_of(length, len(_ALPHANUMERIC))


def _ignored(form: ValueFormat, policy: PasswordPolicy) -> list[str]:
    """Fields that are set, although this format does not use them."""
    used_fields = set() if form is ValueFormat.UUID else {"length"}
    return [
        f"rotation.password.{field.alias}"
        for name, field in PasswordPolicy.model_fields.items()
        if name not in used_fields and getattr(policy, name) != field.default
    ]
