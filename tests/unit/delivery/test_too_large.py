"""An object that is larger than the operator reads is not said to be an API server that does not answer."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from rotated_secrets.api.rollout import Workload, WorkloadKind
from rotated_secrets.cluster import ObjectTooLarge
from rotated_secrets.controller.aws.service_accounts import ServiceAccounts
from rotated_secrets.delivery.errors import DeliveryRefused
from rotated_secrets.delivery.restart import RestartKind
from rotated_secrets.delivery.restarts import ClusterWorkloads
from rotated_secrets.delivery.targets import MOST_AUTHORITIES, TargetSecrets
from rotated_secrets.secretstores.base import AccessDenied
from rotated_secrets.values import VersionId


class Enormous:
    """An API server whose objects are all too large."""

    def request(self, method: str, path: str, **_: Any) -> Any:
        raise ObjectTooLarge(f"{method} {path}: the object has more than 10000 values")


ENORMOUS: Any = Enormous()


def test_workload_that_is_too_large_is_not_restarted_and_this_is_told() -> None:
    workloads = ClusterWorkloads(ENORMOUS, namespace="shop", owner_name="orders", on_restart=lambda *_: None)
    restart = workloads.restart(Workload(kind=WorkloadKind.DEPLOYMENT, name="api"), VersionId("v1"))
    assert restart.kind is RestartKind.REFUSED
    assert "cannot read it: it has more than 16 MiB or 10,000 values" in restart.message


def test_service_account_that_is_too_large_is_told() -> None:
    with pytest.raises(AccessDenied, match="ServiceAccount api of namespace shop cannot be read: it has more than"):
        ServiceAccounts(ENORMOUS).read("shop", "api")


def test_secret_with_authorities_that_is_too_large_is_told() -> None:
    with pytest.raises(DeliveryRefused, match=r"get Secret shop/ca: it has more than .*; remove keys, labels or annot"):
        TargetSecrets(ENORMOUS).certificate_authorities("shop", "ca")


@pytest.mark.parametrize("beyond", [-1000, 1000])
def test_more_authorities_than_systems_trust_are_refused(beyond: int) -> None:
    """Each of 128 runs that wait for a host may hold them."""
    certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    text = certificate * ((MOST_AUTHORITIES + beyond) // len(certificate))

    class Holding:
        def request(self, *_: object, **__: object) -> Any:
            metadata = {"namespace": "shop", "name": "ca", "uid": "1", "resourceVersion": "1"}
            return {"metadata": metadata, "data": {"ca.crt": base64.b64encode(text.encode()).decode()}}

    holding: Any = Holding()
    secrets = TargetSecrets(holding)
    if beyond < 0:
        assert secrets.certificate_authorities("shop", "ca") == text
        return
    with pytest.raises(DeliveryRefused, match="the operator reads 512 KiB of certificates at most"):
        secrets.certificate_authorities("shop", "ca")
