"""Who somebody is: the administrator by a fixed token, a ServiceAccount by one that a TokenRequest gave."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.kubernetes.embedded import errors
from sandbox.kubernetes.embedded.rbac import AUTHENTICATED, MASTERS, UNAUTHENTICATED, User, account
from sandbox.kubernetes.embedded.store import Entry, Obj

ISSUER = "https://kubernetes.default.svc"
ADMINISTRATOR = User("sandbox-admin", (MASTERS, AUTHENTICATED))
ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))
_LEAST, _USUAL = 600, 3600  # seconds
FindAccount = Callable[[str, str], Entry | None]
"""A ServiceAccount by its namespace and name."""


class Tokens:
    """A token is a JWT, as the API server's own, but for its signature: with a key that only this process has."""

    def __init__(self, administrator: str, find: FindAccount) -> None:
        self._administrator, self._find = administrator, find
        self._key = secrets.token_bytes(32)

    def user(self, header: str) -> User:
        """Of an `Authorization` header, empty where there was none. Raises ApiError 401."""
        if not header:
            return ANONYMOUS
        scheme, _, token = header.partition(" ")
        if scheme.lower() == "bearer" and secrets.compare_digest(token, self._administrator):
            return ADMINISTRATOR
        claims = self._claims(token)
        whose = claims["kubernetes.io"] if claims else {}
        found = self._find(whose["namespace"], whose["serviceaccount"]["name"]) if whose else None
        is_valid = claims and ISSUER in claims["aud"] and claims["exp"] > time.time()
        if not found or not is_valid or found.meta["uid"] != whose["serviceaccount"]["uid"]:
            raise errors.ApiError(401, "Unauthorized", "Unauthorized")
        namespace, name = found.key
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
        return User(account(namespace, name), groups)

    def issue(self, whose: Entry, request: Obj) -> Obj:
        """The TokenRequest, answered. Raises ApiError 422 where it asks for too short a life."""
        spec = request.get("spec") or {}
        seconds = spec.get("expirationSeconds") or _USUAL
        if seconds < _LEAST:
            why = f"may not specify a duration less than {_LEAST // 60} minutes"
            problem = errors.invalid_value("spec.expirationSeconds", seconds, why)
            raise errors.invalid("TokenRequest", "authentication.k8s.io", whose.meta["name"], [problem])
        audiences = spec.get("audiences") or [ISSUER]
        namespace, name = whose.key
        since = int(time.time())
        until = since + seconds
        claims = {
            "aud": audiences,
            "exp": until,
            "iat": since,
            "iss": ISSUER,
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": whose.meta["uid"]}},
            "nbf": since,
            "sub": account(namespace, name),
        }
        expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until))
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec | {"audiences": audiences, "expirationSeconds": seconds},
            "status": {"token": self._sign(claims), "expirationTimestamp": expires},
        }

    def _sign(self, claims: Mapping[str, Any]) -> str:
        said = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
        return f"{said}.{_encoded(self._signature(said))}"

    def _claims(self, token: str) -> dict[str, Any]:
        """Empty where the token is none of ours."""
        said, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), _encoded(self._signature(said)).encode()):
            return {}
        try:
            claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(said.partition(".")[2] + "=="))
        except (ValueError, binascii.Error):
            return {}
        return claims

    def _signature(self, said: str) -> bytes:
        return hmac.digest(self._key, said.encode(), hashlib.sha256)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
