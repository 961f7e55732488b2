"""Moves a stage from one version to another, and tells a refusal of the store from a stage that others have moved.

AWS's answers do not tell the two apart: a request that came too late for its signature, or a proxy, is refused as well.
"""

from __future__ import annotations

from rotated_secrets.rotation.ports import LookAgain
from rotated_secrets.secretstores.base import SecretStore, StoreRefused
from rotated_secrets.values import Arn, Stage, VersionId


def move_stage(
    store: SecretStore, arn: Arn, stage: Stage, *, to: VersionId | None = None, remove_from: VersionId
) -> None:
    """Move a stage away from a version.

    Raises:
        LookAgain: it was on that version no longer.
        StoreError: the store refuses to move it, or it is not known whether it did.
    """
    try:
        store.move_stage(arn, stage, to=to, remove_from=remove_from)
    except StoreRefused as error:
        if store.describe(arn).version_at(stage) == remove_from:
            raise
        raise LookAgain(f"{stage} was moved meanwhile: {error}") from error
