"""What the answers of AWS mean to the credentials that they were asked with, and how many clients are kept."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import EndpointConnectionError

from rotated_secrets.secretstores import aws
from rotated_secrets.secretstores.aws import MAX_CLIENTS, AwsSettings, AwsStores
from rotated_secrets.secretstores.base import StoreUnavailable
from rotated_secrets.secretstores.least_recent import LeastRecent


def role_of(own: AwsStores, name: str, key: str = "AKIAROLE") -> AwsStores:
    """Stores of a role whose credentials have been fetched."""
    expires = "2126-01-01T00:00:00Z"
    fetched = {"access_key": key, "secret_key": "s", "token": "t", "expiry_time": expires}
    credentials = RefreshableCredentials.create_from_metadata(fetched, lambda: fetched, "test")
    return own.with_credentials(credentials, identity_name=name, account="111122223333", on_rejected=lambda: None)


def signs_with(client: Any) -> str:
    """The access key that this client signs with."""
    return str(client.generate_presigned_url("get_caller_identity")).partition("X-Amz-Credential=")[2].partition("%")[0]


@pytest.mark.parametrize(
    ("code", "rejected"),
    [("ExpiredTokenException", 1), ("InvalidClientTokenId", 1), ("AccessDeniedException", 0), ("Throttling", 0)],
)
def test_credentials_that_aws_does_not_accept_are_thrown_away_and_others_are_not(code: str, rejected: int) -> None:
    seen: list[int] = []
    settings = AwsSettings(region="eu-west-1")
    stores = AwsStores(settings, session=boto3.session.Session(), on_rejected=lambda: seen.append(1))
    events = stores.client("sts", "eu-west-1").meta.events
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    events.emit("response-received.sts.GetCallerIdentity", parsed_response=answer)
    assert len(seen) == rejected


def host_of(client: Any, operation: str = "get_caller_identity") -> str:
    """The host that this client asks."""
    return str(client.generate_presigned_url(operation)).partition("://")[2].partition("/")[0]


@pytest.mark.parametrize("region", ["us-east-1-fips", "fips-us-east-1"])
def test_region_as_older_sdks_write_it_means_fips_endpoints_of_every_identity(
    region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOPERATOR")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    own = AwsStores(AwsSettings(region=region))
    for stores in (own, role_of(own, "role")):
        assert stores.region == "us-east-1"
        assert host_of(stores.client("sts", "us-east-1")) == "sts-fips.us-east-1.amazonaws.com"
        assert host_of(stores.client("sts", "us-west-2")) == "sts-fips.us-west-2.amazonaws.com"
        listing = host_of(stores.client("secretsmanager", "us-east-1"), "list_secrets")
        assert listing == "secretsmanager-fips.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    ("variables", "host"),
    [
        ({}, "sts.us-east-1.amazonaws.com"),
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "sts-fips.us-east-1.amazonaws.com"),
        ({"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "sts.us-east-1.api.aws"),
        ({"AWS_STS_REGIONAL_ENDPOINTS": "regional"}, "sts.us-east-1.amazonaws.com"),
        ({"AWS_STS_REGIONAL_ENDPOINTS": "legacy"}, "sts.amazonaws.com"),
        ({"AWS_ENDPOINT_URL_STS": "https://vpce-1.example.com"}, "vpce-1.example.com"),
    ],
    ids=str,
)
def test_variables_of_the_sdk_choose_the_endpoint_of_sts_for_every_identity(
    variables: dict[str, str], host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    aws._session_of_roles.cache_clear()  # as in a process that is started with the variables
    assert host_that_gives_credentials(monkeypatch, tmp_path) == host
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOPERATOR")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    own = AwsStores(AwsSettings(region="us-east-1"))
    for stores in (own, role_of(own, "role")):
        assert host_of(stores.client("sts", "us-east-1")) == host
    aws._session_of_roles.cache_clear()


def host_that_gives_credentials(monkeypatch: pytest.MonkeyPatch, folder: Path) -> str:
    """The host that the SDK itself asks for the operator's credentials, with a token as IRSA has it."""
    (folder / "token").write_text("token")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/operator")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(folder / "token"))
    asked: list[str] = []

    def stop(request: AWSPreparedRequest, **_: object) -> None:
        asked.append(str(request.url))
        raise EndpointConnectionError(endpoint_url=request.url)

    monkeypatch.setattr(AwsStores, "_watch", lambda _, client: client.meta.events.register("before-send.sts", stop))
    with pytest.raises(StoreUnavailable):
        AwsStores(AwsSettings(region="us-east-1", attempts=1)).client("sts", "us-east-1").get_caller_identity()
    return asked[0].partition("://")[2].partition("/")[0]


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("secretsmanager", "list_secrets"),
        ("rds", "describe_db_instances"),
        ("redshift", "describe_clusters"),
        ("elasticache", "describe_users"),
    ],
)
def test_with_the_variable_for_fips_every_service_is_asked_at_such_an_endpoint(
    service: str, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOPERATOR")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    aws._session_of_roles.cache_clear()
    own = AwsStores(AwsSettings(region="us-east-1"))
    for stores in (own, role_of(own, "role")):
        assert host_of(stores.client(service, "us-west-2"), operation) == f"{service}-fips.us-west-2.amazonaws.com"
    aws._session_of_roles.cache_clear()


def test_endpoint_that_is_set_is_used_also_where_fips_endpoints_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOPERATOR")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    own = AwsStores(AwsSettings(region="us-east-1-fips", endpoint_url="https://vpce-1.example.com"))
    assert own.at()._client.meta.endpoint_url == "https://vpce-1.example.com"
    assert host_of(own.client("sts", "us-east-1")) == "sts-fips.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-gov-west-1", "secretsmanager.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "secretsmanager.cn-north-1.amazonaws.com.cn"),
        ("eusc-de-east-1", "secretsmanager.eusc-de-east-1.amazonaws.eu"),
        ("us-iso-east-1", "secretsmanager.us-iso-east-1.c2s.ic.gov"),
        ("us-isob-east-1", "secretsmanager.us-isob-east-1.sc2s.sgov.gov"),
    ],
)
def test_secrets_of_every_partition_are_asked_for_at_its_endpoint(
    region: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOPERATOR")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    assert host_of(AwsStores(AwsSettings(region=region)).client("secretsmanager", region), "list_secrets") == host


def test_clients_of_all_identities_have_one_bound_and_those_not_used_for_longest_are_made_again() -> None:
    own = AwsStores(AwsSettings(region="eu-west-1"), recent=LeastRecent(3))
    role = role_of(own, "role")
    home, sts = own.at(), own.client("sts", "eu-west-1")
    assert role.at("eu-west-1") is role.at("eu-west-1")
    assert own.at() is home, "which makes STS the one that was not used for longest"
    role.at("xx-invented-1")
    assert own.at() is home
    assert own.client("sts", "eu-west-1") is not sts


def test_regions_that_do_not_exist_take_no_memory_for_ever() -> None:
    own = AwsStores(AwsSettings(region="eu-west-1"))
    first = weakref.ref(own.at("xx-invented-0"))
    for number in range(1, MAX_CLIENTS + 1):
        own.at(f"xx-invented-{number}")
    gc.collect()
    assert first() is None


def test_identity_that_is_gone_is_not_kept_for_its_clients() -> None:
    own = AwsStores(AwsSettings(region="eu-west-1"))
    role = role_of(own, "role")
    role.at()
    gone = weakref.ref(role)
    del role
    gc.collect()
    assert gone() is None
    own.at()


def test_each_role_signs_with_its_own_credentials_and_never_with_the_operators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOPERATOR")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    own = AwsStores(AwsSettings(region="eu-west-1"))
    one, two = role_of(own, "one", "AKIAONE"), role_of(own, "two", "AKIATWO")
    clients = [each.client("sts", "eu-west-1") for each in (one, two, own)]
    assert [signs_with(each) for each in clients] == ["AKIAONE", "AKIATWO", "AKIAOPERATOR"]
