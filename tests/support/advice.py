"""Does what a message of the operator tells a person to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_MOVE = re.compile(
    r"aws secretsmanager update-secret-version-stage --secret-id (\S+) --version-stage (AWS[A-Z]+)"
    r"(?: --move-to-version-id ([\w-]+))?(?: --remove-from-version-id ([\w-]+))?"
)


def follow_advice(message: str, client: SecretsManagerClient) -> None:
    """Run the one command of ``aws`` in a message."""
    ((secret_id, stage, to, remove_from),) = _MOVE.findall(message)
    named = {"MoveToVersionId": to, "RemoveFromVersionId": remove_from}
    client.update_secret_version_stage(
        SecretId=secret_id, VersionStage=stage, **{name: version for name, version in named.items() if version}
    )
