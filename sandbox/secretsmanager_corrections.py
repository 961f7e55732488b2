"""Where moto's Secrets Manager differs from what AWS documents: put right here, and nowhere else.

Each correction names the page of the AWS Secrets Manager API Reference that it follows. Knows moto's models; must not
know how requests arrive.
"""

from __future__ import annotations

import time
from typing import Any

from moto.secretsmanager import models
from moto.secretsmanager.exceptions import (
    InvalidParameterException,
    InvalidRequestException,
    OperationNotPermittedOnReplica,
    ResourceExistsException,
    ResourceNotFoundException,
    SecretNotFoundException,
    SecretsManagerClientError,
)

CURRENT = "AWSCURRENT"
PENDING = "AWSPENDING"
PREVIOUS = "AWSPREVIOUS"
PAGE = 100
"""Most entries in one answer: "MaxResults", ListSecrets and ListSecretVersionIds."""

Versions = dict[str, dict[str, Any]]


class InvalidNextTokenException(SecretsManagerClientError):
    """Source: "Errors", ListSecrets."""

    def __init__(self) -> None:
        super().__init__("InvalidNextTokenException", "The NextToken value is invalid.")


def install() -> None:
    """Make moto build secrets and backends of the corrected kinds; call it before the first request."""
    models.FakeSecret = DocumentedSecret  # type: ignore[misc]
    models.secretsmanager_backends.backend = DocumentedSecretsManager


def holder(versions: Versions, stage: str) -> str | None:
    """The version that carries a staging label: a label is on one version at a time."""
    return next((version_id for version_id, version in versions.items() if stage in version["version_stages"]), None)


class DocumentedSecret(models.FakeSecret):
    """A secret whose labels move as UpdateSecretVersionStage and PutSecretValue say."""

    @property
    def default_version_id(self) -> str | None:  # type: ignore[override]
        """moto remembers the version last put, so that a moved AWSCURRENT is overlooked when no version is named.

        Source: "VersionId", GetSecretValue; BatchGetSecretValue.
        """
        return holder(self.versions, CURRENT)

    def set_default_version_id(self, version_id: str | None) -> None:
        """Nothing to remember: the label says it."""

    def attach(self, stage: str, version_id: str) -> None:
        """Put a label on a version, off the one that has it; AWSPREVIOUS follows AWSCURRENT.

        Source: UpdateSecretVersionStage; "VersionStages", PutSecretValue.
        """
        left = holder(self.versions, stage)
        if left == version_id:
            return
        if left is not None:
            self.versions[left]["version_stages"].remove(stage)
        self.versions[version_id]["version_stages"].append(stage)
        if stage == CURRENT and left is not None:
            self.attach(PREVIOUS, left)

    def reset_default_version(self, secret_version: dict[str, Any], version_id: str) -> None:
        """moto strips every other label of the version that AWSCURRENT leaves. Source: PutSecretValue."""
        stages, secret_version["version_stages"] = secret_version["version_stages"], []
        self.versions[version_id] = secret_version
        for stage in stages:
            self.attach(stage, version_id)

    def _form_version_ids_to_stages(self) -> dict[str, Any]:
        """Versions without a label aren't listed. Source: "VersionIdsToStages", DescribeSecret."""
        return {
            version_id: version["version_stages"]
            for version_id, version in self.versions.items()
            if version["version_stages"]
        }


class Shelf(models.SecretsStore):
    """Finds a secret by its name or full ARN at once: moto compares with every secret it has, several times a call."""

    def __getitem__(self, key: str) -> models.FakeSecret | models.ReplicaSecret:
        return self._at(key) or super().__getitem__(key)

    def __contains__(self, key: str) -> bool:  # type: ignore[override]
        return self._at(key) is not None or super().__contains__(key)

    def _at(self, key: str) -> models.FakeSecret | models.ReplicaSecret | None:
        named = dict.get(self, key)
        if named is None and key.startswith("arn:"):
            # "…:secret:" + name + "-" + six random characters. Source: "ARN", CreateSecret.
            named = dict.get(self, key.rpartition(":")[2][:-7])
            return named if named is not None and named.arn == key else None
        return named


class DocumentedSecretsManager(models.SecretsManagerBackend):
    """One account's Secrets Manager in one region, as the API reference describes it."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.secrets = Shelf()

    def get_secret_value(self, secret_id: str, version_id: str, version_stage: str) -> dict[str, Any]:
        """A label that no version has is a missing value, not a missing secret. Source: "Errors", GetSecretValue."""
        secret = self._usable(secret_id)
        if version_stage and not version_id and holder(secret.versions, version_stage) is None:
            raise ResourceNotFoundException(
                f"Secrets Manager can't find the specified secret value for staging label: {version_stage}"
            )
        return super().get_secret_value(secret_id, version_id, version_stage)

    def put_secret_value(
        self,
        secret_id: str,
        secret_string: str,
        secret_binary: str,
        client_request_token: str,
        version_stages: list[str],
    ) -> str:
        """A used token with the same value does nothing, with another value fails, AWSPENDING or not.

        Source: "ClientRequestToken", PutSecretValue. A version that RotateSecret made has no value yet and takes one.
        """
        secret = self._writable(secret_id)
        used = secret.versions.get(client_request_token) if client_request_token else None
        if used is not None and _has_value(used):
            if (used.get("secret_string"), used.get("secret_binary")) != (secret_string, secret_binary):
                raise ResourceExistsException(
                    f"You can't use ClientRequestToken {client_request_token} because that value is already in use "
                    f"for a version of secret {secret.arn}."
                )
            return secret.to_short_dict(include_version_stages=True, version_id=client_request_token)
        return super().put_secret_value(secret_id, secret_string, secret_binary, client_request_token, version_stages)

    def update_secret_version_stage(
        self, secret_id: str, version_stage: str, remove_from_version_id: str, move_to_version_id: str
    ) -> tuple[str, str]:
        """Refuses to take a label from a version that wasn't named, and changes nothing when it refuses.

        Source: "MoveToVersionId" and "RemoveFromVersionId", UpdateSecretVersionStage.
        """
        secret = self._writable(secret_id)
        for version_id in (remove_from_version_id, move_to_version_id):
            if version_id and version_id not in secret.versions:
                raise InvalidParameterException(f"Not a valid version: {version_id}")
        attached = holder(secret.versions, version_stage)
        if remove_from_version_id and attached != remove_from_version_id:
            raise InvalidParameterException(
                f"Staging label {version_stage} is not attached to version {remove_from_version_id}."
            )
        if not remove_from_version_id and attached not in (None, move_to_version_id):
            raise InvalidParameterException(
                f"The parameter RemoveFromVersionId can't be empty. Staging label {version_stage} is currently "
                f"attached to version {attached}, so you must explicitly reference that version in RemoveFromVersionId."
            )
        if move_to_version_id:
            secret.attach(version_stage, move_to_version_id)
        elif version_stage == CURRENT:
            raise InvalidParameterException(
                f"You can only move staging label {CURRENT} to a different secret version. "
                "It can't be completely removed."
            )
        elif remove_from_version_id:
            secret.versions[remove_from_version_id]["version_stages"].remove(version_stage)
        else:
            raise InvalidParameterException("You must specify MoveToVersionId or RemoveFromVersionId.")
        secret.last_changed_date = int(time.time())  # "LastChangedDate", DescribeSecret: modified in any way
        return secret.arn, secret.name

    def rotate_secret(
        self,
        secret_id: str,
        client_request_token: str | None = None,
        rotation_lambda_arn: str | None = None,
        rotation_rules: dict[str, Any] | None = None,
        rotate_immediately: bool = True,
    ) -> str:
        """Turns rotation on and announces a version without a value; there is no Lambda here that would fill it.

        Source: RotateSecret; "VersionIdsToStages", DescribeSecret. (moto moves AWSCURRENT to the empty version.)
        What a service of AWS manages has no function, and the service rotates it: "RotationLambdaARN", RotateSecret.
        """
        secret = self._writable(secret_id)
        if not (rotation_lambda_arn or secret.rotation_lambda_arn or secret.owning_service):
            raise InvalidRequestException("No Lambda rotation function ARN is associated with this secret.")
        announced = self._from_client_request_token(client_request_token)
        if announced in secret.versions:
            # "Secrets Manager uses this value to prevent the accidental creation of duplicate versions".
            return secret.to_short_dict(version_id=announced)
        if holder(secret.versions, PENDING) not in (None, holder(secret.versions, CURRENT)):
            raise InvalidRequestException("A previous rotation isn't complete. That rotation will be reattempted.")
        secret.rotation_requested = secret.rotation_enabled = True
        secret.rotation_lambda_arn = rotation_lambda_arn or secret.rotation_lambda_arn
        secret.auto_rotate_after_days = (rotation_rules or {}).get("AutomaticallyAfterDays", 0)
        if not rotate_immediately:
            return secret.to_short_dict()
        secret.versions[announced] = {"version_id": announced, "version_stages": [], "createdate": int(time.time())}
        secret.attach(PENDING, announced)
        return secret.to_short_dict(version_id=announced)

    def create_managed_secret(self, *args: Any, **kwargs: Any) -> models.FakeSecret:
        """What a service of AWS manages is rotated by it. Source: "Managed rotation", User Guide."""
        secret = super().create_managed_secret(*args, **kwargs)
        secret.rotation_requested = secret.rotation_enabled = True
        return secret

    def list_versions(
        self, secret_id: str, include_deprecated: bool, max_results: int | None, next_token: str | None
    ) -> dict[str, Any]:
        """Versions that hold a value and, unless asked for all, carry a label; each with the date it was made.

        Source: ListSecretVersionIds. (moto lists all of them as made just now, and takes no paging.)
        """
        if not self._is_valid_identifier(secret_id):
            raise SecretNotFoundException
        secret = self.secrets[secret_id]
        listed: list[dict[str, Any]] = [
            {"VersionId": version_id, "VersionStages": version["version_stages"], "CreatedDate": version["createdate"]}
            for version_id, version in secret.versions.items()
            if _has_value(version) and (include_deprecated or version["version_stages"])
        ]
        page, token = self._get_secret_values_page_and_next_token(listed, max_results, next_token)
        return {"ARN": secret.arn, "Name": secret.name, "Versions": page, **({"NextToken": token} if token else {})}

    def _get_secret_values_page_and_next_token(
        self, secret_list: list[dict[str, Any]], max_results: int | None, next_token: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Pages hold at most a hundred, and a token is one that was given out. Source: ListSecrets."""
        if max_results is not None and not 1 <= max_results <= PAGE:
            raise InvalidParameterException(f"MaxResults must be between 1 and {PAGE}.")
        if next_token is not None and not (next_token.isdigit() and int(next_token) <= len(secret_list)):
            raise InvalidNextTokenException
        return super()._get_secret_values_page_and_next_token(secret_list, max_results, next_token)

    def _usable(self, secret_id: str) -> models.FakeSecret | models.ReplicaSecret:
        """The secret, unless it is on its way out. Source: InvalidRequestException, on the page of every operation."""
        if not self._is_valid_identifier(secret_id):
            raise SecretNotFoundException
        secret = self.secrets[secret_id]
        if secret.is_deleted():
            raise InvalidRequestException(
                "You can't perform this operation on the secret because it was marked for deletion."
            )
        return secret

    def _writable(self, secret_id: str) -> DocumentedSecret:
        secret = self._usable(secret_id)
        if not isinstance(secret, DocumentedSecret):
            raise OperationNotPermittedOnReplica
        return secret


def _has_value(version: dict[str, Any]) -> bool:
    return "secret_string" in version or "secret_binary" in version
