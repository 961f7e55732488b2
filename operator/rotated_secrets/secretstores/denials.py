"""What would allow a call that AWS denies, by the words with which AWS denies it.

AWS names the action that is missing, which is not always the operation that was called, and the kind of policy that
does not allow it or denies it. Source: "Troubleshoot access denied error messages", IAM User Guide. Pure.
"""

from __future__ import annotations

import re
from typing import Final

_ACTION: Final = re.compile(r"not authorized to perform: ([a-z0-9-]{1,40}:[A-Za-z0-9]{1,80})")
_EXPLICIT_DENY: Final = re.compile(r"explicit deny in (?:an? )?([A-Za-z -]{4,40}?(?:policy|boundary))")
_NOT_ALLOWED_BY: Final = re.compile(r"because no ([A-Za-z -]{4,40}?(?:policy|boundary)) allows")
_FUNCTION_POLICY: Final = re.compile(r"cannot invoke the specified Lambda function|principal secretsmanager\.amazonaws")

PUT: Final = "PutSecretValue"


def remedy(words: str, operation: str, identity_name: str, service: str = "secretsmanager") -> str:
    """Return what to change, as the second half of a sentence.

    Args:
        words: AWS's own message.
        operation: the operation that was denied.
        identity_name: whom it was denied.
        service: the IAM prefix of the operation.
    """
    if _FUNCTION_POLICY.search(words):
        # Source: "Lambda rotation function execution role permissions", AWS Secrets Manager User Guide.
        return (
            "let Secrets Manager invoke the secret's rotation function: aws lambda add-permission --function-name "
            "FUNCTION --statement-id SecretsManager --action lambda:InvokeFunction "
            "--principal secretsmanager.amazonaws.com"
        )
    named = _ACTION.search(words)
    action = named[1] if named else f"{service}:{operation}"
    if deny := explicit_deny(words):
        return f"remove the {deny} of {action} to {identity_name}"
    if not_allowed_by := _NOT_ALLOWED_BY.search(words):
        return f"allow {action} to {identity_name} in the {not_allowed_by[1]}"
    if named:
        return f"allow {action} to {identity_name}"
    if "KMS" in words:
        # Source: "Secret encryption and decryption in AWS Secrets Manager", AWS Secrets Manager User Guide.
        needed = "kms:Decrypt and kms:GenerateDataKey" if operation == PUT else "kms:Decrypt"
        return f"allow {needed} on the secret's KMS key to {identity_name}, in the key's policy or in IAM"
    return (
        f"allow {action} to {identity_name}, and the use of the secret's KMS key if it is a customer managed key"
        if service == "secretsmanager"
        else f"allow {action} to {identity_name}"
    )


def explicit_deny(words: str) -> str | None:
    """Return which deny AWS names; None where only a permission is missing."""
    found = _EXPLICIT_DENY.search(words)
    return found[0] if found else None
