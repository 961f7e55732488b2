"""The keys of secret values, and which of them messages may name. Pure.

A person may write a password in the place of a key, so only keys of the known schema are shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

KNOWN_KEYS: Final = (
    *("engine", "host", "port", "username", "password", "dbname", "ssl", "masterarn"),
    *("dbInstanceIdentifier", "dbClusterIdentifier"),
    *("authSource", "nodes", "acl_persistence", "user_arn"),
)
"""Keys of a secret value that messages may name: those that the operator reads, and AWS's own. Any other may be text
that a person wrote into the wrong place, such as a password.

Source: "JSON structure of AWS Secrets Manager secrets", AWS Secrets Manager User Guide; docs/reference.md.
"""


def key_shown(key: str) -> str:
    """Return a key of a secret value as messages may show it."""
    return key if key in KNOWN_KEYS else "a key that the operator does not know"


def keys_shown(keys: Iterable[str]) -> str:
    """Return the keys of a secret value as messages may show them: the known ones, and how many others there are."""
    found = set(keys)
    known = [key for key in KNOWN_KEYS if key in found]
    others = len(found) - len(known)
    return ", ".join([*known, *([f"{others} other key{'s' if others > 1 else ''}"] if others else [])]) or "no keys"
