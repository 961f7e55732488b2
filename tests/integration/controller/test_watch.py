"""What the operator looks at, and how soon, when something in the cluster moves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from rotated_secrets.api.names import MANAGED_BY_LABEL, OWNER_ANNOTATION, ROTATE_ANNOTATION
from sandbox.kubernetes.client import Api
from sandbox.kubernetes.provider import Cluster
from sandbox.prefork import Prefork
from sandbox.waiting import eventually
from tests.integration.controller.conftest import Objects, Process, Start, operators


@pytest.fixture(scope="module")
def everywhere(crd: None, cluster: Cluster, api: Api, interpreter: Prefork) -> Iterator[Process]:
    """An operator that serves every namespace."""
    namespace = api.create("/api/v1/namespaces", {"metadata": {"generateName": "operator-"}})["metadata"]["name"]
    with operators(cluster, namespace, interpreter) as start:
        process = start()
        process.wait_for(" leads$")
        yield process
    api.delete(f"/api/v1/namespaces/{namespace}")


@pytest.fixture
def operator(everywhere: Process, objects: Objects) -> Process:
    """An operator that knows one RotatedSecret, ``orders``."""
    objects.make("orders")
    everywhere.wait_for(f"looked {objects.namespace}/orders there")
    return everywhere


def test_what_was_there_before_the_start_is_looked_at_once(start: Start, objects: Objects) -> None:
    objects.make("orders")
    operator = start()
    operator.wait_for(f"looked {objects.namespace}/orders there")
    objects.make("later")
    operator.wait_for(f"looked {objects.namespace}/later there")
    assert operator.text.count(f"looked {objects.namespace}/orders") == 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"spec": {"rotation": {"suspend": True}}}, id="spec"),
        pytest.param({"metadata": {"annotations": {ROTATE_ANNOTATION: "now"}}}, id="annotation"),
    ],
)
def test_a_change_is_looked_at(operator: Process, objects: Objects, change: dict[str, object]) -> None:
    before = time.monotonic()
    objects.patch("orders", change)
    operator.wait_for(f"looked {objects.namespace}/orders there", after=before)


def test_a_status_write_is_not_looked_at(operator: Process, objects: Objects) -> None:
    before = time.monotonic()
    objects.patch_status("orders", {"engine": "postgres"})
    objects.make("later")
    operator.wait_for(f"looked {objects.namespace}/later there")
    assert not operator.find(f"looked {objects.namespace}/orders", after=before)


def test_a_deletion_is_looked_at_and_its_rival_too(operator: Process, objects: Objects) -> None:
    made = objects.read("orders")["metadata"]["creationTimestamp"]
    eventually(lambda: f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}" > made, "what is made now is younger")
    objects.make("rival", secret_id=f"{objects.namespace}/orders")
    operator.wait_for(f"looked {objects.namespace}/rival there")
    before = time.monotonic()
    objects.delete("orders")
    operator.wait_for(f"looked {objects.namespace}/orders gone", after=before)
    operator.wait_for(f"looked {objects.namespace}/rival there", after=before)


@pytest.mark.parametrize("how", ["edited", "deleted", "disowned", "unlabelled"])
def test_its_owner_hears_within_a_second_that_a_target_secret_was(
    how: str, operator: Process, objects: Objects
) -> None:
    owner = f"{objects.namespace}/orders"
    before = time.monotonic()
    objects.make_target("orders", owner)
    operator.wait_for(f"looked {owner} there", after=before)

    before = time.monotonic()
    match how:
        case "edited":
            objects.patch_target("orders", {"stringData": {"password": "mine"}})
        case "deleted":
            objects.delete_target("orders")
        case "disowned":
            objects.patch_target("orders", {"metadata": {"annotations": {OWNER_ANNOTATION: None}}})
        case "unlabelled":
            objects.patch_target("orders", {"metadata": {"labels": {MANAGED_BY_LABEL: None}}})
    done = time.monotonic()

    looked, _ = operator.wait_for(f"looked {owner} there", after=before)
    assert looked - done < 1


def test_the_owner_named_by_the_annotation_hears_of_a_secret_it_no_longer_names(
    operator: Process, objects: Objects
) -> None:
    before = time.monotonic()
    objects.make_target("left-behind", f"{objects.namespace}/orders")
    operator.wait_for(f"looked {objects.namespace}/orders there", after=before)


def test_watching_writes_nothing(start: Start, objects: Objects) -> None:
    made = objects.make("untouched")
    operator = start()
    operator.wait_for(f"looked {objects.namespace}/untouched there")
    operator.signal(15)
    assert operator.wait() == 0
    assert objects.read("untouched") == made
    assert not objects.events()


def test_probes_and_metrics_tell_of_a_working_leader(operator: Process) -> None:
    status, health = operator.get("/healthz")
    assert (status, "leads: yes" in health, "last event: " in health) == (200, True, True), health
    assert operator.get("/readyz")[0] == 200
    status, metrics = operator.get("/metrics")
    assert status == 200
    assert "rotatedsecrets_leader 1.0" in metrics
    assert "rotatedsecrets_queue_depth 0.0" in metrics
    assert operator.get("/elsewhere")[0] == 404
