"""The sandbox's Secrets Manager does what AWS documents, where moto alone does not.

Pages are those of the AWS Secrets Manager API Reference, https://docs.aws.amazon.com/secretsmanager/latest/apireference/.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from sandbox.secretsmanager import ROOT, SecretsManager

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

FIRST, SECOND, THIRD = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abc")


@pytest.fixture
def client(store: SecretsManager) -> SecretsManagerClient:
    return store.client()


@pytest.fixture
def secret(client: SecretsManagerClient) -> str:
    """A secret with one version, FIRST."""
    return client.create_secret(Name="shop/orders-db", SecretString="one", ClientRequestToken=FIRST)["ARN"]


def put(client: SecretsManagerClient, secret: str, version: str, value: str, *stages: str) -> None:
    client.put_secret_value(
        SecretId=secret, ClientRequestToken=version, SecretString=value, VersionStages=list(stages or ["AWSCURRENT"])
    )


def stages(client: SecretsManagerClient, secret: str) -> dict[str, set[str]]:
    described = client.describe_secret(SecretId=secret)
    return {version: set(labels) for version, labels in described["VersionIdsToStages"].items()}


def refused(code: str) -> Any:
    return pytest.raises(ClientError, match=rf"\({code}\)")


class TestPutSecretValue:
    """API_PutSecretValue.html"""

    @pytest.mark.parametrize("stage", ["AWSPENDING", "AWSCURRENT", "CUSTOM"])
    def test_a_used_token_with_another_value_is_refused(
        self, client: SecretsManagerClient, secret: str, stage: str
    ) -> None:
        """ "if the secret data is different, then the operation fails because you can't modify an existing version" """
        put(client, secret, SECOND, "two", stage)
        with refused("ResourceExistsException"):
            put(client, secret, SECOND, "other", stage)
        assert client.get_secret_value(SecretId=secret, VersionId=SECOND)["SecretString"] == "two"

    def test_a_used_token_with_the_same_value_does_nothing(self, client: SecretsManagerClient, secret: str) -> None:
        """ "the operation succeeds but does nothing": it moves no label either."""
        put(client, secret, SECOND, "two", "AWSPENDING")
        answer = client.put_secret_value(
            SecretId=secret, ClientRequestToken=SECOND, SecretString="two", VersionStages=["AWSCURRENT"]
        )
        assert (answer["VersionId"], answer["VersionStages"]) == (SECOND, ["AWSPENDING"])
        assert stages(client, secret) == {FIRST: {"AWSCURRENT"}, SECOND: {"AWSPENDING"}}

    def test_a_token_whose_version_lost_its_labels_is_still_used(
        self, client: SecretsManagerClient, secret: str
    ) -> None:
        put(client, secret, SECOND, "two", "AWSPENDING")
        client.update_secret_version_stage(SecretId=secret, VersionStage="AWSPENDING", RemoveFromVersionId=SECOND)
        with refused("ResourceExistsException"):
            put(client, secret, SECOND, "other", "AWSPENDING")

    def test_pending_alone_leaves_current_where_it_is(self, client: SecretsManagerClient, secret: str) -> None:
        put(client, secret, SECOND, "two", "AWSPENDING")
        assert stages(client, secret) == {FIRST: {"AWSCURRENT"}, SECOND: {"AWSPENDING"}}
        assert client.get_secret_value(SecretId=secret)["SecretString"] == "one"

    def test_a_label_moves_to_the_new_version(self, client: SecretsManagerClient, secret: str) -> None:
        """ "Secrets Manager removes the label from the other version and attaches it to this version" """
        put(client, secret, SECOND, "two", "AWSPENDING")
        put(client, secret, THIRD, "three", "AWSPENDING")
        assert stages(client, secret) == {FIRST: {"AWSCURRENT"}, THIRD: {"AWSPENDING"}}

    def test_previous_goes_where_current_really_was_and_other_labels_stay(
        self, client: SecretsManagerClient, secret: str
    ) -> None:
        """ "moves the staging label AWSPREVIOUS to the version that AWSCURRENT was removed from" """
        put(client, secret, SECOND, "two", "AWSPENDING", "CUSTOM")
        client.update_secret_version_stage(
            SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=SECOND, RemoveFromVersionId=FIRST
        )
        put(client, secret, THIRD, "three")
        assert stages(client, secret) == {THIRD: {"AWSCURRENT"}, SECOND: {"AWSPREVIOUS", "AWSPENDING", "CUSTOM"}}

    def test_the_first_version_is_always_current(self, client: SecretsManagerClient) -> None:
        """ "If this operation creates the first version for the secret, then Secrets Manager automatically attaches
        the staging label AWSCURRENT to it." """
        arn = client.create_secret(Name="empty")["ARN"]
        put(client, arn, FIRST, "one", "AWSPENDING")
        assert stages(client, arn) == {FIRST: {"AWSPENDING", "AWSCURRENT"}}

    def test_one_of_two_at_once_wins(self, client: SecretsManagerClient, secret: str) -> None:
        start = threading.Barrier(2)

        def attempt(value: str) -> str:
            start.wait(10)
            try:
                put(client, secret, SECOND, value, "AWSPENDING")
            except ClientError as error:
                return error.response["Error"]["Code"]
            return value

        with ThreadPoolExecutor(2) as pool:
            outcomes = set(pool.map(attempt, ("left", "right")))
        (winner,) = outcomes - {"ResourceExistsException"}
        assert client.get_secret_value(SecretId=secret, VersionId=SECOND)["SecretString"] == winner


class TestUpdateSecretVersionStage:
    """API_UpdateSecretVersionStage.html"""

    def finish(self, client: SecretsManagerClient, secret: str) -> None:
        client.update_secret_version_stage(
            SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=SECOND, RemoveFromVersionId=FIRST
        )

    def test_previous_follows_current(self, client: SecretsManagerClient, secret: str) -> None:
        """ "automatically moves the label AWSPREVIOUS to the version that AWSCURRENT was removed from" """
        put(client, secret, SECOND, "two", "AWSPENDING")
        self.finish(client, secret)
        assert stages(client, secret) == {FIRST: {"AWSPREVIOUS"}, SECOND: {"AWSPENDING", "AWSCURRENT"}}
        client.update_secret_version_stage(
            SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=FIRST, RemoveFromVersionId=SECOND
        )
        assert stages(client, secret) == {FIRST: {"AWSCURRENT"}, SECOND: {"AWSPENDING", "AWSPREVIOUS"}}

    @pytest.mark.parametrize("named", [None, THIRD])
    @pytest.mark.parametrize("stage", ["AWSCURRENT", "AWSPENDING"])
    def test_a_label_is_taken_only_from_the_version_that_was_named(
        self, client: SecretsManagerClient, secret: str, stage: str, named: str | None
    ) -> None:
        """ "If the label is attached and you either do not specify this parameter, or the version ID does not match,
        then the operation fails." """
        put(client, secret, SECOND, "two", "AWSPENDING")
        put(client, secret, THIRD, "three", "CUSTOM")
        before = stages(client, secret)
        with refused("InvalidParameterException"):
            client.update_secret_version_stage(
                SecretId=secret,
                VersionStage=stage,
                MoveToVersionId=THIRD,
                **({"RemoveFromVersionId": named} if named else {}),
            )
        assert stages(client, secret) == before

    def test_a_repeated_move_is_refused(self, client: SecretsManagerClient, secret: str) -> None:
        put(client, secret, SECOND, "two", "AWSPENDING")
        self.finish(client, secret)
        with refused("InvalidParameterException"):
            self.finish(client, secret)

    def test_a_refused_move_changes_nothing(self, client: SecretsManagerClient, secret: str) -> None:
        before = stages(client, secret)
        with refused("InvalidParameterException"):
            client.update_secret_version_stage(
                SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=THIRD, RemoveFromVersionId=FIRST
            )
        assert stages(client, secret) == before

    def test_current_is_moved_never_removed(self, client: SecretsManagerClient, secret: str) -> None:
        with refused("InvalidParameterException"):
            client.update_secret_version_stage(SecretId=secret, VersionStage="AWSCURRENT", RemoveFromVersionId=FIRST)
        assert stages(client, secret) == {FIRST: {"AWSCURRENT"}}

    def test_it_counts_as_a_change(self, client: SecretsManagerClient, secret: str) -> None:
        """API_DescribeSecret.html, LastChangedDate: "modified in any way" """
        put(client, secret, SECOND, "two", "AWSPENDING")
        before = client.describe_secret(SecretId=secret)["LastChangedDate"]
        deadline = time.monotonic() + 10
        while client.describe_secret(SecretId=secret)["LastChangedDate"] == before:
            assert time.monotonic() < deadline
            client.update_secret_version_stage(SecretId=secret, VersionStage="CUSTOM", MoveToVersionId=SECOND)
            client.update_secret_version_stage(SecretId=secret, VersionStage="CUSTOM", RemoveFromVersionId=SECOND)


class TestReading:
    def test_versions_without_a_label_are_not_described(self, client: SecretsManagerClient, secret: str) -> None:
        """API_DescribeSecret.html: "A list of the versions of the secret that have staging labels attached." """
        put(client, secret, SECOND, "two", "AWSPENDING")
        client.update_secret_version_stage(SecretId=secret, VersionStage="AWSPENDING", RemoveFromVersionId=SECOND)
        assert stages(client, secret) == {FIRST: {"AWSCURRENT"}}
        (listed,) = client.list_secrets()["SecretList"]
        assert listed["SecretVersionsToStages"] == {FIRST: ["AWSCURRENT"]}

    def test_without_a_version_the_current_one_is_read(self, client: SecretsManagerClient, secret: str) -> None:
        """API_GetSecretValue.html and API_BatchGetSecretValue.html"""
        put(client, secret, SECOND, "two", "AWSPENDING")
        client.update_secret_version_stage(
            SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=SECOND, RemoveFromVersionId=FIRST
        )
        assert client.get_secret_value(SecretId=secret)["SecretString"] == "two"
        (value,) = client.batch_get_secret_value(SecretIdList=[secret])["SecretValues"]
        assert (value["VersionId"], value["SecretString"]) == (SECOND, "two")

    def test_a_label_that_no_version_has(self, client: SecretsManagerClient, secret: str) -> None:
        """API_GetSecretValue.html: ResourceNotFoundException, HTTP Status Code: 400"""
        with refused("ResourceNotFoundException") as caught:
            client.get_secret_value(SecretId=secret, VersionStage="AWSPENDING")
        assert "staging label: AWSPENDING" in str(caught.value)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400

    def test_the_version_and_the_label_must_agree(self, client: SecretsManagerClient, secret: str) -> None:
        """API_GetSecretValue.html: "the two parameters must refer to the same secret version" """
        with refused("InvalidRequestException"):
            client.get_secret_value(SecretId=secret, VersionId=FIRST, VersionStage="AWSPENDING")

    def test_versions_are_listed_with_the_date_they_were_made(self, client: SecretsManagerClient, secret: str) -> None:
        """API_ListSecretVersionIds.html"""
        put(client, secret, SECOND, "two", "AWSPENDING")
        client.update_secret_version_stage(SecretId=secret, VersionStage="AWSPENDING", RemoveFromVersionId=SECOND)
        first = client.get_secret_value(SecretId=secret)["CreatedDate"]
        listed = client.list_secret_version_ids(SecretId=secret)
        assert listed["ARN"] == secret
        assert [(each["VersionId"], each["CreatedDate"]) for each in listed["Versions"]] == [(FIRST, first)]
        page = client.list_secret_version_ids(SecretId=secret, IncludeDeprecated=True, MaxResults=1)
        rest = client.list_secret_version_ids(
            SecretId=secret, IncludeDeprecated=True, MaxResults=1, NextToken=page["NextToken"]
        )
        assert [each["VersionId"] for each in page["Versions"] + rest["Versions"]] == [FIRST, SECOND]
        assert "NextToken" not in rest

    def test_versions_of_a_secret_that_is_not_there(self, client: SecretsManagerClient) -> None:
        with refused("ResourceNotFoundException"):
            client.list_secret_version_ids(SecretId="nobody")


class TestListSecrets:
    """API_ListSecrets.html"""

    def test_a_page_holds_a_hundred(self, client: SecretsManagerClient) -> None:
        for number in range(101):
            client.create_secret(Name=f"s{number}", SecretString="{}")
        first = client.list_secrets(MaxResults=100)
        second = client.list_secrets(MaxResults=100, NextToken=first["NextToken"])
        assert (len(first["SecretList"]), len(second["SecretList"])) == (100, 1)
        assert "NextToken" not in second

    def test_no_more_than_a_hundred_are_to_be_had(self, client: SecretsManagerClient) -> None:
        """MaxResults: "Valid Range: Minimum value of 1. Maximum value of 100." """
        with refused("InvalidParameterException"):
            client.list_secrets(MaxResults=101)

    def test_a_made_up_token_is_refused(self, client: SecretsManagerClient) -> None:
        with refused("InvalidNextTokenException"):
            client.list_secrets(NextToken="yesterday's")

    def test_secrets_on_their_way_out_are_left_out(self, client: SecretsManagerClient, secret: str) -> None:
        client.delete_secret(SecretId=secret)
        assert client.list_secrets()["SecretList"] == []


class TestRotateSecret:
    """API_RotateSecret.html"""

    LAMBDA = "arn:aws:lambda:eu-west-1:123456789012:function:rotate"

    def test_announces_a_version_that_takes_a_value_once(self, client: SecretsManagerClient, secret: str) -> None:
        """API_DescribeSecret.html: "creates an AWSPENDING version ID before creating the new secret version" """
        client.rotate_secret(SecretId=secret, ClientRequestToken=SECOND, RotationLambdaARN=self.LAMBDA)
        assert client.describe_secret(SecretId=secret)["RotationEnabled"] is True
        assert stages(client, secret) == {FIRST: {"AWSCURRENT"}, SECOND: {"AWSPENDING"}}
        assert [each["VersionId"] for each in client.list_secret_version_ids(SecretId=secret)["Versions"]] == [FIRST]
        with refused("ResourceNotFoundException"):
            client.get_secret_value(SecretId=secret, VersionId=SECOND)
        put(client, secret, SECOND, "two", "AWSPENDING")
        with refused("ResourceExistsException"):
            put(client, secret, SECOND, "other", "AWSPENDING")

    def test_only_one_at_a_time(self, client: SecretsManagerClient, secret: str) -> None:
        """ "any later invocation of RotateSecret assumes that a previous rotation request is still in progress" """
        client.rotate_secret(SecretId=secret, RotationLambdaARN=self.LAMBDA)
        with refused("InvalidRequestException"):
            client.rotate_secret(SecretId=secret)

    def test_is_the_same_one_where_the_token_is(self, client: SecretsManagerClient, secret: str) -> None:
        """ "ClientRequestToken": "prevent the accidental creation of duplicate versions" """
        for _ in range(2):
            client.rotate_secret(SecretId=secret, ClientRequestToken=SECOND, RotationLambdaARN=self.LAMBDA)
        assert stages(client, secret) == {FIRST: {"AWSCURRENT"}, SECOND: {"AWSPENDING"}}

    def test_of_a_managed_secret_needs_no_function(self, store: SecretsManager, client: SecretsManagerClient) -> None:
        """ "For secrets that use managed rotation, omit this field." """
        made = store.client("rds").create_db_instance(
            DBInstanceIdentifier="orders",
            DBInstanceClass="db.t3.micro",
            Engine="postgres",
            MasterUsername="root",
            ManageMasterUserPassword=True,
        )["DBInstance"]["MasterUserSecret"]["SecretArn"]
        assert client.describe_secret(SecretId=made)["RotationEnabled"] is True
        client.rotate_secret(SecretId=made, ClientRequestToken=SECOND)
        assert stages(client, made)[SECOND] == {"AWSPENDING"}

    def test_can_be_turned_on_for_later(self, client: SecretsManagerClient, secret: str) -> None:
        client.rotate_secret(SecretId=secret, RotationLambdaARN=self.LAMBDA, RotateImmediately=False)
        assert client.describe_secret(SecretId=secret)["RotationEnabled"] is True
        assert stages(client, secret) == {FIRST: {"AWSCURRENT"}}

    def test_needs_a_function(self, client: SecretsManagerClient, secret: str) -> None:
        with refused("InvalidRequestException"):
            client.rotate_secret(SecretId=secret)


class TestScheduledForDeletion:
    """InvalidRequestException, on every operation's page: "The secret is scheduled for deletion." """

    @pytest.fixture(autouse=True)
    def deleted(self, client: SecretsManagerClient, secret: str) -> None:
        client.delete_secret(SecretId=secret, RecoveryWindowInDays=7)

    def test_reading_and_writing_are_refused(self, client: SecretsManagerClient, secret: str) -> None:
        with refused("InvalidRequestException"):
            client.get_secret_value(SecretId=secret, VersionStage="AWSPENDING")
        with refused("InvalidRequestException"):
            put(client, secret, SECOND, "two", "AWSPENDING")
        with refused("InvalidRequestException"):
            client.update_secret_version_stage(SecretId=secret, VersionStage="CUSTOM", MoveToVersionId=FIRST)

    def test_describing_says_so(self, client: SecretsManagerClient, secret: str) -> None:
        """API_DescribeSecret.html, DeletedDate"""
        assert client.describe_secret(SecretId=secret)["DeletedDate"]


class TestServer:
    def test_says_who_asks(self, store: SecretsManager) -> None:
        assert store.client("sts").get_caller_identity()["Account"] == store.access_key_id

    def test_accounts_do_not_see_each_other(self, store: SecretsManager) -> None:
        arn = store.client().create_secret(Name="mine", SecretString="{}")["ARN"]
        assert f":{store.region}:{store.access_key_id}:secret:mine-" in arn
        assert store.empty_account().client().list_secrets()["SecretList"] == []

    def test_is_gone_even_when_its_starter_is_killed(self) -> None:
        program = (
            "from sandbox.secretsmanager import secrets_manager\n"
            "with secrets_manager() as store: print(store.endpoint_url, flush=True); input()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as starter:
            assert starter.stdout
            address = urlsplit(starter.stdout.readline().strip())
            starter.kill()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection((address.hostname or "", address.port or 0), 5).close()
            except ConnectionRefusedError:
                return
            except ConnectionResetError:
                pass  # it is just going
            time.sleep(0.02)
        pytest.fail(f"{address.geturl()} still answers")
