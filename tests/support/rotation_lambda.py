"""A rotation function: one of AWS's templates, run in this process step by step, as Secrets Manager has Lambda run it.

The templates are not part of this project: :data:`FOLDER` names where a clone of
aws-samples/aws-secrets-manager-rotation-lambdas is.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

from botocore.exceptions import ClientError

from rotated_secrets.api.rotation import Strategy
from tests.support.lambda_drivers import drivers

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

FOLDER = "AWS_ROTATION_TEMPLATES"
"""The variable that names the folder of the templates."""
STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
NAMES = {"postgres": "RDSPostgreSQL", "mysql": "RDSMySQL", "mariadb": "RDSMariaDB", "mongo": "MongoDB"}
"""What the templates call the engines."""
_SCHEMES = {Strategy.SINGLE_USER: "SingleUser", Strategy.ALTERNATING_USERS: "MultiUser"}


@dataclass
class RotationLambda:
    """A template that rotates one secret."""

    module: ModuleType
    client: SecretsManagerClient
    secret_id: str

    def request(self) -> str:
        """RotateSecret: returns the id of the version that is pending, an earlier one if its rotation has not ended."""
        token = str(uuid.uuid4())
        try:
            self.client.rotate_secret(
                SecretId=self.secret_id,
                ClientRequestToken=token,
                RotationLambdaARN="arn:aws:lambda:eu-west-1:123456789012:function:template",
                RotationRules={"AutomaticallyAfterDays": 30},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidRequestException":
                raise
            return self.pending()  # "That rotation will be reattempted."
        return token

    def pending(self) -> str:
        """The version that carries AWSPENDING."""
        stages = self.client.describe_secret(SecretId=self.secret_id)["VersionIdsToStages"]
        return next(version for version, labels in stages.items() if "AWSPENDING" in labels)

    def run(self, *steps: str, token: str) -> None:
        """Run these steps. Raises what the template raises."""
        for step in steps:
            event = {"SecretId": self.secret_id, "ClientRequestToken": token, "Step": step}
            self.module.lambda_handler(event, None)

    def rotate(self) -> None:
        """A whole rotation, or the rest of one that was stopped."""
        self.run(*STEPS, token=self.request())

    def cancel(self) -> None:
        """CancelRotateSecret: from now on AWS rotates it no more."""
        if self.client.describe_secret(SecretId=self.secret_id).get("RotationEnabled"):
            self.client.cancel_rotate_secret(SecretId=self.secret_id)


@contextmanager
def rotation_lambda(
    engine: str, strategy: Strategy, client: SecretsManagerClient, secret_id: str, ca: Path
) -> Iterator[RotationLambda]:
    """The template for an engine and a strategy. ``ca`` is the file of the authority that databases are trusted by."""
    name = f"SecretsManager{NAMES[engine]}Rotation{_SCHEMES[strategy]}"
    path = Path(os.environ[FOLDER], name, "lambda_function.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, f"there is no {path}"
    module = importlib.util.module_from_spec(spec)
    root = logging.getLogger()
    level = root.level
    boto3: Any = SimpleNamespace(client=lambda service, **_: client if service == "secretsmanager" else None)
    with mock.patch.dict("sys.modules", {**drivers(str(ca)), "boto3": boto3}):
        spec.loader.exec_module(module)
    root.setLevel(level)  # a template sets it
    with mock.patch.dict(os.environ, {"SECRETS_MANAGER_ENDPOINT": client.meta.endpoint_url}):
        yield RotationLambda(module, client, secret_id)
