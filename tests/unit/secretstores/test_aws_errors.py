"""The same failure reads the same each time it is met; what tells its times apart is in the log."""

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
def test_a_failure_is_told_in_the_same_words_each_time(caplog: pytest.LogCaptureFixture, code: str, words: str) -> None:
    caplog.set_level(logging.INFO)
    told = {answered(code, words.format(id=each), each, retries) for retries, each in enumerate((FIRST, SECOND))}
    assert len(told) == 1
    assert [line.partition(" in ")[2] for line in caplog.messages] == [
        f"eu-west-1 with {code}: request id {FIRST}, attempts 1",
        f"eu-west-1 with {code}: request id {SECOND}, attempts 2",
    ]


def test_which_version_is_meant_is_told() -> None:
    assert VERSION in answered("InvalidParameterException", f"not attached to version {VERSION}.", FIRST, 0)


def test_the_log_quotes_nothing_that_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert CANARY not in answered("ValidationException", f"Value '{CANARY}' is bad", FIRST, 0, "PutSecretValue")
    assert caplog.messages
    assert CANARY not in caplog.text


def test_what_is_not_there_is_no_line_of_an_ordinary_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    answered("ResourceNotFoundException", "can't find it", FIRST, 0)
    assert caplog.messages == []
