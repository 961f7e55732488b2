"""The names by which Kubernetes and its users know our resource, its annotations and its label."""

from __future__ import annotations

from typing import Final

GROUP: Final = "rotatedsecrets.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "RotatedSecret"
PLURAL: Final = "rotatedsecrets"
SINGULAR: Final = "rotatedsecret"
SHORT_NAME: Final = "rsec"
CATEGORY: Final = "rotation"

_requests: Final[list[str]] = []


def _request(name: str) -> str:
    """Register an annotation that asks for something: a new value of it ends the rest of a RotatedSecret."""
    _requests.append(f"{GROUP}/{name}")
    return _requests[-1]


ROTATE_ANNOTATION: Final = _request("rotate")
"""On a RotatedSecret: any new value asks for one rotation."""
RESYNC_ANNOTATION: Final = _request("resync")
"""On a RotatedSecret: any new value asks for one look at everything, as if nothing were known of it."""
REQUEST_ANNOTATIONS: Final = frozenset(_requests)
"""Every annotation that asks for something. Those that :func:`_request` makes are in it by themselves."""

TOKEN_ANNOTATION: Final = f"{GROUP}/token-for"
"""On a ServiceAccount: the names of the RotatedSecrets that may speak to AWS as it, comma-separated, or ``*``."""
ROLE_ANNOTATION: Final = "eks.amazonaws.com/role-arn"
"""On a ServiceAccount: the IAM role that EKS gives it. Source: "Assign IAM roles to Kubernetes service accounts"."""

OWNER_ANNOTATION: Final = f"{GROUP}/owner"
"""On a target Secret: ``namespace/name`` of the RotatedSecret that writes it."""
ADOPT_ANNOTATION: Final = f"{GROUP}/adopt"
"""On an existing Secret: the name of the RotatedSecret that may take it over."""
VERSION_ID_ANNOTATION: Final = f"{GROUP}/version-id"
"""On a target Secret: the version in the store whose value it holds."""
SECRET_ARN_ANNOTATION: Final = f"{GROUP}/secret-arn"
ROTATED_AT_ANNOTATION: Final = f"{GROUP}/rotated-at"
"""On a target Secret: when the store made the version that it holds."""
WRITTEN_ANNOTATION: Final = f"{GROUP}/written"
"""On a target Secret: the names of what we wrote, so that it can be taken off again when it is no longer wanted."""

RESTARTED_FOR_ANNOTATION: Final = f"{GROUP}/restarted-for"
"""On the pod template of a workload, followed by a dot and the name of a RotatedSecret: the version of its secret that
the pods began with."""

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "rotated-secrets"
"""The value of :data:`MANAGED_BY_LABEL` on target Secrets; the operator watches only Secrets that carry it."""

RESERVED_DOMAINS: Final = ("kubernetes.io", "k8s.io", GROUP)
"""Labels and annotations of these domains and their subdomains are not a user's to set on the target Secret."""
