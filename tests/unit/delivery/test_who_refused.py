"""Who refused a Secret is taken from the API server's words, and nothing else is."""

from __future__ import annotations

import pytest

from rotated_secrets.delivery.refusals import which_failed, who_refused

FORBIDDEN = 'secrets "orders" is forbidden: '
SAID = {
    f"{FORBIDDEN}ValidatingAdmissionPolicy 'no.secrets' with binding 'all-b' denied request: hunter2": (
        "ValidatingAdmissionPolicy no.secrets of the cluster, by its binding all-b,"
    ),
    f"{FORBIDDEN}ValidatingAdmissionPolicy 'no.secrets' denied request: failed to configure policy: hunter2": (
        "ValidatingAdmissionPolicy no.secrets of the cluster does not allow it;"
    ),
    "policy 'm.secrets' with binding 'all-b' denied request: hunter2": (
        "MutatingAdmissionPolicy m.secrets of the cluster, by its binding all-b, does not allow it;"
    ),
    'policy "m.secrets" denied request: failed to configure policy: hunter2': (
        "MutatingAdmissionPolicy m.secrets of the cluster does not allow it;"
    ),
    'admission webhook "check.example.org" denied the request: policy "hunter2" denied request': (
        "webhook check.example.org of the cluster"
    ),
    'admission webhook "check.example.org" denied the request: hunter2': "webhook check.example.org of the cluster",
    'admission webhook "check.example.org" denied the request without explanation': "webhook check.example.org",
    f"{FORBIDDEN}exceeded quota: few, requested: secrets=1, used: secrets=1": "ResourceQuota few of",
    f"{FORBIDDEN}unable to create new content in namespace shop because it is being terminated": "is being deleted",
    'secrets is forbidden: User "system:serviceaccount:a:b" cannot create resource "secrets" in API group ""': (
        "may not create Secrets in namespace shop; check its role"
    ),
    f"{FORBIDDEN}cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on": (
        "OwnerReferencesPermissionEnforcement"
    ),
}


@pytest.mark.parametrize(("said", "told"), SAID.items(), ids=range(len(SAID)))
def test_who_refused_is_named_without_what_it_says_of_the_secret(said: str, told: str) -> None:
    found = who_refused(said, "create", "shop")
    assert found is not None
    assert told in found
    assert "hunter2" not in found


@pytest.mark.parametrize(
    "said",
    [
        "",
        "Secret is invalid: data[hunter2]: Invalid value",
        "ValidatingAdmissionPolicy 'HUNTER2 ' with binding 'b' denied request",
        'admission webhook "hunter 2" denied the request: no',
    ],
)
def test_what_names_nobody_is_not_repeated(said: str) -> None:
    assert who_refused(said, "create", "shop") is None


def test_webhook_that_cannot_be_called_is_named() -> None:
    said = 'Internal error occurred: failed calling webhook "a.example.org": failed to call webhook: hunter2'
    assert which_failed(said) == "the API server cannot call the admission webhook a.example.org"
    assert which_failed("Internal error occurred: hunter2") is None
