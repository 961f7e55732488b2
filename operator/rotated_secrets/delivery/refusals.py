"""Who refused to have a Secret written, by what the API server says. Pure.

The API server's message is never repeated as a whole: a policy or a webhook may quote the Secret in it. What is taken
from it are names of objects of the cluster, which have letters, digits, dots and dashes only.
"""

from __future__ import annotations

import re
from typing import Final

_NAME: Final = "([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)"
_POLICY: Final = re.compile(rf"ValidatingAdmissionPolicy '{_NAME}'( with binding '{_NAME}')? denied")
_MUTATING_POLICY: Final = re.compile(rf"""policy ['"]{_NAME}['"]( with binding '{_NAME}')? denied""")
"""The whole message begins with it. No binding is named where the policy itself is wrong."""
_WEBHOOK: Final = re.compile(rf'admission webhook "{_NAME}" denied the request')
_FAILED_WEBHOOK: Final = re.compile(rf'failed calling webhook "{_NAME}"')
_QUOTA: Final = re.compile(rf"exceeded quota: {_NAME}[,:]")
_ROLE: Final = re.compile(r'^\S+( "[^"]*")? is forbidden: User "[^"]*" cannot \w+ resource "secrets"')
"""Sources: k8s.io/apiserver, pkg/admission/plugin/policy/validating/dispatcher.go and …/generic/policy_dispatcher.go,
pkg/admission/plugin/webhook/errors and pkg/endpoints/handlers/responsewriters/errors.go; those of policies, webhooks,
quotas and roles were seen on kube-apiserver 1.36. Policies answer 422 unless they name another reason, mutating ones
403, webhooks what they like."""


def who_refused(said: str, verb: str, namespace: str) -> str | None:
    """Return who refused it and what to do; None where the message does not say it."""
    if found := _POLICY.search(said):
        return _policy("ValidatingAdmissionPolicy", found)
    if found := _MUTATING_POLICY.match(said):
        return _policy("MutatingAdmissionPolicy", found)
    if found := _WEBHOOK.search(said):
        return (
            f"the admission webhook {found[1]} of the cluster does not allow it; correct target of the RotatedSecret "
            "so that it does, or have the webhook's rules changed"
        )
    if found := _QUOTA.search(said):
        return f"the ResourceQuota {found[1]} of namespace {namespace} is used up; raise it"
    if "being terminated" in said:
        return f"namespace {namespace} is being deleted"
    if _ROLE.search(said):
        return f"the operator's ServiceAccount may not {verb} Secrets in namespace {namespace}; check its role"
    if "cannot set blockOwnerDeletion" in said or "cannot set an ownerRef" in said:
        return (
            "the admission plug-in OwnerReferencesPermissionEnforcement does not let the operator's ServiceAccount set "
            "the ownerReference; grant what it asks for"
        )
    return None


def is_of_a_quota(said: str) -> bool:
    """Whether a ResourceQuota has refused it."""
    return _QUOTA.search(said) is not None


def _policy(kind: str, found: re.Match[str]) -> str:
    by = f", by its binding {found[4]}," if found[3] else ""
    return (
        f"{kind} {found[1]} of the cluster{by} does not allow it; correct target of the RotatedSecret so that it does, "
        "or have the policy changed"
    )


def which_failed(said: str) -> str | None:
    """Return which webhook the API server could not call; None where the message does not say it."""
    found = _FAILED_WEBHOOK.search(said)
    return f"the API server cannot call the admission webhook {found[1]}" if found else None
