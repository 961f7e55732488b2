"""Translates STS errors into this package's errors, with what the owner of the role or of the cluster has to correct.

Messages never quote a token; they name the cluster's issuer as AWS reads it in the token.
"""

from __future__ import annotations

import base64
import json
import logging
import re
from typing import TYPE_CHECKING, Final

import botocore.exceptions as sdk
from botocore.exceptions import BotoCoreError, ClientError

from rotated_secrets.secretstores.aws_errors import (
    BAD_CREDENTIALS,
    EXPIRED,
    MAX_MESSAGE,
    VARYING,
    AwsCall,
    CallOutcome,
    is_skewed,
    outcome,
    translate,
)
from rotated_secrets.secretstores.base import AccessDenied, StoreError, StoreRefused, StoreThrottled, StoreUnavailable
from rotated_secrets.secretstores.denials import explicit_deny
from rotated_secrets.values import SecretText

if TYPE_CHECKING:
    from rotated_secrets.secretstores.roles import AssumedRole

log = logging.getLogger(__name__)

DENIALS: Final = frozenset({"AccessDenied", "AccessDeniedException"})
AUDIENCE: Final = "sts.amazonaws.com"
"""The audience that a token must have. Source: "Create a role for OpenID Connect federation", IAM User Guide."""
OF_A_TENANT: Final = "correct source.credentials.roleArn"
"""What to correct where AWS does not take the name of a role."""
_PLAIN: Final = re.compile(r"[!-~]{1,512}")


def translate_assuming(
    error: ClientError | BotoCoreError,
    role: AssumedRole,
    token: SecretText | None,
    region: str,
    correct: str = OF_A_TENANT,
) -> StoreError:
    """Return the store's error. Source: "Errors" of AssumeRole and AssumeRoleWithWebIdentity, AWS STS.

    ``correct`` says where the role is named.
    """
    operation = "AssumeRole" if token is None else "AssumeRoleWithWebIdentity"
    aws_call = AwsCall(f"{operation} on {role}", region)
    if not isinstance(error, ClientError):
        if isinstance(error, sdk.ParamValidationError):
            return StoreRefused(f"the AWS client refuses {aws_call}; {correct.replace('.roleArn', '')}")
        return translate(error, aws_call)
    code = str(error.response["Error"].get("Code", ""))
    metadata = error.response["ResponseMetadata"]
    status = metadata.get("HTTPStatusCode", 0)
    log.info("AWS answered %s with %s: request id %s", aws_call, code or status, metadata.get("RequestId", "unknown"))
    if code == "RegionDisabledException":
        return StoreRefused(f"AWS STS is not active in {region} for account {role.account}; activate it there")
    words = _aws_message(error, token)
    if deny := explicit_deny(words):
        return AccessDenied(f"AWS denies {aws_call} ({code}: {words}); remove the {deny}")
    said = ": ".join(filter(None, (code or str(status), words)))
    match outcome(code, status):
        case CallOutcome.THROTTLED:
            return StoreThrottled(f"AWS throttles {aws_call} ({code or status}); it is tried again later")
        case CallOutcome.UNAVAILABLE:
            return StoreUnavailable(f"AWS failed at {aws_call} ({said}); it is tried again later")
    if token is None:
        return _operator_refused(code, said, error, role, aws_call, correct)
    return _token_refused(code, said, role, token, aws_call, correct)


def _operator_refused(
    code: str, said: str, error: ClientError, role: AssumedRole, aws_call: AwsCall, correct: str
) -> StoreError:
    if code in BAD_CREDENTIALS:
        return translate(error, aws_call)
    if code in DENIALS:
        condition = {"StringEquals": {"sts:ExternalId": role.external_id}}
        required = f' with "Condition": {json.dumps(condition)}' if role.external_id else ""
        return AccessDenied(
            f"AWS does not let the operator assume {role} ({said}); its trust policy must allow sts:AssumeRole to the "
            f"operator's identity{required}, and the operator's identity must be allowed sts:AssumeRole on it"
        )
    return StoreRefused(f"AWS refuses {aws_call} ({said}); {correct}")


def _token_refused(
    code: str, said: str, role: AssumedRole, token: SecretText, aws_call: AwsCall, correct: str
) -> StoreError:
    url = issuer_of(token)
    issuer = url.partition("://")[2] if url else "ISSUER"
    if code in DENIALS:
        condition = {"StringEquals": {f"{issuer}:sub": role.subject, f"{issuer}:aud": AUDIENCE}}
        provider = f"arn:{role.arn.aws_partition}:iam::{role.account}:oidc-provider/{issuer}"
        return AccessDenied(
            f"AWS does not let {role.subject} assume {role} ({said}); its trust policy must allow "
            f'sts:AssumeRoleWithWebIdentity to "Principal": {json.dumps({"Federated": provider})} with '
            f'"Condition": {json.dumps(condition)}'
        )
    if is_skewed(code, said.partition(": ")[2]):
        return AccessDenied(f"AWS refuses {aws_call} ({said}); correct the clocks of this cluster")
    if code == "InvalidIdentityToken":
        return AccessDenied(
            f"AWS does not accept the token of {role.subject} for {role} ({said}); account {role.account} needs an "
            f"IAM OIDC provider for this cluster, whose keys AWS can fetch: aws iam create-open-id-connect-provider "
            f"--url {url or 'https://ISSUER'} --client-id-list {AUDIENCE}"
        )
    if code in EXPIRED:
        return AccessDenied(
            f"the token of {role.subject} had expired when AWS saw it ({code}); correct the clocks of this cluster"
        )
    if code == "IDPRejectedClaim":
        return AccessDenied(
            f"AWS's checks of the token of {role.subject} for {role} failed ({said}); make the cluster's OIDC issuer "
            "and its IAM OIDC provider match"
        )
    return StoreRefused(f"AWS refuses {aws_call} ({said}); {correct}")


def _aws_message(error: ClientError, token: SecretText | None) -> str:
    """Return AWS's message without the token and the parts that differ each time."""
    words = str(error.response["Error"].get("Message") or "")[:MAX_MESSAGE]
    if token is not None:
        words = words.replace(token.reveal(), "***")
    return VARYING.sub("…", words)


def issuer_of(token: SecretText) -> str | None:
    """Return the issuer that a token names, by which AWS finds the OIDC provider."""
    return _claim(token, "iss")


def subject_of(token: SecretText) -> str | None:
    """Return whom a token names, as trust policies write it."""
    return _claim(token, "sub")


def _claim(token: SecretText, name: str) -> str | None:
    parts = token.reveal().split(".")
    try:
        claim = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))[name]
    except (IndexError, ValueError, KeyError, TypeError):
        return None
    return claim if isinstance(claim, str) and _PLAIN.fullmatch(claim) else None
