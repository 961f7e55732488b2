"""Translates STS errors into this package's errors, with what the owner of the role or of the cluster has to correct.

Messages never quote a token; they name the cluster's issuer as AWS reads it in the token.
"""

from __future__ import annotations

import base64
import json
import logging
from typing import TYPE_CHECKING, Final

import botocore.exceptions as sdk
from botocore.exceptions import BotoCoreError, ClientError

from rotated_secrets.secretstores.aws_errors import BAD_CREDENTIALS, THROTTLING, VARYING, AwsCall, translate
from rotated_secrets.secretstores.base import AccessDenied, StoreError, StoreRefused, StoreThrottled, StoreUnavailable
from rotated_secrets.values import SecretText

if TYPE_CHECKING:
    from rotated_secrets.secretstores.roles import AssumedRole

log = logging.getLogger(__name__)

AUDIENCE: Final = "sts.amazonaws.com"
"""The audience that a token must have. Source: "Create a role for OpenID Connect federation", IAM User Guide."""
EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException"})


def translate_assuming(
    error: ClientError | BotoCoreError, role: AssumedRole, token: SecretText | None, region: str
) -> StoreError:
    """Return the store's error. Source: "Errors" of AssumeRole and AssumeRoleWithWebIdentity, AWS STS."""
    operation = "AssumeRole" if token is None else "AssumeRoleWithWebIdentity"
    aws_call = AwsCall(f"{operation} on {role}", region)
    if not isinstance(error, ClientError):
        if isinstance(error, sdk.ParamValidationError):
            return StoreRefused(f"the AWS client refuses {aws_call}; correct source.credentials")
        return translate(error, aws_call)
    code = str(error.response["Error"].get("Code", ""))
    metadata = error.response["ResponseMetadata"]
    status = metadata.get("HTTPStatusCode", 0)
    log.info("AWS answered %s with %s: request id %s", aws_call, code or status, metadata.get("RequestId", "unknown"))
    if code in THROTTLING:
        return StoreThrottled(f"AWS throttles {aws_call} ({code}); it is tried again later")
    if code == "IDPCommunicationError" or status >= 500:
        return StoreUnavailable(f"AWS failed at {aws_call} ({code or status}); it is tried again later")
    if code == "RegionDisabledException":
        return StoreRefused(f"AWS STS is not active in {region} for account {role.account}; activate it there")
    said = f"{code}: {_aws_message(error, token)}" if _aws_message(error, token) else code
    if token is None:
        return _operator_refused(code, said, error, role, aws_call)
    return _token_refused(code, said, role, token, aws_call)


def _operator_refused(code: str, said: str, error: ClientError, role: AssumedRole, aws_call: AwsCall) -> StoreError:
    if code in BAD_CREDENTIALS:
        return translate(error, aws_call)
    if code == "AccessDenied":
        condition = {"StringEquals": {"sts:ExternalId": role.external_id}}
        return AccessDenied(
            f"AWS does not let the operator assume {role} ({said}); its trust policy must allow sts:AssumeRole to the "
            f"operator's identity with \"Condition\": {json.dumps(condition)}, and the operator's identity must be "
            "allowed sts:AssumeRole on it"
        )
    return StoreRefused(f"AWS refuses {aws_call} ({code}); correct source.credentials.roleArn")


def _token_refused(code: str, said: str, role: AssumedRole, token: SecretText, aws_call: AwsCall) -> StoreError:
    url = _issuer(token)
    issuer = url.partition("://")[2] if url else "ISSUER"
    if code == "AccessDenied":
        condition = {"StringEquals": {f"{issuer}:sub": role.subject, f"{issuer}:aud": AUDIENCE}}
        provider = f"arn:{role.arn.aws_partition}:iam::{role.account}:oidc-provider/{issuer}"
        return AccessDenied(
            f"AWS does not let {role.subject} assume {role} ({said}); its trust policy must allow "
            f'sts:AssumeRoleWithWebIdentity to "Principal": {json.dumps({"Federated": provider})} with '
            f'"Condition": {json.dumps(condition)}'
        )
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
    return StoreRefused(f"AWS refuses {aws_call} ({code}); correct source.credentials.roleArn")


def _aws_message(error: ClientError, token: SecretText | None) -> str:
    """Return AWS's message without the token and the parts that differ each time."""
    words = str(error.response["Error"].get("Message", ""))
    if token is not None:
        words = words.replace(token.reveal(), "***")
    return VARYING.sub("…", words)


def _issuer(token: SecretText) -> str | None:
    """Return the issuer that a token names, by which AWS finds the OIDC provider."""
    parts = token.reveal().split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        issuer = claims["iss"]
    except (IndexError, ValueError, KeyError, TypeError):
        return None
    return issuer if isinstance(issuer, str) else None
