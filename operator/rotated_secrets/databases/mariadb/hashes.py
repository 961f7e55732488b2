"""Compute what MariaDB stores instead of a password, because it writes statements to its logs unchanged.

Pure. Knows the two plug-ins whose stored value can be computed from the password alone.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType

from rotated_secrets.databases.base import Refused
from rotated_secrets.databases.mysql.hashes import native
from rotated_secrets.values import SecretText

NATIVE = "mysql_native_password"
ED25519 = "ed25519"


def native_hash(password: bytes) -> str:
    return native(password).decode()


def ed25519_hash(password: bytes) -> str:
    """The public key to the private key that SHA-512 makes of the password, which may have any length.

    Source: "Authentication Plugin - ed25519", MariaDB documentation; RFC 8032, section 5.1.5.

    Raises:
        Refused: the library for it is not installed.
    """
    try:
        curve = import_module("nacl.bindings")
    except ImportError:
        raise Refused(
            "the authentication plug-in ed25519 needs the Python package PyNaCl, which is not installed; "
            "install it beside the operator, or give the user mysql_native_password"
        ) from None
    scalar = bytearray(hashlib.sha512(password).digest()[:32])
    scalar[0] &= 0b1111_1000
    scalar[31] = scalar[31] & 0b0011_1111 | 0b0100_0000
    public: bytes = curve.crypto_scalarmult_ed25519_base_noclamp(bytes(scalar))
    return base64.b64encode(public).decode().rstrip("=")


_HASHES: Mapping[str, Callable[[bytes], str]] = MappingProxyType({NATIVE: native_hash, ED25519: ed25519_hash})
PASSWORD_PLUGINS = frozenset(_HASHES)


def hashed(plugin: str, password: SecretText) -> str:
    """What an account with this plug-in, one of PASSWORD_PLUGINS, keeps of a password. Raises: Refused."""
    return _HASHES[plugin](password.reveal().encode())


def no_passwords_hash(base: str) -> str:
    """What the clone of a base user has until its first password: the form of a hash, and no password has it.

    A login would take a text whose SHA-1 this is, and it comes from another function.
    """
    return "*" + hashlib.sha256(f"rotated-secrets/clone-of/{base}".encode()).hexdigest()[:40].upper()
