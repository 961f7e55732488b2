"""What a value for an ElastiCache user may leave out, as AWS's own template writes it."""

from __future__ import annotations

import json

import pytest

from rotated_secrets.databases.elasticache.user import names_host, place_in, user_of
from rotated_secrets.values import Arn, Credential, Endpoint, SecretValue

ARN = "arn:aws:elasticache:eu-west-1:123456789012:user:app"
USER = {"username": "app", "password": "p", "user_arn": ARN}
API = "elasticache.eu-west-1.amazonaws.com"


def credential(**fields: object) -> Credential:
    value = SecretValue.parse(json.dumps({**USER, **fields}))
    return Credential.of(value, place_in(value) or Endpoint())


@pytest.mark.parametrize("fields", [{}, {"engine": "elasticache"}, {"engine": "", "host": ""}, {"engine": None}])
def test_the_templates_value_is_for_elasticache_and_names_no_host(fields: dict[str, object]) -> None:
    found = credential(**fields)
    assert (found.engine, found.host) == ("elasticache", API)
    assert not names_host(found)


@pytest.mark.parametrize(
    "place",
    [
        "aws-us-gov:elasticache:us-gov-west-1",
        "aws-cn:elasticache:cn-north-1",
        "aws-eusc:elasticache:eusc-de-east-1",
        "aws-iso-b:elasticache:us-isob-east-1",
    ],
)
def test_user_of_every_partition_is_one_and_belongs_to_a_secret_of_its_account(place: str) -> None:
    value = SecretValue.parse(json.dumps({**USER, "user_arn": f"arn:{place}:123456789012:user:app"}))
    secret = Arn(f"arn:{place.replace('elasticache', 'secretsmanager')}:123456789012:secret:shop/app-AbCdEf")
    assert user_of(Credential.of(value, place_in(value) or Endpoint(), arn=secret)).region == secret.region


def test_a_host_in_the_value_is_where_the_user_logs_in() -> None:
    found = credential(host="cache.example.com", port=6380)
    assert (found.engine, found.host, found.port) == ("elasticache", "cache.example.com", 6380)
    assert names_host(found)


@pytest.mark.parametrize("value", ["a token", "[]", "{}", '{"user_arn": 7}', '{"user_arn": ""}'])
def test_a_value_that_names_no_user_leaves_out_nothing(value: str) -> None:
    assert place_in(SecretValue.parse(value)) is None


@pytest.mark.parametrize("engine", ["redis", "postgres", 7])
def test_a_value_of_another_engine_is_that_engines(engine: object) -> None:
    assert place_in(SecretValue.parse(json.dumps({**USER, "engine": engine}))) is None


@pytest.mark.parametrize("fields", [{"user_arn": "app"}, {"user_arn": 7, "engine": "elasticache"}])
def test_an_arn_that_is_none_is_elasticaches_to_refuse(fields: dict[str, object]) -> None:
    found = credential(**fields)
    assert (found.engine, found.host) == ("elasticache", "elasticache.amazonaws.com")
    assert not names_host(found)
