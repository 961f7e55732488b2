"""The names of the resource in Kubernetes, of its annotations and of its label, and of the page that explains it.

The docstrings of annotations and labels are what docs/reference.md shows: on which object, then what it means.
"""

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

TROUBLESHOOTING: Final = "docs/troubleshooting.md"
"""The page that explains each reason, Event and alert, in this repository: the documents have no address yet."""

_requests: Final[list[str]] = []


def _request(name: str) -> str:
    """Register an annotation that asks for something: a new value of it ends the rest of a RotatedSecret."""
    _requests.append(f"{GROUP}/{name}")
    return _requests[-1]


ROTATE_ANNOTATION: Final = _request("rotate")
"""RotatedSecret, written by you: any new value asks for one rotation. It acts once, also after a restart of the
operator. A value that is a time before the RotatedSecret was made (in RFC 3339, or in seconds since 1970) asks for
nothing: a backup has restored it."""
RESYNC_ANNOTATION: Final = _request("resync")
"""RotatedSecret, written by you: any new value asks for one complete check, as if the operator had just started:
stages, login, target Secret."""
REQUEST_ANNOTATIONS: Final = frozenset(_requests)
# Every annotation that asks for something: those that _request makes are in it by themselves.

TOKEN_ANNOTATION: Final = f"{GROUP}/token-for"
"""ServiceAccount, written by you: the names of the RotatedSecrets that may use its AWS identity, comma-separated, or
`*`."""
ROLE_ANNOTATION: Final = "eks.amazonaws.com/role-arn"
"""ServiceAccount, written by you: the IAM role to assume, where `spec.source.credentials` names none."""
# Source: EKS's user guide, "Assign IAM roles to Kubernetes service accounts".

OWNER_ANNOTATION: Final = f"{GROUP}/owner"
"""Target Secret: `namespace/name` of the RotatedSecret that writes it."""
ADOPT_ANNOTATION: Final = f"{GROUP}/adopt"
"""Existing Secret, written by you: the name of the RotatedSecret that may take it over."""
VERSION_ID_ANNOTATION: Final = f"{GROUP}/version-id"
"""Target Secret: the version of the secret whose value it holds."""
SECRET_ARN_ANNOTATION: Final = f"{GROUP}/secret-arn"
"""Target Secret: the ARN of the secret that its value comes from."""
ROTATED_AT_ANNOTATION: Final = f"{GROUP}/rotated-at"
"""Target Secret: when Secrets Manager created the version that it holds, in RFC 3339."""
WRITTEN_ANNOTATION: Final = f"{GROUP}/written"
"""Target Secret: the names of the keys, labels and annotations that the operator wrote, so that it can remove them when
they are no longer wanted."""

JOURNAL_LABEL: Final = f"{GROUP}/journal"
"""ConfigMap in the operator's namespace, a label: the name of the operator's Lease. It is an entry about an
unfinished rotation, and is removed when the rotation has ended."""

RESTARTED_FOR_ANNOTATION: Final = f"{GROUP}/restarted-for"
"""Pod template of a workload in `spec.rollout.restart`, followed by a dot and the RotatedSecret's name: the version
that its pods were restarted for."""

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
"""Target Secret, a label: `rotated-secrets`. The operator watches only Secrets with this label. Its
Lease has it too."""
MANAGED_BY: Final = "rotated-secrets"

CORE_DOMAINS: Final = (
    *("kubernetes.io", "k8s.io", "kubectl.kubernetes.io", "pod-security.kubernetes.io", "topology.kubernetes.io"),
    *("node.kubernetes.io", "node-role.kubernetes.io", "node-restriction.kubernetes.io"),
)
"""Domains of Kubernetes' own components, which act on the labels and annotations that they find there. Other subdomains
are for everyone: those of Kubernetes' projects, and above all ``app.kubernetes.io``.

Source: "Well-Known Labels, Annotations and Taints" and "Recommended Labels", Kubernetes documentation.
"""
