"""Every kind of answer that AWS, or something in its place, gives to a request, made from lists of parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.support.wire_aws import Fault, dropped, error, lost, page

USER: Final = "User: arn:aws:sts::123456789012:assumed-role/operator/session"
POLICIES: Final = (
    "identity-based policy",
    "resource-based policy",
    "permissions boundary",
    "session policy",
    "service control policy",
    "resource control policy",
    "VPC endpoint policy",
)
"""As AWS calls them in denials. Source: "Troubleshoot access denied error messages", IAM User Guide."""
KMS_STATES: Final = ("is disabled", "is pending deletion", "is pending import", "is unavailable")
"""Source: "Key states of AWS KMS keys", AWS KMS Developer Guide."""
PASSING: Final = "passing"
PERMANENT: Final = "permanent"
HARMLESS: Final = "harmless"
"""Of an answer after which all goes on without a word."""


@dataclass(frozen=True)
class Kind:
    """One kind of answer."""

    group: str
    name: str
    fault: Fault
    times: int = 1_000_000
    """How many requests are answered so."""
    attempts_only: bool = False
    """Whether the SDK's own next attempt succeeds."""


def kinds(operation: str, service: str) -> Iterator[Kind]:
    """Every kind of answer to this operation."""
    action = f"{service}:{operation}"
    denial = f"{USER} is not authorized to perform: {action} on resource: arn:aws:x"
    codes = ("AccessDenied",) if service == "sts" else ("AccessDeniedException",)
    for code in codes:
        for policy in POLICIES:
            yield _coded("denied", code, f"{denial} because no {policy} allows the {action} action", f"no {policy}")
            article = "an" if policy[0] in "ai" else "a"
            yield _coded("denied", code, f"{denial} with an explicit deny in {article} {policy}", f"deny in {policy}")
        yield _coded("denied", code, denial, "plain")
        yield _coded("denied", code, "", "no words")
        yield _coded("denied", code, "Access to KMS is not allowed", "KMS")
    yield _coded("denied", "UnauthorizedOperation", "You are not authorized.", "old words")
    for code in ("ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown"):
        yield _coded("throttled", code, "Rate exceeded")
    yield Kind("throttled", "429 without words", page(429, b""))
    for code, status in (
        ("InternalServiceError", 500),
        ("InternalFailure", 500),
        ("ServiceUnavailable", 503),
        ("RequestTimeout", 400),
        ("RequestTimeoutException", 408),
    ):
        yield _coded("passing", code, "", status=status)
        yield Kind("passing", f"{code} once", error(code, "", status), times=1, attempts_only=True)
    yield _coded("gone", "ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
    yield _coded("gone", "InvalidRequestException", "it was marked for deletion.", "marked for deletion")
    for code in ("DecryptionFailure", "EncryptionFailure", "KMSInvalidStateException"):
        for state in KMS_STATES:
            yield _coded("KMS", code, f"arn:aws:kms:x:key/1 {state}.", f"{code}: key {state}")
    for code in ("KMSNotFoundException", "KMSAccessDeniedException", "KMSThrottlingException", "KMSInternalException"):
        yield _coded("KMS", code, "")
    for code in ("ExpiredToken", "ExpiredTokenException"):
        yield _coded("expired", code, "The security token included in the request is expired", status=403)
    for code in (
        "IncompleteSignature",
        "InvalidClientTokenId",
        "MissingAuthenticationToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    ):
        yield _coded("credentials", code, "The security token included in the request is invalid.", status=403)
    for code in ("RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed"):
        yield _coded("skewed", code, "Request has expired. Current date is 2026-11-30T00:00:00Z", status=400)
    for code in ("InvalidSignatureException", "SignatureDoesNotMatch"):
        for words in ("Signature expired: 20261130T000000Z is now", "Signature not yet current: 20261130T000000Z is"):
            yield _coded("skewed", code, words, f"{code}: {words.partition(':')[0]}", status=403)
    for status in (200, 301, 400, 401, 403, 404, 407, 502, 504):
        yield Kind("not AWS", f"a page with {status}", page(status))
        yield Kind("not AWS", f"nothing with {status}", page(status, b""))
    yield Kind("not AWS", "JSON of another shape", page(200, b'{"a": 1}', "application/json"))
    yield Kind("not AWS", "JSON error without a code", page(403, b'{"error": "no"}', "application/json"))
    yield _coded("not AWS", "Forbidden", "blocked by policy", "a code of a firewall", status=403)
    for code in (
        "LimitExceededException",
        "InvalidParameterException",
        "PreconditionNotMetException",
        "SomethingNewException",
    ):
        yield _coded("refused", code, "as AWS says it")
    yield Kind("no answer", "closed", dropped)
    yield Kind("no answer", "closed once", dropped, times=1, attempts_only=True)
    yield Kind("no answer", "done, and the answer lost", lost, times=1, attempts_only=True)


def _coded(group: str, code: str, words: str, name: str = "", status: int = 400) -> Kind:
    return Kind(group, f"{code}: {name}" if name and code not in name else name or code, error(code, words, status))
