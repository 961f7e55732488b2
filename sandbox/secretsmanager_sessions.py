"""IAM roles of the sandbox, taken on by STS as AWS documents it: moto gives anyone any role, and checks no key.

A role's trust policy decides who gets it, its inline policies which actions its sessions may do (resources are not
looked at), and the tag ``sandbox:seconds`` how long a session lasts. Tokens are read, not verified: who could forge one
is a test that only fools itself.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any
from xml.sax.saxutils import escape

from moto.iam.models import IAMBackend, Role, iam_backends

SECONDS = "sandbox:seconds"
SECRET_MARK = "sandbox-session-key-"
TOKEN_MARK = "sandbox-session-token-"
"""What the secret parts of every session begin with, so that a test can look where they got to."""
NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
ASSUMING = frozenset({"AssumeRole", "AssumeRoleWithWebIdentity"})
OPERATORS = {"StringEquals": lambda found, wanted: found == wanted, "StringLike": fnmatchcase}

Parameters = Mapping[str, str]


class Refusal(Exception):
    """AWS says no; ``code`` is its error's."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status

    @property
    def xml(self) -> str:
        """For services that speak the query protocol."""
        sent = f"<Error><Type>Sender</Type><Code>{self.code}</Code><Message>{escape(str(self))}</Message></Error>"
        return f"<ErrorResponse>{sent}<RequestId>{secrets.token_hex(8)}</RequestId></ErrorResponse>"

    @property
    def json(self) -> str:
        """For services that speak JSON."""
        return json.dumps({"__type": self.code, "message": str(self)})


@dataclass(frozen=True)
class Session:
    """What an access key stands for that STS gave out."""

    account: str
    role: Role
    token: str
    expires: float

    def check_may(self, service: str, operation: str) -> None:
        """Raises: Refusal."""
        action = f"{service}:{operation}"
        for document in map(json.loads, self.role.policies.values()):
            if any(_names(each.get("Action"), action) for each in _statements(document)):
                return
        raise Refusal("AccessDeniedException", f"User: {self.role.arn} is not authorized to perform: {action}")


class Sessions:
    """Everybody who has taken on a role."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    def of(self, access_key: str, token: str | None) -> Session | None:
        """Whose key this is; None for one that STS did not give out.

        Raises: Refusal, where it is of no use (any more). Source: "Common Errors", AWS Secrets Manager API Reference.
        """
        if not access_key.startswith("ASIA"):
            return None
        found = self._sessions.get(access_key)
        if found is None or found.token != token:
            raise Refusal("UnrecognizedClientException", "The security token included in the request is invalid.")
        if found.expires <= time.time():
            raise Refusal("ExpiredTokenException", "The security token included in the request is expired")
        return found

    def assume(self, parameters: Parameters, caller: str | None) -> str:
        """The answer to one of :data:`ASSUMING`, as XML; ``caller`` is the account that asks, where one does.

        Raises: Refusal.
        """
        operation, arn = parameters["Action"], parameters["RoleArn"]
        account = arn.split(":")[4]
        backend = iam_backends[account]["aws"]
        if operation == "AssumeRole":
            principal = {"AWS": {caller or "", f"arn:aws:iam::{caller}:root"}}
            context = {"sts:ExternalId": parameters.get("ExternalId", "")}
            who = f"arn:aws:iam::{caller}:root"
        else:
            claims = _claims(parameters.get("WebIdentityToken", ""))
            principal, context = _federated(backend, account, claims)
            who = ""
        role = next((each for each in backend.roles.values() if each.arn == arn), None)
        if role is None or not _is_trusted(role, f"sts:{operation}", principal, context):
            on = f" on resource: {arn}" if who else ""
            user = f"User: {who} is not" if who else "Not"
            raise Refusal("AccessDenied", f"{user} authorized to perform: sts:{operation}{on}", 403)
        return self._begun(operation, account, role, parameters["RoleSessionName"])

    @staticmethod
    def who(account: str) -> str:
        """GetCallerIdentity, as far as anybody asks: the account. (moto's own answer takes its whole start.)"""
        known = {"Arn": f"arn:aws:iam::{account}:root", "UserId": account, "Account": account}
        given = "".join(f"<{tag}>{value}</{tag}>" for tag, value in known.items())
        result = f"<GetCallerIdentityResult>{given}</GetCallerIdentityResult>"
        return f'<GetCallerIdentityResponse xmlns="{NAMESPACE}">{result}</GetCallerIdentityResponse>'

    def _begun(self, operation: str, account: str, role: Role, name: str) -> str:
        tags = {each["Key"]: each["Value"] for each in role.tags or ()}
        key = f"ASIA{account}{secrets.token_hex(2).upper()}"
        session = Session(
            account, role, TOKEN_MARK + secrets.token_hex(32), time.time() + float(tags.get(SECONDS, "3600"))
        )
        self._sessions[key] = session
        until = datetime.fromtimestamp(session.expires, UTC).isoformat()
        given = {
            "AccessKeyId": key,
            "SecretAccessKey": SECRET_MARK + secrets.token_hex(20),
            "SessionToken": session.token,
            "Expiration": until,
        }
        credentials = "".join(f"<{tag}>{value}</{tag}>" for tag, value in given.items())
        user = f"arn:aws:sts::{account}:assumed-role/{role.name}/{name}"
        return (
            f'<{operation}Response xmlns="{NAMESPACE}"><{operation}Result>'
            f"<Credentials>{credentials}</Credentials>"
            f"<AssumedRoleUser><AssumedRoleId>{role.id}:{name}</AssumedRoleId><Arn>{user}</Arn></AssumedRoleUser>"
            f"</{operation}Result></{operation}Response>"
        )


def _claims(token: str) -> dict[str, Any]:
    try:
        payload = token.split(".")[1]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        raise Refusal("InvalidIdentityToken", "The ID Token provided is not a valid JWT.") from None
    return claims


def _federated(
    backend: IAMBackend, account: str, claims: Mapping[str, Any]
) -> tuple[dict[str, set[str]], dict[str, str]]:
    """Whom a token makes of its bearer. Source: "Errors", AssumeRoleWithWebIdentity."""
    issuer = str(claims["iss"]).partition("://")[2]
    arn = f"arn:aws:iam::{account}:oidc-provider/{issuer}"
    provider = backend.open_id_providers.get(arn)
    if provider is None:
        raise Refusal("InvalidIdentityToken", f"No OpenIDConnect provider found in your account for {claims['iss']}")
    audience = next((each for each in claims["aud"] if each in provider.client_id_list), None)
    if audience is None:
        raise Refusal("InvalidIdentityToken", "Incorrect token audience")
    if claims["exp"] <= time.time():
        raise Refusal("ExpiredTokenException", "Token expired")
    return {"Federated": {arn}}, {f"{issuer}:sub": str(claims["sub"]), f"{issuer}:aud": audience}


def _is_trusted(role: Role, action: str, principal: Mapping[str, set[str]], context: Mapping[str, str]) -> bool:
    document = json.loads(role.assume_role_policy_document)
    return any(
        _names(each.get("Action"), action)
        and any(_listed(each["Principal"].get(kind)) & names for kind, names in principal.items())
        and all(_holds(name, wanted, context) for name, wanted in (each.get("Condition") or {}).items())
        for each in _statements(document)
    )


def _holds(operator: str, wanted: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    """A key that is not in the context does not match, nor does an operator that is not known here."""
    compare = OPERATORS.get(operator)
    return compare is not None and all(
        key in context and any(compare(context[key], each) for each in _listed(value)) for key, value in wanted.items()
    )


def _statements(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    found = document["Statement"]
    yield from (each for each in ([found] if isinstance(found, dict) else found) if each["Effect"] == "Allow")


def _names(actions: Any, action: str) -> bool:
    return any(fnmatchcase(action.lower(), each.lower()) for each in _listed(actions))


def _listed(value: Any) -> set[str]:
    return {value} if isinstance(value, str) else set(value or ())
