"""Compare a stored hash with a password. This shows which of a user's two passwords is which, without a login.

Pure. Source: mysql-server, sql/auth/sha2_password.cc and mysys/crypt_genhash_impl.cc; the algorithm is Ulrich Drepper's
"Unix crypt using SHA-256 and SHA-512" with a salt of 20 bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from rotated_secrets.values import SecretText

_CACHING = re.compile(rb"\$A\$([0-9A-Fa-f]{3})\$(.{20})([./0-9A-Za-z]{43})", re.DOTALL)
_SHA256 = re.compile(rb"\$5\$(.{20})\$([./0-9A-Za-z]{43})", re.DOTALL)
_NATIVE = re.compile(rb"\*[0-9A-F]{40}")
_ROUNDS_UNIT = 1000
_SHA256_ROUNDS = 5000
_MOST_ROUNDS = 200_000
"""More than a server is likely to use: the number comes from the server."""

_ALPHABET = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# The order in which the digest's bytes are written, three for four letters.
_GROUPS = (
    *((0, 10, 20), (21, 1, 11), (12, 22, 2), (3, 13, 23), (24, 4, 14)),
    *((15, 25, 5), (6, 16, 26), (27, 7, 17), (18, 28, 8), (9, 19, 29)),
)


def is_of(stored: bytes, password: SecretText) -> bool | None:
    """Whether this is the password's; None where it is a hash of a kind that is not known here."""
    text = password.reveal().encode()
    if found := _CACHING.fullmatch(stored):
        rounds = int(found[1], 16) * _ROUNDS_UNIT
        return hmac.compare_digest(_crypt(text, found[2], rounds), found[3]) if rounds <= _MOST_ROUNDS else None
    if found := _SHA256.fullmatch(stored):
        return hmac.compare_digest(_crypt(text, found[1], _SHA256_ROUNDS), found[2])
    if _NATIVE.fullmatch(stored):
        return hmac.compare_digest(native(text), stored)
    return None


def native(password: bytes) -> bytes:
    """What mysql_native_password stores."""
    twice = hashlib.sha1(hashlib.sha1(password).digest()).hexdigest()  # noqa: S324 - the server's choice
    return b"*" + twice.upper().encode()


def _crypt(password: bytes, salt: bytes, rounds: int) -> bytes:
    size = len(password)
    mixed = hashlib.sha256(password + salt + password).digest()
    first = password + salt + (mixed * (size // 32 + 1))[:size]
    bits = size
    while bits:
        first += mixed if bits & 1 else password
        bits >>= 1
    digest = hashlib.sha256(first).digest()
    from_password = (hashlib.sha256(password * size).digest() * (size // 32 + 1))[:size]
    from_salt = (hashlib.sha256(salt * (16 + digest[0])).digest() * (len(salt) // 32 + 1))[: len(salt)]
    for number in range(rounds):
        odd = number & 1
        digest = hashlib.sha256(
            (from_password if odd else digest)
            + (from_salt if number % 3 else b"")
            + (from_password if number % 7 else b"")
            + (digest if odd else from_password)
        ).digest()
    written = [_letters(digest[a] << 16 | digest[b] << 8 | digest[c], 4) for a, b, c in _GROUPS]
    return b"".join(written) + _letters(digest[31] << 8 | digest[30], 3)


def _letters(bits: int, count: int) -> bytes:
    return bytes(_ALPHABET[bits >> 6 * place & 0x3F] for place in range(count))
