"""The reasons of Events, and which of them are warnings."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class EventReason(StrEnum):
    """Reasons of Events, with AWS's own names where there are some. The docstrings are what docs/reference.md shows."""

    ROTATION_STARTED = "RotationStarted"
    """An attempt began. The message names the trigger, the attempt, the new version and the one that it replaces."""

    ROTATION_SUCCEEDED = "RotationSucceeded"
    """AWSCURRENT is the new version, and it is delivered."""

    ROTATION_FAILED = "RotationFailed"
    """An attempt failed before setSecret, or the third or a later one failed; or a step cannot be done now and is
    tried again, or the cluster does not take what the operator has to write for a rotation."""

    ROTATION_ABANDONED = "RotationAbandoned"
    """Someone else moved AWSCURRENT, so the rotation was stopped; or its RotatedSecret was deleted."""

    ROTATION_HELD = "RotationHeld"
    """The condition Held became True, or its reason changed."""

    ROTATION_RESUMED = "RotationResumed"
    """The condition Held became False."""

    ROLLED_BACK = "RolledBack"
    """An attempt failed after setSecret had begun, and was undone."""

    SECRET_SYNCED = "SecretSynced"  # noqa: S105 - a reason, not a password
    """The target Secret was written."""

    SECRET_DRIFT_REPAIRED = "SecretDriftRepaired"  # noqa: S105
    """Someone else had changed the target Secret; the change was undone."""

    RIGHTS_REPAIRED = "RightsRepaired"
    """Differences between the rights of base user and clone were repaired; the message names them."""

    RIGHTS_DIFFER = "RightsDiffer"
    """The rights of base user and clone differ, and were not changed; the message names the differences."""

    OLD_PASSWORD_RETIRED = "OldPasswordRetired"  # noqa: S105
    """DualPassword: the old password was taken away."""

    ROLLOUT_RESTARTED = "RolloutRestarted"
    """A workload of `spec.rollout.restart` restarts with the new version. The message says so if its pods
    are not replaced at once."""

    ROLLOUT_FAILED = "RolloutFailed"
    """A workload of `spec.rollout.restart` could not be restarted."""

    OLD_PASSWORD_LEFT = "OldPasswordLeft"  # noqa: S105
    """The strategy was DualPassword and is now one that changes nothing in the database, so the old
    password was not taken away."""

    TIMES_IGNORED = "TimesIgnored"
    """Times in the status were in the future, by more than five minutes, and were replaced: else nothing
    would be due until then. The message names them."""

    ACCESS_DENIED = "AccessDenied"
    """AWS or the access policy denies the secret, or the AWS identity to use; or AWS denies a step of a rotation."""

    STORE_UNAVAILABLE = "StoreUnavailable"
    """The secret cannot be read: AWS does not answer, throttles look after look, or refuses to decrypt it."""

    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105
    """AWS has no such secret, or no value in it."""

    INVALID_SECRET_VALUE = "InvalidSecretValue"  # noqa: S105
    """The value of the secret cannot be used."""

    INVALID_SPEC = "InvalidSpec"
    """The spec cannot be used, or stands in the way of a rotation."""

    LOGIN_FAILED = "LoginFailed"
    """AWSCURRENT does not log in, or the database does not answer, so that it is not known whether it does."""

    RIGHTS_MISSING = "RightsMissing"
    """AWSCURRENT logs in, and its user, a clone, has lost rights of its base user."""

    SYNC_FAILED = "SyncFailed"
    """The target Secret could not be written or read, or is changed again and again; or the operator has failed
    unexpectedly."""

    TEMPLATE_FAILED = "TemplateFailed"
    """The content of the target Secret cannot be rendered."""

    NOT_OURS = "NotOurs"
    """The target Secret belongs to others."""

    SECRET_CONFLICT = "SecretConflict"  # noqa: S105
    """The target Secret cannot be changed as it is."""

    SECRET_TYPE_IMMUTABLE = "SecretTypeImmutable"  # noqa: S105
    """The target Secret has another type."""

    RESOURCE_TOO_LARGE = "ResourceTooLarge"
    """The RotatedSecret is larger than the operator keeps in memory, so nothing is done for it. The message names its
    largest part."""

    NAMESPACE_SET_ASIDE = "NamespaceSetAside"
    """On the Lease: the API server does not let the operator watch a namespace that it serves. The others are served,
    and this one is tried again."""

    NAMESPACE_SERVED = "NamespaceServed"
    """On the Lease: a namespace that was set aside is watched again."""


WARNINGS: Final = frozenset(
    {
        EventReason.ROTATION_FAILED,
        EventReason.ROTATION_ABANDONED,
        EventReason.ROTATION_HELD,
        EventReason.ROLLED_BACK,
        EventReason.SECRET_DRIFT_REPAIRED,
        EventReason.RIGHTS_DIFFER,
        EventReason.OLD_PASSWORD_LEFT,
        EventReason.ROLLOUT_FAILED,
        EventReason.TIMES_IGNORED,
        EventReason.ACCESS_DENIED,
        EventReason.STORE_UNAVAILABLE,
        EventReason.SECRET_NOT_FOUND,
        EventReason.INVALID_SECRET_VALUE,
        EventReason.INVALID_SPEC,
        EventReason.LOGIN_FAILED,
        EventReason.RIGHTS_MISSING,
        EventReason.SYNC_FAILED,
        EventReason.TEMPLATE_FAILED,
        EventReason.NOT_OURS,
        EventReason.SECRET_CONFLICT,
        EventReason.SECRET_TYPE_IMMUTABLE,
        EventReason.RESOURCE_TOO_LARGE,
        EventReason.NAMESPACE_SET_ASIDE,
    }
)
