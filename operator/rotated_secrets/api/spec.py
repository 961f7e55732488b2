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
        """Order of the modes: a stronger mode has a higher number."""
        return list(TlsMode).index(self)


class Credentials(WrittenModel):
    """AWS identity that the operator uses for this resource, instead of its own."""

    rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "has(self.serviceAccountName) || has(self.roleArn)",
            "no identity is named: set serviceAccountName, roleArn or both",
            lambda self: self.service_account_name is not None or self.role_arn is not None,
        ),
    )

    service_account_name: KubernetesName | None = None
    """Name of a ServiceAccount in this namespace whose token is sent to AWS (AssumeRoleWithWebIdentity). The
    ServiceAccount must name this resource, or `*`, in its annotation `rotatedsecrets.io/token-for`."""

    role_arn: RoleArn | None = None
    """ARN of the IAM role to assume. Default: the ServiceAccount's annotation `eks.amazonaws.com/role-arn`. Without
    `serviceAccountName` the operator assumes the role with its own identity and the ExternalId `CLUSTER/NAMESPACE`."""


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
    decides which names a namespace may use; by default those that begin with `NAMESPACE/`."""

    region: (
        Annotated[
            str,
            Field(max_length=32),
            text_matches("[a-z]{2,4}(-[a-z]+)+-[0-9]+", "write the name of an AWS region, for example eu-west-1"),
            CelRule(
                "!self.startsWith('fips-')",
                "write the region alone, for example us-east-1: the operator decides whether it uses FIPS endpoints",
                lambda region: not region.startswith("fips-"),
            ),
        ]
        | None
    ) = None
    """AWS region of the secret. Default: the operator's own."""

    credentials: Credentials | None = None
    """AWS identity that the operator uses for this resource: for its secret, its admin secret, and its requests to RDS,
    Redshift and ElastiCache. Default: the operator's own identity."""

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
    without checking, Disable uses plaintext. Default: the key `ssl` of the secret value (`false` means
    Disable), else VerifyFull."""

    ca_secret_name: KubernetesName | None = None
    """Name of a Secret in this namespace whose key `ca.crt` holds the CA certificates to trust, as PEM. Default: those
    that the operator trusts. It is never used for the session of the admin secret's user."""


class Webhook(WrittenModel):
    """Your own service that sets and tests credentials, where the operator has no engine."""

    url: Annotated[
        str,
        Field(max_length=2048),
        text_matches(
            "https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[!$-~]*)?",
            "write https://HOST/PATH or https://HOST:PORT/PATH, without a user or '#'",
        ),
    ]
    """URL that requests are sent to, by POST: `https://HOST/PATH`. The operator's setting `--webhook-hosts` must allow
    its host."""

    auth_secret_name: KubernetesName
    """Name of a Secret in this namespace whose key `key` holds the key that signs the requests: at least 32 random
    bytes, as they are, or in base64 after `whsec_`. It is read again each time the resource is checked."""

    ca_secret_name: KubernetesName | None = None
    """Name of a Secret in this namespace whose key `ca.crt` holds the CA certificates to trust, as PEM. Default: those
    that the system trusts."""


class DatabaseSpec(WrittenModel):
    """How the database is reached. Host, port and users come from the secret value."""

    rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!has(self.webhook) || !has(self.tls)",
            "a webhook has its own CA, and reaches no database: write tls or webhook",
            lambda self: self.webhook is None or self.tls is None,
        ),
    )

    tls: TlsSpec | None = None
    """How the connections to the database are protected."""

    webhook: Webhook | None = None
    """Set and test credentials by your own service instead of an engine of the operator. Only with RandomValue,
    SingleUser or AlternatingUsers."""


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
            "a webhook has its own admin and runs no queries: leave adminSecretId and verifyQueries out",
            lambda self: (
                self.webhook is None or (self.rotation.admin_secret_id is None and not self.rotation.verify_queries)
            ),
        ),
        CelRule(
            "!has(self.rollout.restart) || size(self.rollout.restart) == 0 || self.target.creationPolicy != 'None'",
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
