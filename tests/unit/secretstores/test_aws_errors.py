"""The same failure has the same message each time; what differs is in the log."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rotated_secrets.secretstores.aws_errors import AwsCall, translate

FIRST, SECOND = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"
VERSION = "aaaaaaaa-2222-3333-4444-555555555555"
CANARY = "hunter2-canary"


def answered(code: str, words: str, request_id: str, retries: int, operation: str = "GetSecretValue") -> str:
    response: Any = {
        "Error": {"Code": code, "Message": words},
        "ResponseMetadata": {"HTTPStatusCode": 400, "RequestId": request_id, "RetryAttempts": retries},
    }
    asked = AwsCall(operation, "eu-west-1", "shop/orders", f", version {VERSION}")
    return str(translate(ClientError(response, operation), asked))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ThrottlingException", "Rate exceeded"),
        ("AccessDeniedException", "Access to KMS is not allowed (Service: AWSKMS; Request ID: {id}; Proxy: null)"),
        ("InvalidSignatureException", "Signature expired: 20261122T0437{id:.2}Z is earlier than 20261122T0442{id:.2}Z"),
        ("InternalServiceError", "An error occurred on the server side."),
        ("SomethingNewException", "as AWS says it"),
    ],
)
def test_repeated_failure_has_the_same_message(caplog: pytest.LogCaptureFixture, code: str, words: str) -> None:
    caplog.set_level(logging.INFO)
    message = {answered(code, words.format(id=each), each, retries) for retries, each in enumerate((FIRST, SECOND))}
    assert len(message) == 1
    assert [line.partition(" in ")[2] for line in caplog.messages] == [
        f"eu-west-1 with {code}: request id {FIRST}, attempts 1",
        f"eu-west-1 with {code}: request id {SECOND}, attempts 2",
    ]


def test_message_names_the_version() -> None:
    assert VERSION in answered("InvalidParameterException", f"not attached to version {VERSION}.", FIRST, 0)


def test_log_does_not_quote_the_request(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert CANARY not in answered("ValidationException", f"Value '{CANARY}' is bad", FIRST, 0, "PutSecretValue")
    assert caplog.messages
    assert CANARY not in caplog.text


def test_missing_secret_is_not_logged_at_info_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    answered("ResourceNotFoundException", "can't find it", FIRST, 0)
    assert caplog.messages == []
