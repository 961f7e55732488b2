"""How and when a credential is replaced: what users write. The docstrings are what ``kubectl explain`` shows."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from rotated_secrets.api.fields import Duration, StoreSecretId, length_of
from rotated_secrets.api.rules import CelRule, WrittenModel, text_matches, unchanged
from rotated_secrets.api.schedule_grammar import CRON_PATTERN, RATE_PATTERN

RETIRE_AFTER = "24h"
PASSWORD_LENGTH = 32


class Strategy(StrEnum):
    """How the credential is replaced."""

    SINGLE_USER = "SingleUser"
    ALTERNATING_USERS = "AlternatingUsers"
    DUAL_PASSWORD = "DualPassword"  # noqa: S105 - a strategy, not a password
    RANDOM_VALUE = "RandomValue"
    EXTERNAL = "External"


class Rights(StrEnum):
    """What to do when the base user and the clone do not have exactly the same rights."""

    ENFORCE = "Enforce"
    REPORT = "Report"
    IGNORE = "Ignore"


class ValueFormat(StrEnum):
    """What a random value is made of."""

    PASSWORD = "Password"  # noqa: S105
    HEX = "Hex"
    BASE64URL = "Base64Url"
    ALPHANUMERIC = "Alphanumeric"
    UUID = "UUID"


class PasswordPolicy(WrittenModel):
    """What new passwords look like. A policy that no password can satisfy is refused before anything is changed."""

    rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!(self.excludePunctuation && self.excludeNumbers && self.excludeUppercase && self.excludeLowercase)",
            "every kind of character is excluded: allow punctuation, numbers, upper case or lower case letters",
            lambda self: (
                not (
                    self.exclude_punctuation
                    and self.exclude_numbers
                    and self.exclude_uppercase
                    and self.exclude_lowercase
                )
            ),
        ),
    )

    length: Annotated[int, Field(ge=8, le=128)] | None = None
    """Number of characters, 8 to 128. The engine's own limits apply as well. Default: 32, or as many as the engine
    takes where that is fewer."""

    exclude_characters: Annotated[str, Field(max_length=128)] = ""
    """Characters that must not occur."""

    exclude_punctuation: bool = True
    """Leave out all punctuation except `_` and `-`, so that the password needs no quoting anywhere."""

    exclude_numbers: bool = False
    """Leave out digits."""

    exclude_uppercase: bool = False
    """Leave out uppercase letters."""

    exclude_lowercase: bool = False
    """Leave out lowercase letters."""

    require_each_included_type: bool = True
    """Use each kind of character that is not excluded at least once."""


class RandomValue(WrittenModel):
    """What RandomValue replaces, and with what."""

    keys: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=256)], ...],
        Field(max_length=16, min_length=1),
        CelRule(
            "self.all(key, self.exists_one(other, other == key))",
            "a key is named twice: name each once",
            lambda keys: len(set(keys)) == len(keys),
        ),
    ] = ("password",)
    """Keys of the secret value to replace, each by a different new value. With the default, a value that is plain text
    is replaced as a whole."""

    format: ValueFormat = ValueFormat.PASSWORD
    """Password follows `spec.rotation.password`. Hex (an even number of lowercase digits), Base64Url (`A-Z`, `a-z`,
    `0-9`, `-` and `_`, without padding) and Alphanumeric (`A-Z`, `a-z`, `0-9`) have `spec.rotation.password.length`
    characters and ignore the other fields of `spec.rotation.password`. UUID is a random UUID (version 4) in lowercase.
    A value with less than 64 bits of entropy is refused."""

    prefix: Annotated[
        str, Field(max_length=64), text_matches("[!-~]*", "write printable ASCII characters without spaces")
    ] = ""
    """Text that every new value begins with, for example `sk_live_`. It does not count as part of the length."""


class Rotation(WrittenModel):
    """How and when the credential is replaced."""

    rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.strategy != 'RandomValue' || !has(self.adminSecretId)",
            "RandomValue changes no database: leave adminSecretId out",
            lambda self: self.strategy is not Strategy.RANDOM_VALUE or self.admin_secret_id is None,
        ),
        CelRule(
            "self.strategy != 'RandomValue' || !has(self.verifyQueries) || size(self.verifyQueries) == 0",
            "RandomValue asks no database: leave verifyQueries out",
            lambda self: self.strategy is not Strategy.RANDOM_VALUE or not self.verify_queries,
        ),
        CelRule(
            "self.strategy == 'RandomValue' || !has(self.random)",
            "only RandomValue makes random values: leave random out, or write strategy: RandomValue",
            lambda self: self.strategy is Strategy.RANDOM_VALUE or self.random is None,
        ),
        CelRule(
            "self.strategy == 'DualPassword' || !has(self.retireAfter)",
            "only DualPassword retires an old password: leave retireAfter out, or write strategy: DualPassword",
            lambda self: self.strategy is Strategy.DUAL_PASSWORD or self.retire_after is None,
        ),
        CelRule(
            "self.strategy != 'External' || !has(self.adminSecretId)",
            "with External someone else sets the password: leave adminSecretId out",
            lambda self: self.strategy is not Strategy.EXTERNAL or self.admin_secret_id is None,
        ),
    )

    strategy: Strategy
    """SingleUser changes the password of the one user; for a moment the old one fails before the new one arrives.
    AlternatingUsers changes between the user and a clone of it with the same rights, so that a delivered credential
    never fails; it needs an admin secret. DualPassword gives the one user a second password and takes the first one
    away later, where the database can do that. RandomValue replaces a value that belongs to no database, for example an
    API key. External leaves the rotation to AWS: the operator asks AWS for a rotation when one is due, follows
    AWSCURRENT, and delivers it. The page of each engine says which strategies it supports."""

    schedule: (
        Annotated[
            str,
            Field(max_length=256),
            text_matches(
                f"{RATE_PATTERN}|{CRON_PATTERN}",
                "write rate(N hours), rate(N days) or cron(MINUTES HOURS DAY-OF-MONTH MONTH DAY-OF-WEEK YEAR), "
                "for example cron(0 2 ? * SUN *), in UTC; a rate is at most 999 days",
            ),
        ]
        | None
    ) = None
    """When to rotate, in AWS's grammar and in UTC: `rate(30 days)`, or `cron(0 2 ? * SUN *)` with six fields, the last
    of which is `*`. Not more often than the operator's minimum, by default every four hours; a rate is at most 999
    days. Default: only on demand, by the annotation `rotatedsecrets.io/rotate`."""

    rotate_immediately: bool = False
    """Rotate once when the resource is created. A later change of the spec never starts an unexpected rotation."""

    suspend: bool = False
    """Start no rotation while this is true. The target Secret is still kept up to date."""

    admin_secret_id: StoreSecretId | None = None
    """Name or full ARN of the secret of a user that may create users and set passwords. Default: the key `masterarn`
    of the secret value. With SingleUser and neither of them, the user changes its own password."""

    clone_suffix: Annotated[
        str,
        Field(min_length=1, max_length=16),
        text_matches("[A-Za-z0-9_]+", "write letters, digits and '_'"),
        unchanged("cloneSuffix cannot be changed: the clone user with the present suffix exists already"),
    ] = "_clone"
    """AlternatingUsers: suffix that is added to the base user's name to name its clone. Cannot be changed later, and
    must be one that the operator allows."""

    password: PasswordPolicy = PasswordPolicy()
    """What new passwords look like."""

    random: RandomValue | None = None
    """RandomValue: what is replaced, and with what. Default: the key `password` (or the whole value, if it is not a
    JSON object) is replaced by a value that follows `spec.rotation.password`."""

    retire_after: Duration | None = None
    """DualPassword: how long the old password still works after the target Secret has the new one, for example `12h`.
    This end is fixed when the new password is delivered; the next rotation ends the old password too. Default:
    `24h`."""

    verify_queries: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=2048)], ...], Field(max_length=10)
    ] = ()
    """SELECT statements that must succeed with the new credential before it becomes current, and with the present one
    before anything is changed. They run read-only, one row of each is read, and all of them together have five seconds.
    The pages of MongoDB and Redis say what a query is there."""

    rights: Rights = Rights.ENFORCE
    """AlternatingUsers: what to do when the base user and the clone do not have exactly the same rights. Enforce
    repairs the clone, Report only reports the difference, Ignore does not check."""

    @property
    def retire_delay(self) -> timedelta:
        """How long the old password still works after the new one is delivered."""
        return length_of(self.retire_after or RETIRE_AFTER)
