"""ServiceAccounts whose owners let RotatedSecrets speak to AWS as them, and tokens of theirs.

Must not know AWS, but for whom a token is. A token is a credential: it travels as ``SecretText`` and is kept nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rotated_secrets.api.names import ROLE_ANNOTATION, TOKEN_ANNOTATION
from rotated_secrets.cluster import Cluster, ClusterError, Forbidden, Json, NotFound, Unreachable
from rotated_secrets.secretstores.base import AccessDenied, StoreError, StoreUnavailable
from rotated_secrets.values import SecretText

TOKEN_SECONDS: Final = 600
"""The least that Kubernetes gives a token. Source: ``ExpirationSeconds``, TokenRequestSpec v1."""
CHART_VALUE: Final = "tenantCredentials.serviceAccountTokens.namespaces"


@dataclass(frozen=True)
class ServiceAccount:
    """What of a ServiceAccount matters here."""

    namespace: str
    name: str
    uid: str
    role_arn: str | None
    """By EKS's annotation."""
    token_for: frozenset[str]
    """Names of RotatedSecrets, or ``*``."""

    @property
    def subject(self) -> str:
        """As which its tokens are known."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    def check_lets(self, name: str) -> None:
        """Raises: AccessDenied, unless its owner lets this RotatedSecret speak as it."""
        if not self.token_for & {name, "*"}:
            names = ",".join(sorted({*self.token_for, name}))
            raise AccessDenied(
                f"ServiceAccount {self.name} does not allow RotatedSecret {name} to use its AWS identity; to allow it: "
                f"kubectl annotate serviceaccount {self.name} --namespace {self.namespace} --overwrite "
                f"{TOKEN_ANNOTATION}={names}"
            )


class ServiceAccounts:
    """Those of a cluster. Every method may raise AccessDenied and StoreUnavailable. Safe from several threads."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def read(self, namespace: str, name: str) -> ServiceAccount:
        """One ServiceAccount as it is now."""
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
        """A fresh token of a ServiceAccount's, for this audience alone. Source: TokenRequest v1."""
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
        case Unreachable():
            return StoreUnavailable(
                f"{which} cannot be read: the API server does not answer; the operator tries again later"
            )
    return AccessDenied(f"the API server answers requests for {which} with status {error.status}")
