"""What a chart renders, and what can be said of it without a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kubernetes import client

Manifest = dict[str, Any]
CLUSTER_WIDE = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "Namespace"}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def of_kind(manifests: Iterable[Manifest], kind: str) -> list[Manifest]:
    return [each for each in manifests if each["kind"] == kind]


def one(manifests: Iterable[Manifest], kind: str, name: str | None = None) -> Manifest:
    (found,) = (each for each in of_kind(manifests, kind) if name in (None, each["metadata"]["name"]))
    return found


def named(manifests: Iterable[Manifest], kind: str) -> set[str]:
    return {each["metadata"]["name"] for each in of_kind(manifests, kind)}


def pod_of(manifest: Manifest) -> Manifest:
    spec: Manifest = manifest["spec"] if manifest["kind"] == "Pod" else manifest["spec"]["template"]["spec"]
    return spec


def operator(manifests: Iterable[Manifest]) -> Manifest:
    """The operator's container."""
    (container,) = pod_of(one(manifests, "Deployment"))["containers"]
    found: Manifest = container
    return found


def arguments(manifests: Iterable[Manifest]) -> dict[str, str]:
    """The flags that the operator is started with."""
    command, *flags = operator(manifests)["args"]
    assert command == "run"
    pairs = [argument.partition("=") for argument in flags]
    assert len({name for name, _, _ in pairs}) == len(pairs)
    return {name: text for name, _, text in pairs}


def granted(rules: Iterable[Mapping[str, Any]]) -> set[tuple[str, str, str]]:
    """Each verb that the rules grant, with its group and resource."""
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def faults(manifests: list[Manifest]) -> list[str]:
    """What is wrong about the manifests of one installation, as far as it shows without a cluster."""
    found = [*_badly_named(manifests), *_pointing_nowhere(manifests), *_selecting_wrongly(manifests)]
    for each in manifests:
        where = f"{each['kind']} {each['metadata']['name']}"
        found += [f"{where}: {fault}" for fault in unknown_fields(each)]
        if each["kind"] in ("Deployment", "Pod"):
            found += [f"{where}: {fault}" for fault in unrestricted(pod_of(each))]
    return found


def unrestricted(pod: Manifest) -> Iterator[str]:
    """What the Pod Security Standard "restricted" forbids.

    Source: the Kubernetes documentation's page on Pod Security Standards.
    """
    own = pod.get("securityContext", {})
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name):
            yield f"{name} is set"
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    for volume in pod.get("volumes", []):
        if not set(volume) - {"name"} <= allowed:
            yield f"volume {volume['name']} is of a kind that is not allowed"
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        context, name = container.get("securityContext", {}), container["name"]
        capabilities = context.get("capabilities", {})
        if context.get("privileged") or context.get("allowPrivilegeEscalation") is not False:
            yield f"{name} may gain privileges"
        if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            yield f"{name} has capabilities"
        if {**own, **context}.get("runAsNonRoot") is not True or {**own, **context}.get("runAsUser") == 0:
            yield f"{name} may run as root"
        if {**own, **context}.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            yield f"{name} has no seccomp profile"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"{name} takes a port of its node"


def unknown_fields(manifest: Manifest) -> list[str]:
    """Fields that the Kubernetes API of the client library does not have; nothing for kinds that it does not know."""
    group, _, version = manifest["apiVersion"].rpartition("/")
    if not group or group.endswith("k8s.io") or group in ("apps", "policy"):
        kind = f"{version.capitalize()}{manifest['kind']}"
        return list(_unknown(manifest, kind, "")) if hasattr(client, kind) else []
    return []


def _unknown(value: Any, kind: str, path: str) -> Iterator[str]:
    if listed := re.fullmatch(r"List\[(.+)]", kind):
        if not isinstance(value, list):
            yield f"{path} is no list"
            return
        for index, each in enumerate(value):
            yield from _unknown(each, listed[1], f"{path}[{index}]")
    elif mapped := re.fullmatch(r"Dict\[str, (.+)]", kind):
        if not isinstance(value, dict):
            yield f"{path} is no map"
            return
        for name, each in value.items():
            yield from _unknown(each, mapped[1], f"{path}.{name}")
    elif plain := {"str": str, "bool": bool, "int": int}.get(kind):
        if type(value) is not plain:
            yield f"{path} is {value!r}, not of type {kind}"
    elif model := getattr(client, kind, None):
        if not isinstance(value, dict):
            yield f"{path} is no {kind}"
            return
        fields = {model.attribute_map[name]: type_ for name, type_ in model.openapi_types.items()}
        for name, each in value.items():
            if name in fields:
                yield from _unknown(each, fields[name], f"{path}.{name}")
            else:
                yield f"there is no field {path}.{name}"


def _badly_named(manifests: list[Manifest]) -> Iterator[str]:
    seen = set()
    for each in manifests:
        meta, kind = each["metadata"], each["kind"]
        where = f"{kind} {meta['name']}"
        if not _NAME.fullmatch(meta["name"]):
            yield f"{where} is no name"
        if ("namespace" in meta) == (kind in CLUSTER_WIDE):
            yield f"{where}: namespace {meta.get('namespace')}"
        key = (kind, meta.get("namespace"), meta["name"])
        if key in seen:
            yield f"{where} is there twice"
        seen.add(key)
        labels = {
            **meta.get("labels", {}),
            **each.get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {}),
        }
        for name, value in labels.items():
            if not (_LABEL_KEY.fullmatch(name) and isinstance(value, str) and _LABEL.fullmatch(value)):
                yield f"{where}: label {name}={value}"


def _pointing_nowhere(manifests: list[Manifest]) -> Iterator[str]:
    deployment = one(manifests, "Deployment")
    pod, (container,) = pod_of(deployment), pod_of(deployment)["containers"]
    accounts = named(manifests, "ServiceAccount") or {pod["serviceAccountName"]}
    if pod["serviceAccountName"] not in accounts:
        yield f"there is no ServiceAccount {pod['serviceAccountName']}"
    for kind in ("Role", "ClusterRole"):
        roles = {(each["metadata"].get("namespace"), each["metadata"]["name"]) for each in of_kind(manifests, kind)}
        for binding in of_kind(manifests, f"{kind}Binding"):
            if (binding["metadata"].get("namespace"), binding["roleRef"]["name"]) not in roles:
                yield f"{kind}Binding {binding['metadata']['name']} grants what is not there"
            account = {"kind": "ServiceAccount", "name": pod["serviceAccountName"]}
            if binding["subjects"] != [account | {"namespace": deployment["metadata"]["namespace"]}]:
                yield f"{kind}Binding {binding['metadata']['name']} is for somebody else"
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounted = [mount["name"] for mount in container["volumeMounts"]]
    if sorted(mounted) != sorted(volumes):
        yield f"volumes {sorted(volumes)} are mounted as {sorted(mounted)}"
    if any("subPath" in mount for mount in container["volumeMounts"]):
        yield "what is mounted by subPath never changes"
    for volume in volumes.values():
        name = volume.get("configMap", {}).get("name", "")
        if name.startswith(deployment["metadata"]["name"]) and name not in named(manifests, "ConfigMap"):
            yield f"there is no ConfigMap {name}"
    ports = {port["name"] for port in container["ports"]}
    probes = [container[f"{each}Probe"]["httpGet"]["port"] for each in ("startup", "liveness", "readiness")]
    targets = [port["targetPort"] for port in one(manifests, "Service")["spec"]["ports"]]
    if not {*probes, *targets} <= ports:
        yield f"ports {probes + targets} are not among {ports}"


def _selecting_wrongly(manifests: list[Manifest]) -> Iterator[str]:
    operators = one(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
    others = [pod["metadata"]["labels"] for pod in of_kind(manifests, "Pod")]
    deployment = one(manifests, "Deployment")["spec"]
    selectors = {"Deployment": deployment["selector"]["matchLabels"]}
    selectors["Service"] = one(manifests, "Service")["spec"]["selector"]
    for kind, key in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        for each in of_kind(manifests, kind):
            selectors[kind] = each["spec"][key]["matchLabels"]
    spread = deployment["template"]["spec"].get("topologySpreadConstraints", [])
    selectors |= {each["topologyKey"]: each["labelSelector"]["matchLabels"] for each in spread}
    for name, selector in selectors.items():
        if not selector.items() <= operators.items():
            yield f"{name} does not select the operator's pods"
        if any(selector.items() <= labels.items() for labels in others):
            yield f"{name} selects other pods"
    for monitor in of_kind(manifests, "ServiceMonitor"):
        service = one(manifests, "Service")
        if not monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items():
            yield "the ServiceMonitor does not select the Service"
        known = {port["name"] for port in service["spec"]["ports"]}
        if not {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= known:
            yield "the ServiceMonitor asks at a port that is not there"
