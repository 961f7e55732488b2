"""Values that packages exchange: ARNs, versions, stages, secret values and the credentials inside them.

Knows the JSON that AWS's rotation templates read and write. Must not know where values come from or go to. Everything
that holds a secret prints it as ``***``.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NewType, NoReturn

from rotated_secrets.host_names import host_name
from rotated_secrets.json_object import NotAnObject, parse_object, repeated_keys, with_keys_changed

SecretId = NewType("SecretId", str)
"""A secret as a person names it: a name or a full ARN."""

_ARN_PARTS: Final = 6
"""``arn:partition:service:region:account:resource``. Source: "Amazon Resource Names (ARNs)", IAM User Guide."""
_AWS: Final = re.compile(r"aws[a-z-]*:[a-z]+:[a-z0-9-]+:[0-9]{12}")
_SECRET: Final = re.compile(r"secret:(?P<name>.+?)(?P<suffix>-[A-Za-z0-9]{6})?")


class Arn(str):
    """An Amazon Resource Name: a string with its parts as properties."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Arn | None:
        """Parse an ARN; None if the text is something else, such as a secret's name."""
        found = cls(text)
        return found if text.startswith("arn:") and len(found._parts) == _ARN_PARTS else None

    @property
    def is_aws(self) -> bool:
        """Whether its partition, service, region and account have AWS's form."""
        return _AWS.fullmatch(":".join(self._parts[1:5])) is not None

    @property
    def aws_partition(self) -> str:
        """For example ``aws`` or ``aws-cn``."""
        return self._part(1)

    @property
    def service(self) -> str:
        return self._part(2)

    @property
    def region(self) -> str:
        return self._part(3)

    @property
    def account(self) -> str:
        """Twelve digits."""
        return self._part(4)

    @property
    def resource(self) -> str:
        """The part after the account, for example ``secret:NAME-SUFFIX``."""
        return self._part(5)

    @property
    def name(self) -> str:
        """A secret's name, without the hyphen and six characters that Secrets Manager adds.

        Empty if it is not the ARN of a secret. A name may end with something like a suffix: an ARN that a person wrote
        may lack its suffix, one that the store returned never does.

        Source: "What's in a Secrets Manager secret?", AWS Secrets Manager User Guide.
        """
        found = _SECRET.fullmatch(self.resource)
        return found["name"] if found else ""

    @property
    def full_name(self) -> str:
        """A secret's name with its suffix."""
        return self.resource.removeprefix("secret:")

    @property
    def has_suffix(self) -> bool:
        """Whether a secret's name ends with a hyphen and six characters, as in every ARN that the store returns."""
        found = _SECRET.fullmatch(self.resource)
        return found is not None and found["suffix"] is not None

    @property
    def _parts(self) -> list[str]:
        return self.split(":", _ARN_PARTS - 1)

    def _part(self, index: int) -> str:
        parts = self._parts
        return parts[index] if len(parts) == _ARN_PARTS else ""


VersionId = NewType("VersionId", str)


class Stage(StrEnum):
    """Staging labels that AWS attaches to versions.

    Source: "What's in a Secrets Manager secret?", AWS Secrets Manager User Guide.
    """

    CURRENT = "AWSCURRENT"
    PENDING = "AWSPENDING"
    PREVIOUS = "AWSPREVIOUS"


class InvalidSecretValue(Exception):
    """The value in the store cannot be rotated; the message says what to write instead, never the value."""


class SecretText:
    """Text that must not be seen: prints as ``***``, compares in constant time, refuses to be pickled.

    ``len()`` works, for limits; everything else needs an explicit :meth:`reveal`.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself. Call it only where it leaves for the store, the database or the target Secret."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __len__(self) -> int:
        return len(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretText):
            return NotImplemented
        return hmac.compare_digest(_bytes(self._text), _bytes(other._text))

    def __hash__(self) -> int:
        return hash(self._text)

    def into_cell(self) -> tuple[type[SecretText], tuple[str]]:
        """Give the text to a cell, which uses it."""
        return SecretText, (self._text,)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret text is not to be serialised")


@dataclass(frozen=True)
class SecretValue:
    """The value of one version: its text and, if that is a JSON object, its keys; or the bytes of a SecretBinary."""

    text: SecretText
    fields: Mapping[str, Any] | None = field(repr=False, hash=False)
    """The JSON object's keys in their order, read-only, numbers with their text; None if the text is none."""
    is_binary: bool = False
    """Whether ``text`` stands for bytes, as ``surrogateescape`` has them; they are delivered and never rotated."""

    @classmethod
    def of_bytes(cls, content: bytes) -> SecretValue:
        """Return the value of a SecretBinary."""
        return cls(SecretText(content.decode(errors="surrogateescape")), None, is_binary=True)

    @classmethod
    def parse(cls, text: str) -> SecretValue:
        """Parse a SecretString; a text that is not a JSON object, such as a token, is kept unchanged.

        So is an object that is nested too deeply. A byte order mark at the beginning is no part of the JSON.
        """
        try:
            fields = parse_object(text)
        except NotAnObject:
            return cls(SecretText(text), None)
        return cls(SecretText(text), MappingProxyType(fields))

    @property
    def problem(self) -> str:
        """Why the text is not read as a JSON object, without a word of it, to follow "the secret value"."""
        if self.is_binary:
            return "is binary (a SecretBinary), which is delivered and cannot be rotated"
        try:
            parse_object(self.text.reveal())
        except NotAnObject as error:
            return str(error)
        return ""

    @property
    def size(self) -> int:
        """Bytes that the store counts."""
        return len(_bytes(self.text.reveal()))

    def check_unrepeated(self, keys: Iterable[str]) -> None:
        """Raises: InvalidSecretValue, if one of these keys stands more than once in the JSON object."""
        repeated = set() if self.fields is None else repeated_keys(self.text.reveal()).intersection(keys)
        if repeated:
            raise InvalidSecretValue(
                f"the secret value has the key {' and the key '.join(sorted(repeated))} more than once, and which one "
                "an application reads depends on its parser; leave one of them"
            )

    def replacing(self, /, **changes: str) -> SecretValue:
        """Return this value with texts at some keys; every other byte is kept.

        Raises:
            InvalidSecretValue: it is not a JSON object, or has one of the keys more than once.
        """
        if self.fields is None:
            raise InvalidSecretValue(f"the secret value {self.problem}, so no single key of it can be changed")
        self.check_unrepeated(changes)
        return SecretValue.parse(with_keys_changed(self.text.reveal(), changes))


@dataclass(frozen=True)
class Endpoint:
    """Where a credential logs in, as far as the secret value does not have to say it."""

    engine: str | None = None
    host: str | None = None
    port: int | None = None
    has_user: bool = True
    """Whether the value must have ``username`` and ``password``; with a webhook it may have any keys."""
    overrides_value: bool = False
    """Whether this endpoint is used whatever the value says; its keys then mean something only to the webhook."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of a value that the operator reads."""
        if self.overrides_value:
            return ("username", "password") if self.has_user else ()
        return ("engine", "host", "port", "username", "password", "dbname", "ssl", "masterarn")


@dataclass(frozen=True)
class Credential:
    """A username and password and where they log in, as AWS's JSON structure names them.

    Source: "JSON structure of AWS Secrets Manager secrets", AWS Secrets Manager User Guide.
    """

    engine: str
    host: str
    username: str
    password: SecretText
    port: int | None = None
    dbname: str | None = None
    ssl: bool | None = None
    """The value's ``ssl`` key; None if it has none."""
    masterarn: SecretId | None = None
    value: SecretValue | None = field(default=None, compare=False, repr=False)
    """The whole value, for engines that read more keys."""
    arn: Arn | None = field(default=None, compare=False)
    """The secret that it was read from."""
    version_id: VersionId | None = field(default=None, compare=False)
    """The version that it was read from."""

    @classmethod
    def of(
        cls,
        value: SecretValue,
        endpoint: Endpoint = Endpoint(),
        *,
        arn: Arn | None = None,
        version_id: VersionId | None = None,
    ) -> Credential:
        """Parse the credential in a value; ``endpoint`` supplies what the value lacks.

        Raises:
            InvalidSecretValue: the value is not a JSON object, lacks a key or has one of the wrong type.
        """
        if value.fields is None and endpoint.has_user:
            raise InvalidSecretValue(
                f"the secret value {value.problem}; "
                'write {"engine": …, "host": …, "username": …, "password": …} as AWS\'s rotation templates do'
            )
        value.check_unrepeated(endpoint.keys)
        fields = {"engine": endpoint.engine, "host": endpoint.host, "port": endpoint.port}
        written = value.fields or {}
        fields |= {key: written[key] for key in endpoint.keys if written.get(key) not in (None, "")}
        needed = ("engine", "host", "username", "password") if endpoint.has_user else ("engine", "host")
        missing = [key for key in needed if not fields.get(key)]
        if missing:
            raise InvalidSecretValue(f"the secret value lacks {', '.join(missing)}; add the missing keys to its JSON")
        texts = {key: _text(fields, key) for key in ("engine", "host", "username", "password", "dbname", "masterarn")}
        return cls(
            engine=texts["engine"] or "",
            host=host_name(texts["host"] or ""),
            username=texts["username"] or "",
            password=SecretText(texts["password"] or ""),
            port=_port(fields.get("port")),
            dbname=texts["dbname"] or None,
            ssl=_flag(fields.get("ssl")),
            masterarn=SecretId(texts["masterarn"]) if texts["masterarn"] else None,
            value=value,
            arn=arn,
            version_id=version_id,
        )


def _text(fields: Mapping[str, Any], key: str) -> str | None:
    found = fields.get(key)
    if found is not None and not isinstance(found, str):
        raise InvalidSecretValue(f"{key} in the secret value must be a JSON string")
    if found and "\x00" in found:
        raise InvalidSecretValue(f"{key} in the secret value holds a NUL character, which no database accepts")
    if found and not _is_encodable(found):
        raise InvalidSecretValue(f"{key} in the secret value holds half a character (a lone surrogate); write it again")
    return found


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _port(found: object) -> int | None:
    """Parse a port, which AWS's templates and console write as a number or as a string of digits."""
    if found is None or found == "":
        return None
    if isinstance(found, (int, str)) and not isinstance(found, bool):
        text = str(found)
        if len(text) <= 5 and text.isascii() and text.isdigit() and 0 < int(text) < 65536:
            return int(text)
    raise InvalidSecretValue("port in the secret value must be a number from 1 to 65535")


def _flag(found: object) -> bool | None:
    """Parse a flag: AWS's templates accept a JSON boolean or the strings "true" and "false" in any case."""
    if found is None or isinstance(found, bool):
        return found
    if isinstance(found, str) and found.lower() in ("true", "false"):
        return found.lower() == "true"
    raise InvalidSecretValue("ssl in the secret value must be true or false")
