"""Signatures by which a receiver knows that a request is ours, and when it was made.

Source: "Standard Webhooks", version 1.0.0, signature scheme v1 (HMAC-SHA256 of ``id.timestamp.body``), so that
receivers can verify them with that convention's libraries.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import NoReturn

SHORTEST_KEY = 32
"""Bytes: as many as the hash has."""
LONGEST_KEY = 4096
"""Bytes: a run holds it while it waits for its host."""

_PREFIX = "whsec_"


class InvalidKey(ValueError):
    """The key cannot be signed with; the message says what to write instead, never the key."""


class SigningKey:
    """A key that is not to be seen: it signs, and prints as ``***``."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        """Raises: InvalidKey."""
        if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
            raise InvalidKey(
                f"the key has {len(key)} bytes; it needs at least {SHORTEST_KEY}, and {LONGEST_KEY} at most"
            )
        self._key = key

    @classmethod
    def parse(cls, written: bytes) -> SigningKey:
        """The key as a Secret holds it: the bytes themselves, or ``whsec_`` and their base64, as the convention has it.

        Raises:
            InvalidKey: it is too short, or no base64.
        """
        try:
            text = written.decode("ascii").strip()
        except UnicodeDecodeError:
            return cls(written)
        if not text.startswith(_PREFIX):
            return cls(written)
        encoded = text.removeprefix(_PREFIX)
        try:
            key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise InvalidKey(f"what follows {_PREFIX} is not base64") from None
        return cls(key)

    def into_cell(self) -> tuple[type[SigningKey], tuple[bytes]]:
        """Give the key to a cell, which signs with it."""
        return SigningKey, (self._key,)

    def headers(self, request_id: str, timestamp: int, body: bytes) -> dict[str, str]:
        """The three headers of one attempt. ``timestamp`` is in seconds since 1970; neither it nor the id has a dot."""
        signed = b".".join((request_id.encode(), str(timestamp).encode(), body))
        signature = base64.b64encode(hmac.digest(self._key, signed, hashlib.sha256)).decode()
        return {
            "Webhook-Id": request_id,
            "Webhook-Timestamp": str(timestamp),
            "Webhook-Signature": f"v1,{signature}",
        }

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signing key is not to be serialised")
