"""An AWS account of a tenant's own: roles in it that trust the operator, or this cluster's ServiceAccounts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.secretsmanager import SecretsManager

AUDIENCE = "sts.amazonaws.com"
ROTATES = (
    "secretsmanager:DescribeSecret",
    "secretsmanager:GetSecretValue",
    "secretsmanager:PutSecretValue",
    "secretsmanager:UpdateSecretVersionStage",
    "secretsmanager:ListSecrets",
)


@dataclass(frozen=True)
class Tenant:
    """The account, as its administrator has it."""

    store: SecretsManager

    @property
    def account(self) -> str:
        return self.store.access_key_id

    def role(
        self, name: str, trust: Mapping[str, Any], *, actions: Iterable[str] = ROTATES, seconds: float | None = None
    ) -> str:
        """Make a role with this trust policy, whose sessions may do this, and last so long; returns its ARN."""
        iam = self.store.client("iam")
        tags = [] if seconds is None else [{"Key": "sandbox:seconds", "Value": str(seconds)}]
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust), Tags=tags)
        self.allow(name, actions)
        arn: str = made["Role"]["Arn"]
        return arn

    def allow(self, name: str, actions: Iterable[str]) -> None:
        """Have the role's sessions do these and no others."""
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.store.client("iam").put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document)

    def trust(self, name: str, policy: Mapping[str, Any]) -> None:
        """Change whom a role trusts."""
        self.store.client("iam").update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(policy))

    def provider(self, issuer: str, audience: str = AUDIENCE) -> None:
        """Believe the tokens of a cluster."""
        self.store.client("iam").create_open_id_connect_provider(
            Url=issuer, ClientIDList=[audience], ThumbprintList=["0" * 40]
        )

    def trusting_operator(self, operator: SecretsManager, external_id: str) -> dict[str, Any]:
        """The trust policy for an operator that is of another account."""
        return _trust(
            "sts:AssumeRole",
            {"AWS": f"arn:aws:iam::{operator.access_key_id}:root"},
            {"sts:ExternalId": external_id},
        )

    def trusting_account(self, issuer: str, namespace: str, name: str) -> dict[str, Any]:
        """The trust policy for a ServiceAccount of a cluster."""
        host = issuer.partition("://")[2]
        return _trust(
            "sts:AssumeRoleWithWebIdentity",
            {"Federated": f"arn:aws:iam::{self.account}:oidc-provider/{host}"},
            {f"{host}:sub": f"system:serviceaccount:{namespace}:{name}", f"{host}:aud": AUDIENCE},
        )


def _trust(action: str, principal: Mapping[str, str], equals: Mapping[str, str]) -> dict[str, Any]:
    condition = {"StringEquals": dict(equals)}
    statement = {"Effect": "Allow", "Principal": dict(principal), "Action": action, "Condition": condition}
    return {"Version": "2012-10-17", "Statement": [statement]}
