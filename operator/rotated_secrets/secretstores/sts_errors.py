"""What STS's errors mean to whoever wants a role taken on: what its owner, or the cluster's, has to mend.

Messages never quote a token; where they name the cluster's issuer, it is what AWS reads in the token itself.
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
"""Whom a token must be for. Source: "Create a role for OpenID Connect federation", IAM User Guide."""
EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException"})


def translate_assuming(
    error: ClientError | BotoCoreError, role: AssumedRole, token: SecretText | None, region: str
) -> StoreError:
    """The store's error for one of STS's. Source: "Errors" of AssumeRole and AssumeRoleWithWebIdentity, AWS STS."""
    operation = "AssumeRole" if token is None else "AssumeRoleWithWebIdentity"
    asked = AwsCall(f"{operation} on {role}", region)
    if not isinstance(error, ClientError):
        if isinstance(error, sdk.ParamValidationError):
            return StoreRefused(f"the AWS client refuses {asked}; correct source.credentials")
        return translate(error, asked)
    code = str(error.response["Error"].get("Code", ""))
    metadata = error.response["ResponseMetadata"]
    status = metadata.get("HTTPStatusCode", 0)
    log.info("AWS answered %s with %s: request id %s", asked, code or status, metadata.get("RequestId", "unknown"))
    if code in THROTTLING:
        return StoreThrottled(f"AWS throttles {asked} ({code}); it is tried again later")
    if code == "IDPCommunicationError" or status >= 500:
        return StoreUnavailable(f"AWS failed at {asked} ({code or status}); it is tried again later")
    if code == "RegionDisabledException":
        return StoreRefused(f"AWS STS is not active in {region} for account {role.account}; activate it there")
    said = f"{code}: {_words(error, token)}" if _words(error, token) else code
    if token is None:
        return _refused_to_operator(code, said, error, role, asked)
    return _refused_to_token(code, said, role, token, asked)


def _refused_to_operator(code: str, said: str, error: ClientError, role: AssumedRole, asked: AwsCall) -> StoreError:
    if code in BAD_CREDENTIALS:
        return translate(error, asked)
    if code == "AccessDenied":
        condition = {"StringEquals": {"sts:ExternalId": role.external_id}}
        return AccessDenied(
            f"AWS does not let the operator assume {role} ({said}); its trust policy must allow sts:AssumeRole to the "
            f"operator's identity with \"Condition\": {json.dumps(condition)}, and the operator's identity must be "
            "allowed sts:AssumeRole on it"
        )
    return StoreRefused(f"AWS refuses {asked} ({code}); correct source.credentials.roleArn")


def _refused_to_token(code: str, said: str, role: AssumedRole, token: SecretText, asked: AwsCall) -> StoreError:
    url = _issuer(token)
    issuer = url.partition("://")[2] if url else "ISSUER"
    if code == "AccessDenied":
        condition = {"StringEquals": {f"{issuer}:sub": role.subject, f"{issuer}:aud": AUDIENCE}}
        provider = f"arn:{role.arn.split(':')[1]}:iam::{role.account}:oidc-provider/{issuer}"
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
    return StoreRefused(f"AWS refuses {asked} ({code}); correct source.credentials.roleArn")


def _words(error: ClientError, token: SecretText | None) -> str:
    """AWS's own. Those about a request that is malformed quote it, and are not told."""
    words = str(error.response["Error"].get("Message", ""))
    if token is not None:
        words = words.replace(token.reveal(), "***")
    return VARYING.sub("…", words)


def _issuer(token: SecretText) -> str | None:
    """Who issued a token, by its own word: what AWS looks for a provider by."""
    parts = token.reveal().split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        issuer = claims["iss"]
    except (IndexError, ValueError, KeyError, TypeError):
        return None
    return issuer if isinstance(issuer, str) else None
