"""An operator and a CustomResourceDefinition of different versions: after an upgrade or a roll-back of one of them, and
where another release, of another version, has installed the one that both use."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from rotated_secrets.api.crd import custom_resource_definition
from sandbox.kubernetes.client import Api, Json
from sandbox.operatorprocess import OperatorProcess
from sandbox.stack import CRD_NAME, Stack, install_crd
from sandbox.waiting import eventually
from tests.e2e.conftest import MakeApplication
from tests.support.applied import Applied, as_delivered

CRD_PATH = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{CRD_NAME}"
Change = Callable[[Json], None]


def newer(schema: Json) -> None:
    """What a later version may add: fields with a default, in the spec, in a part of it, and in the items of a list."""
    spec = schema["properties"]["spec"]["properties"]
    word = {"type": "string", "default": "Default", "description": "A later version knows it."}
    for part in (spec, spec["rotation"]["properties"], spec["rollout"]["properties"]["restart"]["items"]["properties"]):
        part["fresh"] = word
    spec["notices"] = {"type": "object", "default": {}, "properties": {"level": word}}
    schema["properties"]["status"]["properties"]["shard"] = {"type": "integer"}


def older(schema: Json) -> None:
    """What an earlier version did not have yet."""
    properties = schema["properties"]
    for name in ("rights", "scheduledBy"):
        properties["spec"]["properties"]["rotation"]["properties"].pop(name, None)
    for name in ("lastLoginTime", "rolledOutVersionId", "lastRotationDuration"):
        properties["status"]["properties"].pop(name, None)


@contextmanager
def definition(stack: Stack, change: Change) -> Iterator[None]:
    """The CustomResourceDefinition of another version, until the end."""
    crd = copy.deepcopy(custom_resource_definition())
    change(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    try:
        stack.api.patch(CRD_PATH, {"spec": crd["spec"]})
        yield
    finally:
        install_crd(stack.cluster)


def stored(api: Api, namespace: str) -> Json:
    """The spec that the API server makes of a RotatedSecret now."""
    spec = {"source": {"secretId": "x"}, "rotation": {"strategy": "SingleUser", "rights": "Report"}}
    path = f"/apis/rotatedsecrets.io/v1alpha1/namespaces/{namespace}/rotatedsecrets"
    body = {
        "apiVersion": "rotatedsecrets.io/v1alpha1",
        "kind": "RotatedSecret",
        "metadata": {"name": "x"},
        "spec": spec,
    }
    made: Json = api.create(path, body, dryRun="All")["spec"]
    return made


def rotates(orders: Applied, request: str) -> None:
    orders.rotate(request)
    assert orders.secret() == as_delivered(orders.application.value())


def test_an_operator_goes_on_beside_a_newer_definition_and_after_its_roll_back(
    operator: OperatorProcess, make_application: MakeApplication, stack: Stack, home: str
) -> None:
    before, during = make_application(), make_application()
    before.apply().until_ready()
    with definition(stack, newer):
        eventually(lambda: "fresh" in stored(stack.api, home), "the newer definition is in force")
        restart = [{"kind": "Deployment", "name": "absent"}]
        during.apply({"rollout": {"restart": restart}, "notices": {"level": "Loud"}}).until_ready()
        assert during.read()["spec"]["rollout"]["restart"][0]["fresh"] == "Default"
        for each in (before, during):
            rotates(each, "while the definition is newer")
        told = [line for line in operator.log().splitlines() if "does not know spec.fresh" in line]
        assert len(told) == 1, "it is told once, not for each RotatedSecret"
    eventually(lambda: "fresh" not in stored(stack.api, home), "the operator's own definition is in force")
    for each in (before, during):
        rotates(each, "after the roll-back")
        assert each.condition("Ready")["status"] == "True"


@pytest.mark.usefixtures("operator")
def test_an_operator_goes_on_beside_an_older_definition(
    make_application: MakeApplication, stack: Stack, home: str
) -> None:
    orders = make_application()
    with definition(stack, older):
        eventually(lambda: "rights" not in stored(stack.api, home)["rotation"], "the older definition is in force")
        orders.apply().until_ready()
        rotates(orders, "while the definition is older")
    eventually(lambda: "rights" in stored(stack.api, home)["rotation"], "the operator's own definition is in force")
    rotates(orders, "after the upgrade")
