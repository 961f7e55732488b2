"""The operator's memory, whatever a tenant puts into the cluster: a real process, and objects as large as they get.

On a cluster of their own, since some are larger than the CRD lets them be: they are older than its limits.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rotated_secrets.api.crd import custom_resource_definition
from rotated_secrets.api.names import API_VERSION, KIND, MANAGED_BY, MANAGED_BY_LABEL, PLURAL
from sandbox.kubernetes.client import Api, Json, StatusError
from sandbox.kubernetes.provider import Choice, Cluster, Provider, running_cluster
from sandbox.operatorprocess import OperatorProcess
from sandbox.stack import install_crd
from sandbox.waiting import eventually

MIB = 1 << 20
LARGEST_PEAK = 300 * MIB
"""Below it with 100 MiB to spare; without the limits it was 890 MiB, and more with each object."""
NAMESPACE = "crowded"
SECRETS, ANNOTATED, RESOURCES = 150, 100, 120
OURS = {MANAGED_BY_LABEL: MANAGED_BY}

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Crowded:
    cluster: Cluster
    resources: int


def permissive_crd() -> Json:
    """The CRD as it might have been, with no limits."""
    crd = copy.deepcopy(custom_resource_definition())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["x-kubernetes-validations"]  # they name fields of the spec
    for part in ("spec", "status"):
        schema["properties"][part] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return crd


def secret(number: int) -> Json:
    """One of 1 MiB, with the label that anyone may set."""
    return {"metadata": {"name": f"large-{number}", "labels": OURS}, "stringData": {"x": "y" * (MIB - 1)}}


def annotated(number: int) -> Json:
    """A Secret with 256 KiB of annotations, the most that the API server takes."""
    annotations = {f"example.org/{key}": "x" * 230 for key in range(1000)}
    return {"metadata": {"name": f"annotated-{number}", "labels": OURS, "annotations": annotations}}


def resource(number: int) -> Json:
    """A RotatedSecret of 1 MB."""
    spec = {
        "source": {"secretId": f"{NAMESPACE}/{number}", "region": "eu-west-1"},
        "rotation": {"strategy": "SingleUser"},
        "target": {"template": {f"key-{key}": "x" * 16_000 for key in range(62)}},
    }
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": f"large-{number}"}, "spec": spec}


@pytest.fixture(scope="module")
def crowded(cluster: Cluster) -> Iterator[Crowded]:
    if cluster.provider is Provider.CONTEXT:
        pytest.skip("fills no cluster that is not its own")
    # The embedded API keeps all of it in its own memory.
    share = 5 if cluster.provider is Provider.EMBEDDED else 1
    with running_cluster(Choice.make(cluster.provider)) as own, ThreadPoolExecutor(4) as pool:
        api = own.api()
        api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", permissive_crd())
        api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        secrets = f"/api/v1/namespaces/{NAMESPACE}/secrets"
        resources = f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/{PLURAL}"
        eventually(lambda: serves(api, resources), "the CRD is served")

        def make(path: str, count: int, body: Callable[[int], Json]) -> None:
            list(pool.map(lambda number: api.create(path, body(number)), range(count // share)))

        make(secrets, SECRETS, secret)
        make(secrets, ANNOTATED, annotated)
        make(resources, RESOURCES, resource)
        install_crd(own)
        yield Crowded(own, RESOURCES // share)


def serves(api: Api, path: str) -> bool:
    try:
        api.get(path)
    except StatusError:
        return False
    return True


def peak(process: OperatorProcess) -> int:
    """The most memory that the process ever had, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    assert found
    return int(found[1]) << 10


def conditions(api: Api, number: int) -> dict[str, Any]:
    path = f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/{PLURAL}/large-{number}"
    return {each["type"]: each for each in api.get(path).get("status", {}).get("conditions", [])}


def test_objects_of_one_tenant_do_not_fill_the_operators_memory(crowded: Crowded, tmp_path: Path) -> None:
    flags = ["--kubeconfig", str(crowded.cluster.kubeconfig), "--lease-namespace", NAMESPACE, "--log-format", "text"]
    probes = ["--probe-host", "127.0.0.1", "--probe-port", "0"]
    # Nothing of it is asked of AWS, since every RotatedSecret is refused before.
    aws = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_REGION": "eu-west-1"}
    with OperatorProcess.told(["run", *flags, *probes], aws, tmp_path / "log") as process:
        process.wait_until_it_leads(120)
        eventually(
            lambda: process.get("/metrics").count("rotatedsecrets_ready{") == crowded.resources,
            "each is reported",
            seconds=300,
            every=0.5,
        )
        found = peak(process)
        eventually(lambda: "Ready" in conditions(crowded.cluster.api(), 0), "its status is written", seconds=30)
        assert process.terminate() == 0
    ready = conditions(crowded.cluster.api(), 0)["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "InvalidSpec")
    assert "remove what fills spec.target" in ready["message"]
    assert found < LARGEST_PEAK, f"{found / MIB:.0f} MiB"
