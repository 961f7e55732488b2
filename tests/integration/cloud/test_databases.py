"""Where a managed secret's database is, and what is a copy of it, by the word of RDS and Redshift."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from rotated_secrets.cloud.arns import Resource, database_of
from rotated_secrets.cloud.calls import CloudDenied, CloudRefused, CloudUnavailable, DatabaseNotFound
from rotated_secrets.cloud.instances import Databases
from rotated_secrets.values import Arn, Endpoint
from sandbox.secretsmanager import SecretsManager
from tests.integration.cloud.conftest import Clock, Rds

SECRET = Arn("arn:aws:secretsmanager:eu-west-1:111122223333:secret:rds!db-1-AbCdEf")
INSTANCE = "arn:aws:rds:eu-west-1:111122223333:db:orders"


def resource(arn: str) -> Resource:
    found = Resource.of(arn)
    assert found is not None
    return found


def address(instance: dict[str, Any]) -> tuple[str, int]:
    return instance["Endpoint"]["Address"], instance["Endpoint"]["Port"]


# ---- by its tags


@pytest.mark.parametrize(
    ("key", "arn"),
    [
        ("aws:rds:primaryDBInstanceArn", INSTANCE),
        ("aws:rds:primarydbinstancearn", INSTANCE),
        ("aws:rds:primaryDBClusterArn", "arn:aws:rds:eu-west-1:111122223333:cluster:orders"),
        ("aws:redshift:primaryClusterArn", "arn:aws:redshift:eu-west-1:111122223333:cluster:orders"),
    ],
)
def test_tag_of_aws_tells_the_database(key: str, arn: str) -> None:
    found = database_of({"team": "orders", key: arn}, SECRET)
    assert found is not None
    assert (found.arn, found.name, found.region) == (arn, "orders", "eu-west-1")


def test_secret_that_nobody_manages_tells_none() -> None:
    assert database_of({"rds:primaryDBInstanceArn": INSTANCE, "host": "orders"}, SECRET) is None


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:rds:eu-west-1:999999999999:db:orders",
        "arn:aws:rds:us-east-1:111122223333:db:orders",
        "arn:aws:rds:eu-west-1:111122223333:cluster:orders",
        "arn:aws:redshift:eu-west-1:111122223333:cluster:orders",
        "orders",
        f"{INSTANCE}/../others",
    ],
)
def test_database_must_be_of_the_secrets_own_account_and_region_and_of_the_tags_kind(arn: str) -> None:
    with pytest.raises(CloudRefused):
        database_of({"aws:rds:primaryDBInstanceArn": arn}, SECRET)


# ---- where it answers


def test_instance_has_its_end_point_and_our_name_of_its_engine(rds: Rds, databases: Databases) -> None:
    theirs = {"postgres": "postgres", "mariadb": "mariadb", "mysql": "mysql", "oracle-se2": "oracle"}
    for name, ours in {**theirs, "sqlserver-ex": "sqlserver"}.items():
        made = rds.instance(name, name, port=6000, EngineVersion="1.0")
        place = databases.locate(resource(made["DBInstanceArn"]))
        assert place == Endpoint(ours, made["Endpoint"]["Address"], 6000)


def test_engine_that_is_not_rotated_here_is_said_so(rds: Rds, databases: Databases) -> None:
    made = rds.cluster("orders", "neptune")
    with pytest.raises(CloudRefused, match="DB cluster orders in eu-west-1 runs neptune, which the operator does not"):
        databases.locate(resource(made["DBClusterArn"]))


@pytest.mark.parametrize("engine", ["aurora-postgresql", "aurora-mysql"])
def test_cluster_has_the_end_point_of_its_writer(rds: Rds, databases: Databases, engine: str) -> None:
    made = rds.cluster("orders", engine)
    assert databases.locate(resource(made["DBClusterArn"])) == Endpoint(engine, made["Endpoint"], made["Port"])


def test_redshift_cluster_has_its_end_point(account: SecretsManager, databases: Databases) -> None:
    made = account.client("redshift").create_cluster(
        ClusterIdentifier="orders", NodeType="ra3.xlplus", MasterUsername="root", MasterUserPassword="Passw0rd1"
    )["Cluster"]
    arn = f"arn:aws:redshift:eu-west-1:{account.access_key_id}:cluster:orders"
    assert databases.locate(resource(arn)) == Endpoint("redshift", made["Endpoint"]["Address"], 5439)


def test_answer_counts_for_a_while(rds: Rds, databases: Databases, clock: Clock) -> None:
    orders = resource(rds.instance("orders")["DBInstanceArn"])
    for _ in range(3):
        databases.locate(orders)
    assert clock.asked == ["DescribeDBInstances ok"]
    clock.now += 301
    databases.locate(orders)
    assert clock.asked == ["DescribeDBInstances ok"] * 2


def test_database_that_is_gone_is_named(databases: Databases, account: SecretsManager) -> None:
    with pytest.raises(DatabaseNotFound, match="finds no DB instance gone in eu-west-1"):
        databases.locate(resource(f"arn:aws:rds:eu-west-1:{account.access_key_id}:db:gone"))
    with pytest.raises(DatabaseNotFound, match="finds no Redshift cluster gone in eu-west-1"):
        databases.locate(resource(f"arn:aws:redshift:eu-west-1:{account.access_key_id}:cluster:gone"))


# ---- what is a copy of what


def test_replica_is_a_copy_of_its_instance_and_so_is_its_own_replica(rds: Rds, databases: Databases) -> None:
    primary = address(rds.instance("orders"))
    near = address(rds.replica("orders-near", "orders", port=6001))
    far = address(rds.replica("orders-far", "orders-near", port=6002))
    assert databases.is_copy(*near, of=primary, region="eu-west-1")
    assert databases.is_copy(*far, of=primary, region="eu-west-1")


def test_replica_may_be_in_another_region(rds: Rds, databases: Databases) -> None:
    primary = rds.instance("orders")
    far = rds.replica("orders", primary["DBInstanceArn"], region="us-east-1", port=6001)
    assert databases.is_copy(*address(far), of=address(primary), region="eu-west-1")


def test_every_end_point_of_a_cluster_has_the_same_data(rds: Rds, databases: Databases) -> None:
    cluster = rds.cluster("orders", members=2)
    writer, port = cluster["Endpoint"], cluster["Port"]
    members = rds.client().describe_db_instances()["DBInstances"]
    for host in (cluster["ReaderEndpoint"], *(member["Endpoint"]["Address"] for member in members)):
        assert databases.is_copy(host, port, of=(writer, port), region="eu-west-1")
        assert databases.is_copy(writer, port, of=(members[0]["Endpoint"]["Address"], port), region="eu-west-1")


def test_host_names_are_compared_as_dns_does(rds: Rds, databases: Databases) -> None:
    primary = address(rds.instance("orders"))
    host, port = address(rds.replica("orders-near", "orders"))
    assert databases.is_copy(f"{host.upper()}.", port, of=(primary[0].upper(), primary[1]), region="eu-west-1")


def test_what_merely_looks_like_a_copy_is_none(rds: Rds, databases: Databases) -> None:
    primary = address(rds.instance("orders"))
    host, port = address(rds.replica("orders-near", "orders"))
    other = address(rds.instance("others"))
    theirs = address(rds.replica("others-near", "others"))
    for found in (other, theirs, (host, port + 1), ("orders-near.example.com", port), ("192.0.2.7", port)):
        assert not databases.is_copy(*found, of=primary, region="eu-west-1")


def test_primary_is_what_aws_says_and_not_what_it_is_called(rds: Rds, databases: Databases) -> None:
    """An admin secret whose host begins with somebody else's identifier gets no copies of theirs."""
    rds.instance("orders")
    near = address(rds.replica("orders-near", "orders"))
    for host in ("orders.example.com", "orders", "192.0.2.7", "gone.aaaaaaaaaa.eu-west-1.rds.amazonaws.com"):
        assert not databases.is_copy(*near, of=(host, 5432), region="eu-west-1")


def test_promoted_replica_is_a_copy_no_longer_once_the_answer_is_old(
    rds: Rds, databases: Databases, clock: Clock
) -> None:
    primary = address(rds.instance("orders"))
    near = address(rds.replica("orders-near", "orders"))
    assert databases.is_copy(*near, of=primary, region="eu-west-1")
    rds.client().delete_db_instance(DBInstanceIdentifier="orders-near", SkipFinalSnapshot=True)
    before = len(clock.asked)
    assert databases.is_copy(*near, of=primary, region="eu-west-1")
    assert len(clock.asked) == before
    clock.now += 301
    assert not databases.is_copy(*near, of=primary, region="eu-west-1")


# ---- how AWS says no


class Failing:
    """A client whose every call fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def describe_db_instances(self, **_: object) -> None:
        raise self._error


def answered(code: str, status: int = 400, words: str = "…") -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": words}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "DescribeDBInstances",
    )


@pytest.mark.parametrize(
    ("error", "expected", "says"),
    [
        (answered("AccessDenied", 403), CloudDenied, r"allow rds:DescribeDBInstances to the operator's identity"),
        (answered("ExpiredToken", 403), CloudDenied, r"does not accept the operator's identity .*renew its access key"),
        (answered("InvalidClientTokenId", 403), CloudDenied, r"credentials \(InvalidClientTokenId\)"),
        (
            answered("AccessDenied", 403, "with an explicit deny in a service control policy"),
            CloudDenied,
            r"\(AccessDenied: with an explicit deny in a service control policy\)",
        ),
        (answered("Forbidden", 403, "by the firewall"), CloudDenied, r"\(Forbidden: by the firewall\)"),
        (answered("RequestExpired"), CloudDenied, r"clock and AWS's differ"),
        (
            answered("SignatureDoesNotMatch", 403, "Signature not yet current: …"),
            CloudDenied,
            r"clock and AWS's differ",
        ),
        (answered("SignatureDoesNotMatch", 403), CloudDenied, r"does not accept the operator's identity"),
        (answered("Throttling"), CloudUnavailable, r"tried again later"),
        (answered("RequestTimeout"), CloudUnavailable, r"tried again later"),
        (answered("x", 408), CloudUnavailable, r"tried again later"),
        (answered("x", 429), CloudUnavailable, r"tried again later"),
        (answered("InternalFailure", 500), CloudUnavailable, r"tried again later"),
        (
            answered("InvalidParameterValue", 400, "no such filter"),
            CloudRefused,
            r"refuses DescribeDBInstances on DB instance orders in eu-west-1 \(InvalidParameterValue: no such filter\)",
        ),
        (ConnectTimeoutError(endpoint_url="https://rds"), CloudUnavailable, r"no answer from AWS"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_failures_are_told_apart(error: Exception, expected: type[Exception], says: str) -> None:
    databases = Databases(lambda service, region: Failing(error))
    with pytest.raises(expected, match=says) as caught:
        databases.locate(resource(INSTANCE))
    assert caught.value.__context__ is None
    with pytest.raises(expected):
        databases.is_copy("a.b.example.com", 1, of=("orders.b.example.com", 1), region="eu-west-1")
