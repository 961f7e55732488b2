"""What the store does for a rotation, against a Secrets Manager that keeps to AWS's API reference."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import EndpointConnectionError

from rotated_secrets.secretstores.aws import AwsSettings, AwsStores
from rotated_secrets.secretstores.aws_store import AwsStore
from rotated_secrets.secretstores.base import SecretNotFound, StoreRefused, StoreUnavailable, VersionExists
from rotated_secrets.values import Arn, SecretId, SecretValue, Stage, VersionId
from sandbox.proxy import Call, Moment
from sandbox.secretsmanager import SecretsManager
from sandbox.store_proxy import StoreProxy

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

NEW = SecretValue.parse('{"password": "two"}')


def version() -> VersionId:
    return VersionId(str(uuid.uuid4()))


def current(store: AwsStore, secret: Arn) -> VersionId:
    found = store.describe(secret).version_at(Stage.CURRENT)
    assert found
    return found


def test_a_rotation_moves_the_stages_as_aws_does_and_costs_five_requests(
    store: AwsStore, secret: Arn, proxy: StoreProxy
) -> None:
    old, new = store.describe(secret).version_at(Stage.CURRENT), version()
    store.get(secret)
    store.put_pending(secret, new, NEW)
    store.move_stage(secret, Stage.CURRENT, to=new, remove_from=old)
    store.move_stage(secret, Stage.PENDING, remove_from=new)
    assert [call.name for call in proxy.calls] == [
        "DescribeSecret",
        "GetSecretValue",
        "PutSecretValue",
        "UpdateSecretVersionStage",
        "UpdateSecretVersionStage",
    ]
    assert store.describe(secret).stages == {new: {Stage.CURRENT}, old: {Stage.PREVIOUS}}


class TestDescribe:
    def test_finds_a_secret_by_name_and_by_arn(self, store: AwsStore, secret: Arn) -> None:
        found = store.describe(SecretId("shop/orders-db"))
        assert (found.arn, found.name) == (secret, "shop/orders-db")
        assert found == store.describe(secret)
        assert (found.rotation_enabled, found.owning_service, found.primary_region, found.deleted_at) == (
            False,
            None,
            None,
            None,
        )

    def test_keeps_to_the_stages_of_a_rotation(self, aws: SecretsManagerClient, store: AwsStore, secret: Arn) -> None:
        old = current(store, secret)
        for stages in (["BLUE"], ["GREEN", "AWSPENDING"]):
            aws.put_secret_value(SecretId=secret, SecretString="{}", VersionStages=stages)
        pending = store.describe(secret).version_at(Stage.PENDING)
        assert store.describe(secret).stages == {old: {Stage.CURRENT}, pending: {Stage.PENDING}}

    def test_says_who_else_rotates_it(self, aws: SecretsManagerClient, store: AwsStore, secret: Arn) -> None:
        aws.rotate_secret(
            SecretId=secret, RotationLambdaARN="arn:aws:lambda:eu-west-1:1:function:f", RotateImmediately=False
        )
        assert store.describe(secret).rotation_enabled
        assert [row.aws_rotation.enabled for row in store.list_summaries()] == [True]

    def test_says_which_database_a_managed_secret_is_for(self, account: SecretsManager, store: AwsStore) -> None:
        made = account.client("rds").create_db_instance(
            DBInstanceIdentifier="orders",
            DBInstanceClass="db.t3.micro",
            Engine="postgres",
            MasterUsername="root",
            ManageMasterUserPassword=True,
        )["DBInstance"]
        found = store.describe(SecretId(made["MasterUserSecret"]["SecretArn"]))
        assert (found.owning_service, found.rotation_enabled) == ("rds", True)
        assert found.tags["aws:rds:primaryDBInstanceArn"] == made["DBInstanceArn"]

    def test_tells_a_replica_from_its_primary(
        self, aws: SecretsManagerClient, stores: AwsStores, store: AwsStore, secret: Arn
    ) -> None:
        aws.replicate_secret_to_regions(SecretId=secret, AddReplicaRegions=[{"Region": "eu-central-1"}])
        replica = Arn(secret.replace("eu-west-1", "eu-central-1"))
        there = stores.at("eu-central-1")
        assert there.describe(replica).primary_region == "eu-west-1"
        assert [row.aws_rotation.primary_region for row in there.list_summaries()] == ["eu-west-1"]
        assert store.describe(secret).primary_region is None

    def test_says_when_a_secret_was_deleted(self, aws: SecretsManagerClient, store: AwsStore, secret: Arn) -> None:
        aws.delete_secret(SecretId=secret)
        deleted = store.describe(secret).deleted_at
        assert deleted
        assert deleted.tzinfo is UTC

    def test_says_which_secret_is_not_there_and_where(self, store: AwsStore) -> None:
        with pytest.raises(SecretNotFound, match=r"no secret shop/nobody in eu-west-1; create it"):
            store.describe(SecretId("shop/nobody"))


class TestGet:
    def test_reads_current_unless_told_otherwise(self, store: AwsStore, secret: Arn) -> None:
        pending = version()
        store.put_pending(secret, pending, NEW)
        found = store.get(secret)
        assert found.version_id == current(store, secret)
        assert found.value.fields == {"password": "one"}
        assert datetime.now(UTC) - found.created_at < timedelta(minutes=1)
        assert store.get(secret, stage=Stage.PENDING) == store.get(secret, version_id=pending)
        assert store.get(secret, stage=Stage.PENDING, version_id=pending).value == NEW

    def test_names_the_stage_that_no_version_has(self, store: AwsStore, secret: Arn, proxy: StoreProxy) -> None:
        with pytest.raises(SecretNotFound, match="stage AWSPENDING"):
            store.get(secret, stage=Stage.PENDING)
        assert proxy.count() == 1

    @pytest.mark.parametrize("content", [b"\x00hunter2", bytes(range(256)), b'{"password": "x"}'])
    def test_reads_binary_values_as_they_are(self, aws: SecretsManagerClient, store: AwsStore, content: bytes) -> None:
        found = store.get(Arn(aws.create_secret(Name=f"shop/{version()}", SecretBinary=content)["ARN"])).value
        assert found.text.reveal().encode(errors="surrogateescape") == content
        assert (found.fields, found.is_binary) == (None, True)
        assert "hunter2" not in f"{found} {found!r}"

    def test_refuses_a_deleted_secret(self, aws: SecretsManagerClient, store: AwsStore, secret: Arn) -> None:
        aws.delete_secret(SecretId=secret)
        with pytest.raises(StoreRefused, match="marked for deletion"):
            store.get(secret)

    @pytest.mark.parametrize("by", ["version", "stage"])
    def test_waits_for_a_version_that_was_put_just_now(
        self, store: AwsStore, secret: Arn, proxy: StoreProxy, by: str
    ) -> None:
        """Reads may lag behind writes: "All Secrets Manager operations are eventually consistent." """
        new = version()
        store.put_pending(secret, new, NEW)
        proxy.answer_with("ResourceNotFoundException", name="GetSecretValue", times=2)
        found = store.get(secret, version_id=new) if by == "version" else store.get(secret, stage=Stage.PENDING)
        assert found.value == NEW
        assert proxy.count("GetSecretValue") == 3

    def test_does_not_wait_for_what_was_put_and_taken_off_again(
        self, store: AwsStore, secret: Arn, proxy: StoreProxy
    ) -> None:
        new = version()
        store.put_pending(secret, new, NEW)
        store.move_stage(secret, Stage.PENDING, remove_from=new)
        with pytest.raises(SecretNotFound):
            store.get(secret, stage=Stage.PENDING)
        assert proxy.count("GetSecretValue") == 1


class TestPutPending:
    def test_keeps_every_character(self, store: AwsStore, secret: Arn) -> None:
        value, new = SecretValue.parse('{"password": "ü\\u0000\\"\\\\ 🔑", "extra": 1}'), version()
        store.put_pending(secret, new, value)
        assert store.get(secret, version_id=new).value == value

    def test_repeated_with_the_same_value_changes_nothing(self, store: AwsStore, secret: Arn) -> None:
        new = version()
        store.put_pending(secret, new, NEW)
        before = store.describe(secret)
        store.put_pending(secret, new, NEW)
        assert store.describe(secret) == before

    def test_with_another_value_is_refused(self, store: AwsStore, secret: Arn) -> None:
        new = version()
        store.put_pending(secret, new, NEW)
        with pytest.raises(VersionExists, match=f"version {new} exists already and holds another value"):
            store.put_pending(secret, new, SecretValue.parse('{"password": "three"}'))
        assert store.get(secret, version_id=new).value == NEW

    def test_a_lost_answer_is_asked_for_again(self, store: AwsStore, secret: Arn, proxy: StoreProxy) -> None:
        new = version()
        proxy.trap(1, lambda _: None, name="PutSecretValue", moment=Moment.ANSWERED)
        store.put_pending(secret, new, NEW)
        assert proxy.count("PutSecretValue") == 2
        assert store.describe(secret).version_at(Stage.PENDING) == new


class TestMoveStage:
    @pytest.fixture
    def new(self, store: AwsStore, secret: Arn) -> VersionId:
        pending = version()
        store.put_pending(secret, pending, NEW)
        return pending

    def test_refuses_a_stage_that_has_moved(self, store: AwsStore, secret: Arn, new: VersionId) -> None:
        old = current(store, secret)
        store.move_stage(secret, Stage.CURRENT, to=new, remove_from=old)
        with pytest.raises(StoreRefused, match="AWSCURRENT is not attached to version"):
            store.move_stage(secret, Stage.CURRENT, to=new, remove_from=old)

    @pytest.mark.parametrize("stage", [Stage.CURRENT, Stage.PENDING])
    def test_a_lost_answer_is_no_refusal(
        self, store: AwsStore, secret: Arn, new: VersionId, proxy: StoreProxy, stage: Stage
    ) -> None:
        """The second attempt finds the stage moved, by the first."""
        proxy.trap(1, lambda _: None, name="UpdateSecretVersionStage", moment=Moment.ANSWERED)
        if stage is Stage.CURRENT:
            store.move_stage(secret, stage, to=new, remove_from=current(store, secret))
            assert current(store, secret) == new
        else:
            store.move_stage(secret, stage, remove_from=new)
            assert store.describe(secret).version_at(stage) is None
        assert proxy.count("UpdateSecretVersionStage") == 2

    def test_someone_elses_move_during_a_retry_is_a_refusal(
        self, aws: SecretsManagerClient, store: AwsStore, secret: Arn, new: VersionId, proxy: StoreProxy
    ) -> None:
        old = current(store, secret)

        def theirs(_: Call) -> None:
            aws.put_secret_value(SecretId=secret, SecretString="{}")

        proxy.trap(1, theirs, name="UpdateSecretVersionStage")
        with pytest.raises(StoreRefused):
            store.move_stage(secret, Stage.CURRENT, to=new, remove_from=old)


class TestListSummaries:
    def test_costs_a_call_a_hundred_secrets(
        self, aws: SecretsManagerClient, store: AwsStore, secret: Arn, proxy: StoreProxy
    ) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: aws.create_secret(Name=f"s{number}", SecretString="{}"), range(200)))
        summaries = {row.arn: row for row in store.list_summaries()}
        assert len(summaries) == 201
        assert proxy.count() == proxy.count("ListSecrets") == 3
        assert summaries[secret].name == "shop/orders-db"
        assert summaries[secret].stages == store.describe(secret).stages

    def test_an_empty_account_has_none(self, store: AwsStore) -> None:
        assert list(store.list_summaries()) == []


class TestStores:
    def test_says_whose_account_it_is_and_asks_once(
        self, stores: AwsStores, account: SecretsManager, requests: list[tuple[str, str]]
    ) -> None:
        assert stores.account() == stores.account() == account.access_key_id
        assert requests == [("GetCallerIdentity", "ok")]

    def test_its_endpoint_serves_secrets_of_its_own_region_alone(
        self, stores: AwsStores, secret: Arn, proxy: StoreProxy
    ) -> None:
        stores.account()
        with pytest.raises(SecretNotFound):
            stores.at("eu-central-1").describe(SecretId("shop/orders-db"))
        assert proxy.count() == 0
        assert stores.at("eu-west-1").describe(secret).arn == stores.at().describe(secret).arn == secret
        assert proxy.count("DescribeSecret") == 2

    def test_without_an_endpoint_each_region_has_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        asked: list[str] = []
        session = boto3.session.Session("key", "secret")
        stores = AwsStores(
            AwsSettings(region="eu-west-1", endpoint_url="http://127.0.0.1:1", attempts=1), session=session
        )

        def keep_from(request: AWSPreparedRequest, **_: object) -> None:
            asked.append(request.url)
            raise EndpointConnectionError(endpoint_url=request.url)

        session.events.register("before-send", keep_from)
        for region in ("eu-west-1", "us-east-1"):
            with pytest.raises(StoreUnavailable):
                stores.at(region).describe(SecretId("shop/orders-db"))
        with pytest.raises(StoreUnavailable):
            stores.account()
        assert asked == [
            "http://127.0.0.1:1/",
            "https://secretsmanager.us-east-1.amazonaws.com/",
            "https://sts.eu-west-1.amazonaws.com/",
        ]

    def test_keeps_a_client_for_each_region(self, stores: AwsStores, secret: Arn) -> None:
        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(stores.at, ["eu-west-1", "eu-central-1", None, "eu-west-1"] * 4))
        assert found == {stores.at("eu-west-1"), stores.at("eu-central-1")}
        with pytest.raises(SecretNotFound, match="eu-central-1"):
            stores.at("eu-central-1").describe(SecretId("shop/orders-db"))

    @pytest.mark.parametrize("region", ["evil.example/", "a b", "#"])
    def test_a_region_is_a_name_never_part_of_an_address(self, stores: AwsStores, region: str) -> None:
        with pytest.raises(StoreRefused, match=r"is not an AWS region; set source\.region"):
            stores.at(region)

    def test_one_store_serves_many_threads(self, store: AwsStore, secret: Arn) -> None:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: store.get(secret), range(64)))
        assert len({each.version_id for each in found}) == 1

    def test_writes_stay_under_their_rate(
        self, connect: Callable[[AwsSettings], AwsStores], secret: Arn, proxy: StoreProxy
    ) -> None:
        store = connect(AwsSettings(region="eu-west-1", writes_per_second=5)).at()
        started = datetime.now(UTC)
        for _ in range(4):
            store.put_pending(secret, version(), NEW)
        assert datetime.now(UTC) - started >= timedelta(seconds=3 / 5)
        assert proxy.count("PutSecretValue") == 4


class TestRotate:
    LAMBDA = "arn:aws:lambda:eu-west-1:1:function:f"

    def test_begins_one_rotation_under_the_name_it_was_given_however_often_it_is_asked(
        self, aws: SecretsManagerClient, store: AwsStore, secret: Arn
    ) -> None:
        aws.rotate_secret(SecretId=secret, RotationLambdaARN=self.LAMBDA, RotateImmediately=False)
        old, new = current(store, secret), version()
        for _ in range(2):
            store.rotate(secret, new)
            assert store.describe(secret).stages == {old: {Stage.CURRENT}, new: {Stage.PENDING}}
        aws.put_secret_value(SecretId=secret, ClientRequestToken=new, SecretString="{}", VersionStages=["AWSCURRENT"])
        store.rotate(secret, new)
        assert store.describe(secret).version_at(Stage.CURRENT) == new

    def test_is_refused_while_another_has_not_ended(
        self, aws: SecretsManagerClient, store: AwsStore, secret: Arn
    ) -> None:
        aws.rotate_secret(SecretId=secret, RotationLambdaARN=self.LAMBDA)
        with pytest.raises(StoreRefused, match="previous rotation"):
            store.rotate(secret, version())

    def test_is_refused_where_nothing_is_configured_to_rotate(self, store: AwsStore, secret: Arn) -> None:
        with pytest.raises(StoreRefused, match=r"refuses RotateSecret .* function"):
            store.rotate(secret, version())

    def test_that_lost_its_answer_is_asked_again_by_the_same_name(
        self, aws: SecretsManagerClient, store: AwsStore, secret: Arn, proxy: StoreProxy
    ) -> None:
        aws.rotate_secret(SecretId=secret, RotationLambdaARN=self.LAMBDA, RotateImmediately=False)
        proxy.trap(1, lambda _: None, moment=Moment.ANSWERED, name="RotateSecret")
        store.rotate(secret, new := version())
        assert proxy.count("RotateSecret") == 2
        assert store.describe(secret).version_at(Stage.PENDING) == new
