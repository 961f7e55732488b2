"""What the API server itself knows of metadata, Secrets, Events and Namespaces; pure."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

from sandbox.kubernetes.embedded import errors
from sandbox.kubernetes.embedded.errors import FieldError
from sandbox.kubernetes.embedded.store import Obj

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_SECRET_KEYS = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
}
_ACCOUNT = "kubernetes.io/service-account.name"
_ONE_MIB = 1024 * 1024

# Event in events.k8s.io/v1 → in v1; the names not listed are the same in both.
_EVENT_NAMES = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}


def metadata_errors(obj: Obj, storage: str) -> Iterator[FieldError]:
    meta = obj["metadata"]
    name = meta["name"]
    if storage.endswith(".rbac.authorization.k8s.io"):
        if "/" in name or "%" in name:
            yield errors.invalid_value("metadata.name", name, "may not contain '/' or '%'")
    elif storage == "namespaces":
        if len(name) > 63 or not _LABEL.fullmatch(name):
            yield errors.invalid_value(
                "metadata.name",
                name,
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'",
            )
    elif len(name) > 253 or not _SUBDOMAIN.fullmatch(name):
        yield errors.invalid_value("metadata.name", name, _SUBDOMAIN_RULE)
    for key, value in (meta.get("labels") or {}).items():
        if not _is_qualified(key):
            yield errors.invalid_value(
                "metadata.labels", key, "name part must consist of alphanumeric characters, '-', '_' or '.'"
            )
        if value and (len(value) > 63 or not _QUALIFIED.fullmatch(value)):
            yield errors.invalid_value(
                "metadata.labels",
                value,
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.'",
            )
    annotations = meta.get("annotations") or {}
    for key in annotations:
        if not _is_qualified(key.lower()):
            yield errors.invalid_value(
                "metadata.annotations", key, "name part must consist of alphanumeric characters, '-', '_' or '.'"
            )
    if sum(len(key) + len(value) for key, value in annotations.items()) > _ONE_MIB // 4:
        yield FieldError("metadata.annotations", "FieldValueTooLong", "Too long: may not be more than 262144 bytes")
    for index, owner in enumerate(meta.get("ownerReferences") or ()):
        for part in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(part):
                yield errors.invalid_value(f"metadata.ownerReferences[{index}].{part}", "", f"{part} must not be empty")


def _is_qualified(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    is_prefix = not slash or bool(_SUBDOMAIN.fullmatch(prefix))
    return is_prefix and 0 < len(name) <= 63 and bool(_QUALIFIED.fullmatch(name))


# ---- Secrets and ConfigMaps


def _prepare_secret(obj: Obj) -> None:
    """Fold `stringData` into `data` and set the type that an empty one means."""
    obj["type"] = obj.get("type") or "Opaque"
    plain = obj.pop("stringData", None)
    data = obj.get("data") or {}
    data |= {key: base64.b64encode(value.encode()).decode() for key, value in (plain or {}).items()}
    if data:
        obj["data"] = data
    else:
        obj.pop("data", None)


def _secret_errors(obj: Obj, old: Obj | None) -> Iterator[FieldError]:
    data = obj.get("data", {})
    yield from _key_errors(data, "data")
    if sum(len(value) * 3 // 4 for value in data.values()) > _ONE_MIB:
        yield FieldError("data", "FieldValueTooLong", "Too long: may not be more than 1048576 bytes")
    for key in _SECRET_KEYS.get(obj["type"], ()):
        if key not in data:
            yield errors.required(f"data[{key}]")
    if obj["type"] == "kubernetes.io/basic-auth" and not {"username", "password"} & set(data):
        yield errors.required("data[username]")
        yield errors.required("data[password]")
    if obj["type"] in ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg"):
        key = _SECRET_KEYS[obj["type"]][0]
        if key in data and not _is_json(base64.b64decode(data[key])):
            yield errors.invalid_value(f"data[{key}]", "<secret contents redacted>", "invalid character in JSON")
    annotations = obj["metadata"].get("annotations") or {}
    if obj["type"] == "kubernetes.io/service-account-token" and not annotations.get(_ACCOUNT):
        yield errors.required(f"metadata.annotations[{_ACCOUNT}]")
    if old and obj["type"] != old["type"]:
        yield errors.invalid_value("type", obj["type"], "field is immutable")
    yield from _immutable_errors(obj, old, ("data",))


def _config_map_errors(obj: Obj, old: Obj | None) -> Iterator[FieldError]:
    for part in ("data", "binaryData"):
        yield from _key_errors(obj.get(part) or {}, part)
    yield from _immutable_errors(obj, old, ("data", "binaryData"))


def _key_errors(data: dict[str, Any], at: str) -> Iterator[FieldError]:
    for key in data:
        if len(key) > 253 or key in (".", "..") or not _CONFIG_KEY.fullmatch(key):
            why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
            yield errors.invalid_value(f"{at}[{key}]", key, why)


def _immutable_errors(obj: Obj, old: Obj | None, parts: tuple[str, ...]) -> Iterator[FieldError]:
    if old and old.get("immutable"):
        for part in ("immutable", *parts):
            if obj.get(part) != old.get(part):
                yield errors.field_forbidden(part, "field is immutable when `immutable` is set")


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


# ---- Events


def event_to_v1(obj: Obj) -> Obj:
    return {"apiVersion": "v1"} | {
        _EVENT_NAMES.get(name, name): value for name, value in obj.items() if name != "apiVersion"
    }


def event_from_v1(obj: Obj) -> Obj:
    back = {value: name for name, value in _EVENT_NAMES.items()}
    return {"apiVersion": "events.k8s.io/v1"} | {
        back.get(name, name): value for name, value in obj.items() if name != "apiVersion"
    }


def _event_errors(obj: Obj) -> Iterator[FieldError]:
    about, namespace = obj.get("involvedObject", {}), obj["metadata"]["namespace"]
    if about.get("namespace", "") != namespace and (about.get("namespace") or namespace != "default"):
        given = about.get("namespace", "")
        yield errors.invalid_value("involvedObject.namespace", given, "does not match event.namespace")


def new_event_errors(obj: Obj) -> Iterator[FieldError]:
    """What events.k8s.io/v1 asks for beside; `obj` as v1 has it."""
    if not obj.get("eventTime"):
        yield errors.required("eventTime")
    else:
        shown = {"reportingComponent": "reportingController"}
        for name in ("reportingComponent", "reportingInstance", "action", "reason"):
            if not obj.get(name):
                yield errors.required(shown.get(name, name))
    if obj.get("type") not in ("Normal", "Warning"):
        yield errors.invalid_value("type", obj.get("type", ""), "has invalid value: ")
    if len(obj.get("message", "")) > 1024:
        yield errors.invalid_value("message", "", "can have at most 1024 characters")


# ---- others


def admit(storage: str, new: Obj, old: Obj | None) -> list[FieldError]:
    """Fills in, in place, what the kind has of itself, and tells what is wrong with it."""
    match storage:
        case "secrets":
            _prepare_secret(new)
            return list(_secret_errors(new, old))
        case "configmaps":
            return list(_config_map_errors(new, old))
        case "events":
            return list(_event_errors(new))
        case "leases.coordination.k8s.io":
            return list(_lease_errors(new))
        case "namespaces" if old is None:
            new |= {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
            new["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = new["metadata"]["name"]
        case "pods" if old is None:
            new["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
    return []


def _lease_errors(obj: Obj) -> Iterator[FieldError]:
    spec = obj.get("spec", {})
    if spec.get("leaseDurationSeconds", 1) <= 0:
        yield errors.invalid_value("spec.leaseDurationSeconds", spec["leaseDurationSeconds"], "must be greater than 0")
    if spec.get("leaseTransitions", 0) < 0:
        yield errors.invalid_value(
            "spec.leaseTransitions", spec["leaseTransitions"], "must be greater than or equal to 0"
        )
