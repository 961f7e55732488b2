"""What the answers of AWS mean to the credentials that they were asked with."""

from __future__ import annotations

import botocore.session
import pytest

from rotated_secrets.secretstores.aws import AwsSettings, AwsStores


@pytest.mark.parametrize(
    ("code", "rejected"),
    [("ExpiredTokenException", 1), ("InvalidClientTokenId", 1), ("AccessDeniedException", 0), ("Throttling", 0)],
)
def test_credentials_that_aws_does_not_accept_are_thrown_away_and_others_are_not(code: str, rejected: int) -> None:
    seen: list[int] = []
    settings = AwsSettings(region="eu-west-1")
    stores = AwsStores(settings, session=botocore.session.Session(), on_rejected=lambda: seen.append(1))
    events = stores.client("sts", "eu-west-1").meta.events
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    events.emit("response-received.sts.GetCallerIdentity", parsed_response=answer)
    assert len(seen) == rejected
