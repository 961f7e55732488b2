"""The spec of a RotatedSecret: what users write. The docstrings are what ``kubectl explain`` shows.

Knows nothing of the store, the databases or the cluster.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from rotated_secrets.api.fields import KubernetesName, RoleArn, StoreSecretId
from rotated_secrets.api.rollout import Rollout
from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.rules import CelRule, WrittenModel, text_matches, unchanged
from rotated_secrets.api.target import Target


class TlsMode(StrEnum):
    """How a connection is protected, weakest first; the names follow libpq's ``sslmode``."""

    DISABLE = "Disable"
    REQUIRE = "Require"
    VERIFY_CA = "VerifyCA"
    VERIFY_FULL = "VerifyFull"

    @property
    def strength(self) -> int:
        """Compares modes: the higher one asks for more."""
        return list(TlsMode).index(self)


class Credentials(WrittenModel):
    """As whom the operator speaks to AWS for this resource, instead of as itself."""

    rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "has(self.serviceAccountName) || has(self.roleArn)",
            "nothing says as whom: write serviceAccountName, or roleArn, or both",
            lambda self: self.service_account_name is not None or self.role_arn is not None,
        ),
    )

    service_account_name: KubernetesName | None = None
    """Name of a ServiceAccount in this namespace whose token AWS is shown (AssumeRoleWithWebIdentity). It must name
    this resource, or "*", in its annotation rotatedsecrets.io/token-for."""

    role_arn: RoleArn | None = None
    """ARN of the IAM role to assume. Default: the ServiceAccount's annotation eks.amazonaws.com/role-arn. Without
    serviceAccountName the operator assumes it by its own identity, with the ExternalId "CLUSTER/NAMESPACE"."""


class Source(WrittenModel):
    """Which secret in AWS Secrets Manager is rotated."""

    rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!has(self.region) || !self.secretId.startsWith('arn:') || self.secretId.contains(':' + self.region + ':')",
            "secretId is the ARN of a secret in another region: leave region out, or write the ARN's",
            lambda self: self.region is None or not self.is_arn or f":{self.region}:" in self.secret_id,
        ),
    )

    secret_id: Annotated[
        StoreSecretId, unchanged("secretId cannot be changed: create another RotatedSecret for another secret")
    ]
    """Name or full ARN of the secret in AWS Secrets Manager. Cannot be changed later. The operator's access policy
    decides which names a namespace may use; by default those that begin with "NAMESPACE/"."""

    region: (
        Annotated[
            str,
            Field(max_length=32),
            text_matches("[a-z]{2,4}(-[a-z]+)+-[0-9]+", "write the name of an AWS region, for example eu-west-1"),
        ]
        | None
    ) = None
    """AWS region of the secret. Default: the operator's own."""

    credentials: Credentials | None = None
    """As whom the operator speaks to AWS for this resource: for its secret, its admin secret, and what it asks of RDS,
    Redshift and ElastiCache. Default: as itself."""

    @property
    def is_arn(self) -> bool:
        return self.secret_id.startswith("arn:")


class TlsSpec(WrittenModel):
    """How the operator's connections to the database are protected. They never fall back to plaintext."""

    rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!has(self.caSecretName) || !has(self.mode) || self.mode in ['VerifyFull', 'VerifyCA']",
            "a CA is checked only with mode VerifyFull or VerifyCA: write one of these, or leave caSecretName out",
            lambda self: self.ca_secret_name is None or self.mode in (None, TlsMode.VERIFY_FULL, TlsMode.VERIFY_CA),
        ),
    )

    mode: TlsMode | None = None
    """VerifyFull checks the server's certificate and host name, VerifyCA the certificate alone, Require encrypts
    without checking, Disable uses plaintext. Default: what the key "ssl" of the secret value says, else VerifyFull."""

    ca_secret_name: KubernetesName | None = None
    """Name of a Secret in this namespace whose key "ca.crt" holds the CA certificates to trust, as PEM.
    Default: those that the operator trusts."""


class Webhook(WrittenModel):
    """A service of yours that sets and tests credentials of something that the operator has no engine for."""

    url: Annotated[
        str,
        Field(max_length=2048),
        text_matches(
            "https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[!$-~]*)?",
            "write https://HOST/PATH or https://HOST:PORT/PATH, without a user or '#'",
        ),
    ]
    """Where requests are sent, by POST. Its host must be one that the operator's settings allow (--webhook-hosts)."""

    auth_secret_name: KubernetesName
    """Name of a Secret in this namespace whose key "key" holds what requests are signed with: 32 random bytes or more,
    as they are, or as "whsec_" and their base64. It is read again for every look."""

    ca_secret_name: KubernetesName | None = None
    """Name of a Secret in this namespace whose key "ca.crt" holds the CA certificates to trust, as PEM.
    Default: those that the system trusts."""


class DatabaseSpec(WrittenModel):
    """How the database is reached. Host, port and users come from the secret value."""

    rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!has(self.webhook) || !has(self.tls)",
            "a webhook has a CA of its own, and reaches no database: write tls or webhook",
            lambda self: self.webhook is None or self.tls is None,
        ),
    )

    tls: TlsSpec | None = None
    """Protection of the connections."""

    webhook: Webhook | None = None
    """Set and test credentials by a service of yours instead of an engine of the operator."""


class RotatedSecretSpec(WrittenModel):
    """What is rotated, how, and where it is delivered."""

    rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.rotation.strategy != 'RandomValue' || !has(self.database) || has(self.database.webhook)",
            "RandomValue reaches no database: leave database out, or write database.webhook",
            lambda self: (
                self.rotation.strategy is not Strategy.RANDOM_VALUE
                or self.database is None
                or self.database.webhook is not None
            ),
        ),
        CelRule(
            "!has(self.database) || !has(self.database.webhook) || "
            "(!has(self.rotation.adminSecretId) && "
            "(!has(self.rotation.verifyQueries) || size(self.rotation.verifyQueries) == 0))",
            "a webhook has an admin of its own and runs no queries: leave adminSecretId and verifyQueries out",
            lambda self: (
                self.webhook is None or (self.rotation.admin_secret_id is None and not self.rotation.verify_queries)
            ),
        ),
        CelRule(
            "size(self.rollout.restart) == 0 || self.target.creationPolicy != 'None'",
            "creationPolicy: None delivers no Secret that a workload could read: leave rollout.restart out",
            lambda self: not self.rollout.restart or self.target.is_delivered,
        ),
        CelRule(
            "!has(self.database) || !has(self.database.webhook) || "
            "self.rotation.strategy in ['RandomValue', 'SingleUser', 'AlternatingUsers']",
            "a webhook serves the strategies RandomValue, SingleUser and AlternatingUsers: write one of them",
            lambda self: (
                self.webhook is None
                or self.rotation.strategy in (Strategy.RANDOM_VALUE, Strategy.SINGLE_USER, Strategy.ALTERNATING_USERS)
            ),
        ),
    )

    source: Source
    """Which secret in AWS Secrets Manager is rotated."""

    database: DatabaseSpec | None = None
    """How the database is reached. Host, port and users come from the secret value."""

    rotation: Rotation
    """How and when the credential is replaced."""

    target: Target = Target()
    """The Kubernetes Secret that follows the secret's current version."""

    rollout: Rollout = Rollout()
    """What happens to workloads when the target Secret has a new value."""

    @property
    def webhook(self) -> Webhook | None:
        return self.database.webhook if self.database else None
