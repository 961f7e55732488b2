"""The advice after a denial: the action that AWS names, and the policy that has to change."""

from __future__ import annotations

import pytest

from rotated_secrets.secretstores.denials import remedy

USER = "User: arn:aws:sts::123456789012:assumed-role/operator/s is not authorized to perform"
WHO = "the operator's identity"


@pytest.mark.parametrize(
    ("words", "operation", "expected"),
    [
        (
            f"{USER}: secretsmanager:RotateSecret on resource: arn:x because no identity-based policy allows the "
            "secretsmanager:RotateSecret action",
            "RotateSecret",
            f"allow secretsmanager:RotateSecret to {WHO} in the identity-based policy",
        ),
        (
            f"{USER}: lambda:InvokeFunction on resource: arn:aws:lambda:eu-west-1:1:function:rotate",
            "RotateSecret",
            f"allow lambda:InvokeFunction to {WHO}",
        ),
        (
            f"{USER}: secretsmanager:PutSecretValue on resource: x with an explicit deny in a service control policy",
            "PutSecretValue",
            f"remove the explicit deny in a service control policy of secretsmanager:PutSecretValue to {WHO}",
        ),
        (
            f"{USER}: kms:Decrypt on resource: arn:x because no resource-based policy allows the kms:Decrypt action",
            "GetSecretValue",
            f"allow kms:Decrypt to {WHO} in the resource-based policy",
        ),
        (
            "Access to KMS is not allowed",
            "GetSecretValue",
            f"allow kms:Decrypt on the secret's KMS key to {WHO}, in the key's policy or in IAM",
        ),
        (
            "Access to KMS is not allowed",
            "PutSecretValue",
            f"allow kms:Decrypt and kms:GenerateDataKey on the secret's KMS key to {WHO}, in the key's policy or "
            "in IAM",
        ),
        (
            "",
            "DescribeSecret",
            f"allow secretsmanager:DescribeSecret to {WHO}, and the use of the secret's KMS key if it is a customer "
            "managed key",
        ),
    ],
)
def test_advice_is_what_the_words_of_aws_name(words: str, operation: str, expected: str) -> None:
    assert remedy(words, operation, WHO) == expected


def test_function_that_aws_may_not_invoke_needs_a_permission_of_its_own() -> None:
    words = (
        "Secrets Manager cannot invoke the specified Lambda function. Ensure that the function policy grants access to "
        "the principal secretsmanager.amazonaws.com."
    )
    advice = remedy(words, "RotateSecret", WHO)
    assert "aws lambda add-permission" in advice
    assert "--principal secretsmanager.amazonaws.com" in advice
    assert "secretsmanager:RotateSecret" not in advice


@pytest.mark.parametrize("words", ["not authorized to perform: " + "a" * 5000, "explicit deny in a " + "x" * 5000])
def test_words_without_end_are_no_advice(words: str) -> None:
    assert len(remedy(words, "DescribeSecret", WHO)) < 300
