"""What STS's refusals mean: who has to change what, and never the token."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError

from rotated_secrets.secretstores.base import (
    AccessDenied,
    StoreError,
    StoreRefused,
    StoreThrottled,
    StoreUnavailable,
)
from rotated_secrets.secretstores.roles import AssumedRole
from rotated_secrets.secretstores.sts_errors import translate_assuming
from rotated_secrets.values import Arn, SecretText

ARN = Arn("arn:aws-cn:iam::111122223333:role/orders")
BY_TOKEN = AssumedRole(ARN, "shop.orders", subject="system:serviceaccount:shop:orders", subject_uid="1")
BY_EXTERNAL_ID = AssumedRole(ARN, "shop.rotated-secrets", external_id="prod/shop")
CLAIMS = base64.urlsafe_b64encode(json.dumps({"iss": "https://oidc.example.com/x"}).encode()).decode().rstrip("=")
TOKEN = SecretText(f"header.{CLAIMS}.signature")


def refused(code: str, message: str = "", status: int = 400, *, by_token: bool = True) -> StoreError:
    metadata = {"HTTPStatusCode": status, "RequestId": "r"}
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}
    error = ClientError(response, "AssumeRole")
    role, token = (BY_TOKEN, TOKEN) if by_token else (BY_EXTERNAL_ID, None)
    return translate_assuming(error, role, token, "cn-north-1")


def test_denial_of_a_token_shows_the_trust_policy_that_would_allow_it() -> None:
    error = refused("AccessDenied", "Not authorized")
    assert isinstance(error, AccessDenied)
    assert "AccessDenied: Not authorized" in str(error)
    assert '"Federated": "arn:aws-cn:iam::111122223333:oidc-provider/oidc.example.com/x"' in str(error)
    assert '"oidc.example.com/x:sub": "system:serviceaccount:shop:orders"' in str(error)


def test_denial_of_the_operator_shows_the_external_id_that_the_role_must_ask_for() -> None:
    error = refused("AccessDenied", by_token=False)
    assert isinstance(error, AccessDenied)
    assert '{"StringEquals": {"sts:ExternalId": "prod/shop"}}' in str(error)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("InvalidIdentityToken", "aws iam create-open-id-connect-provider --url https://oidc.example.com/x"),
        ("ExpiredTokenException", "clocks of this cluster"),
        ("ExpiredToken", "clocks of this cluster"),
        ("IDPRejectedClaim", "issuer and its IAM OIDC provider match"),
    ],
)
def test_token_that_is_not_accepted_says_what_to_correct(code: str, says: str) -> None:
    error = refused(code)
    assert isinstance(error, AccessDenied)
    assert says in str(error)
    assert "trust policy" not in str(error)


@pytest.mark.parametrize("by_token", [True, False])
@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("Throttling", 400, StoreThrottled),
        ("IDPCommunicationError", 400, StoreUnavailable),
        ("InternalFailure", 500, StoreUnavailable),
        ("RegionDisabledException", 403, StoreRefused),
        ("MalformedPolicyDocument", 400, StoreRefused),
    ],
)
def test_other_refusals_are_of_their_kind(code: str, status: int, kind: type[StoreError], by_token: bool) -> None:
    assert type(refused(code, status=status, by_token=by_token)) is kind


def test_credentials_of_the_operator_that_aws_does_not_accept_are_no_matter_of_the_role() -> None:
    error = refused("UnrecognizedClientException", by_token=False)
    assert isinstance(error, AccessDenied)
    assert "trust policy" not in str(error)


def test_token_is_in_no_message() -> None:
    error = refused("AccessDenied", f"the token {TOKEN.reveal()} was not accepted")
    assert TOKEN.reveal() not in str(error)
    assert "***" in str(error)


def test_request_that_the_client_does_not_send_is_a_matter_of_the_spec() -> None:
    error = translate_assuming(ParamValidationError(report="x"), BY_TOKEN, TOKEN, "cn-north-1")
    assert isinstance(error, StoreRefused)
    assert "correct source.credentials" in str(error)


def test_server_that_does_not_answer_is_tried_again() -> None:
    away = EndpointConnectionError(endpoint_url="https://sts.example.com")
    assert isinstance(translate_assuming(away, BY_TOKEN, TOKEN, "cn-north-1"), StoreUnavailable)


@pytest.mark.parametrize("by_token", [True, False])
def test_explicit_deny_is_named_and_not_the_trust_policy(by_token: bool) -> None:
    words = "User: x is not authorized to perform: sts:AssumeRole with an explicit deny in a service control policy"
    error = refused("AccessDenied", words, 403, by_token=by_token)
    assert isinstance(error, AccessDenied)
    assert "; remove the explicit deny in a service control policy" in str(error)
    assert "trust policy" not in str(error)
