"""The file of the access policy: parses it, and reads it again when it changes.

Knows the format of the file, and nothing of requests.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Final

import yaml

from rotated_secrets.controller.access.policy import NAMESPACE, AccessPolicy, AccessRule
from rotated_secrets.secretstores.regions import plain_region

_log = logging.getLogger(__name__)

_PATTERN: Final = re.compile(r"([A-Za-z0-9/_+=.@!*-]|\{namespace\})+")


class InvalidPolicy(Exception):
    """The access policy cannot be read; the message says where, and what to write instead."""


def parse_policy(text: str) -> AccessPolicy:
    """Parse a policy: ``rules``, each with ``namespaces`` and ``secrets`` or ``adminSecrets`` or both.

    ``accounts`` and ``regions`` of a rule default to those of the operator.

    Raises:
        InvalidPolicy: the text is not a policy.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidPolicy(f"it is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict) or set(document) != {"rules"} or not isinstance(document["rules"], list):
        raise InvalidPolicy("write one key, rules, with a list of rules; an empty list denies everything")
    return AccessPolicy(tuple(_rule(f"rules[{index}]", written) for index, written in enumerate(document["rules"])))


_KEYS: Final = ("namespaces", "secrets", "adminSecrets", "accounts", "regions")


def _rule(where: str, written: object) -> AccessRule:
    if not isinstance(written, dict):
        raise InvalidPolicy(f"{where}: write a rule with the keys {', '.join(_KEYS)}")
    unknown = [str(key) for key in written if key not in _KEYS]
    if unknown:
        raise InvalidPolicy(f"{where}: there is no key {', '.join(unknown)}; the keys are {', '.join(_KEYS)}")
    lists = {key: _texts(f"{where}.{key}", written, key) for key in _KEYS}
    if not lists["namespaces"]:
        raise InvalidPolicy(f'{where}.namespaces: name the namespaces of this rule, or write ["*"] for all')
    if not lists["secrets"] and not lists["adminSecrets"]:
        raise InvalidPolicy(f"{where}: write secrets, or adminSecrets, or both")
    for key, wanted in (
        ("namespaces", "[a-z0-9*-]+"),
        ("accounts", "[0-9]{12}"),
        ("regions", "[a-z]{2,4}(-[a-z]+)+-[0-9]+(-fips)?"),
    ):
        for text in lists[key]:
            if not re.fullmatch(wanted, text):
                raise InvalidPolicy(f"{where}.{key}: {text!r} is not valid; {_EXAMPLES[key]}")
    for key in ("secrets", "adminSecrets"):
        for pattern in lists[key]:
            _check_pattern(f"{where}.{key}", pattern)
    regions = tuple(map(plain_region, lists["regions"]))  # as in the ARNs that they are compared with
    return AccessRule(lists["namespaces"], lists["secrets"], lists["adminSecrets"], lists["accounts"], regions)


_EXAMPLES: Final[Mapping[str, str]] = {
    "namespaces": "write a name, or a pattern such as team-*",
    "accounts": 'write twelve digits in quotes, such as "123456789012"',
    "regions": "write a region, such as eu-west-1",
}


def _texts(where: str, written: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = written.get(key, [])
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise InvalidPolicy(f"{where}: write a list of strings; quote numbers and strings that begin with * or {{")
    return tuple(found)


def _check_pattern(where: str, pattern: str) -> None:
    if not _PATTERN.fullmatch(pattern):
        raise InvalidPolicy(
            f"{where}: {pattern!r} is not a pattern for names of secrets; write letters, digits, /_+=.@-!, * for any "
            f"of them except !, and {NAMESPACE}"
        )
    if any(NAMESPACE in segment and "*" in segment for segment in pattern.split("/")):
        raise InvalidPolicy(
            f"{where}: {pattern!r} would let a namespace use secrets of other namespaces whose names begin with its "
            f"name; put a / between {NAMESPACE} and *"
        )


class AccessPolicyFile:
    """The policy in a file, read again whenever it changes. Without a file, the default."""

    def __init__(self, path: Path | None) -> None:
        """Raises InvalidPolicy if there is a path, but no valid policy at it."""
        self._path = path
        self._lock = Lock()
        self._policy = AccessPolicy.default()
        self._seen: str | None = None
        self.problem: str | None = None
        """What is wrong with the file now; the previous policy stays in force."""
        if path is not None:
            self._seen = self._read(path)
            self._policy = self._parsed(path, self._seen)

    def current(self) -> AccessPolicy:
        """Read the file if there is one and return the policy in force; an invalid file is logged once."""
        if self._path is None:
            return self._policy
        with self._lock:
            try:
                text = self._read(self._path)
                if text != self._seen or self.problem is not None:
                    self._policy, self._seen = self._parsed(self._path, text), text
                    _log.info("access policy %s has changed; the new policy is in force", self._path)
                self.problem = None
            except InvalidPolicy as error:
                if self.problem != str(error):
                    _log.error("%s; the previous policy stays in force", error)
                self.problem = str(error)
            return self._policy

    def is_current(self) -> bool:
        """Whether the policy in force is the one that is in the file now."""
        self.current()
        return self.problem is None

    @staticmethod
    def _read(path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidPolicy(f"access policy {path} cannot be read: {type(error).__name__}") from error

    @staticmethod
    def _parsed(path: Path, text: str) -> AccessPolicy:
        try:
            return parse_policy(text)
        except InvalidPolicy as error:
            raise InvalidPolicy(f"access policy {path}: {error}") from None
