"""Reads ServiceAccounts whose AWS identity RotatedSecrets may use, and requests tokens for them.

Must not know AWS, except as the audience of a token. A token is a credential: it travels as ``SecretText`` and is not
stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rotated_secrets.api.names import ROLE_ANNOTATION, TOKEN_ANNOTATION
from rotated_secrets.cluster import (
    TOO_LARGE,
    Cluster,
    ClusterError,
    Forbidden,
    Json,
    NotFound,
    ObjectTooLarge,
    Unreachable,
)
from rotated_secrets.secretstores.base import AccessDenied, StoreError, StoreUnavailable
from rotated_secrets.values import SecretText

TOKEN_SECONDS: Final = 600
"""The shortest lifetime of a token that Kubernetes allows. Source: ``ExpirationSeconds``, TokenRequestSpec v1."""
CHART_VALUE: Final = "tenantCredentials.serviceAccountTokens.namespaces"


@dataclass(frozen=True)
class ServiceAccount:
    """A ServiceAccount and its annotations for AWS."""

    namespace: str
    name: str
    uid: str
    role_arn: str | None
    """From EKS's annotation."""
    token_for: frozenset[str]
    """Names of the RotatedSecrets that may use it, or ``*``."""

    @property
    def subject(self) -> str:
        """The subject of its tokens."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    def check_allows(self, name: str) -> None:
        """Raises: AccessDenied, unless its owner allows this RotatedSecret to use it."""
        if not self.token_for & {name, "*"}:
            names = ",".join(sorted({*self.token_for, name}))
            raise AccessDenied(
                f"ServiceAccount {self.name} does not allow RotatedSecret {name} to use its AWS identity; to allow it: "
                f"kubectl annotate serviceaccount {self.name} --namespace {self.namespace} --overwrite "
                f"{TOKEN_ANNOTATION}={names}"
            )


class ServiceAccounts:
    """The cluster's ServiceAccounts. Every method may raise AccessDenied and StoreUnavailable. Safe from any thread."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def read(self, namespace: str, name: str) -> ServiceAccount:
        """Read one ServiceAccount."""
        try:
            metadata = self._cluster.request("GET", _path(namespace, name))["metadata"]
        except ClusterError as error:
            raise _translated(error, namespace, name, "get serviceaccounts") from None
        annotations: Json = metadata.get("annotations") or {}
        named = (each.strip() for each in annotations.get(TOKEN_ANNOTATION, "").split(","))
        return ServiceAccount(
            namespace,
            name,
            metadata["uid"],
            annotations.get(ROLE_ANNOTATION) or None,
            frozenset(each for each in named if each),
        )

    def token(self, namespace: str, name: str, audience: str) -> SecretText:
        """Request a new token of a ServiceAccount, for this audience only. Source: TokenRequest v1."""
        wanted = {"spec": {"audiences": [audience], "expirationSeconds": TOKEN_SECONDS}}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", **wanted}
        try:
            answer = self._cluster.request("POST", f"{_path(namespace, name)}/token", body=body)
        except ClusterError as error:
            raise _translated(error, namespace, name, "create serviceaccounts/token") from None
        return SecretText(answer["status"]["token"])


def _path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}"


def _translated(error: ClusterError, namespace: str, name: str, permission: str) -> StoreError:
    which = f"ServiceAccount {name} of namespace {namespace}"
    match error:
        case Forbidden():
            return AccessDenied(
                f"the operator may not use {which} ({permission} is forbidden); ask the operator's administrator to "
                f"add {namespace} to the chart's value {CHART_VALUE}"
            )
        case NotFound():
            return AccessDenied(
                f"there is no ServiceAccount {name} in namespace {namespace}; create it, or correct "
                "source.credentials.serviceAccountName"
            )
        case ObjectTooLarge():
            return AccessDenied(f"{which} cannot be read: {TOO_LARGE}; remove labels and annotations from it")
        case Unreachable():
            return StoreUnavailable(
                f"{which} cannot be read: the API server does not answer; the operator tries again later"
            )
    return AccessDenied(f"the API server answers requests for {which} with status {error.status}")
