"""Reads the protobuf bodies that kubectl's typed commands send (`kubectl create secret`, `create namespace` and so on).

Field numbers are those of Kubernetes' generated.proto files. A kind or a field that is not listed is refused, not lost.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from sandbox.kubernetes.embedded.errors import ApiError

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_VARINT, _LENGTH = 0, 2
_META = {1: ("metadata", "ObjectMeta"), 3: ("status", "unused")}  # no client decides about a status on creation
_MESSAGES: dict[str, dict[int, tuple[str, str]]] = {
    "Unknown": {1: ("typeMeta", "TypeMeta"), 2: ("raw", "raw")},
    "TypeMeta": {1: ("apiVersion", "text"), 2: ("kind", "text")},
    "ObjectMeta": {
        1: ("name", "text"),
        2: ("generateName", "text"),
        3: ("namespace", "text"),
        5: ("uid", "text"),
        6: ("resourceVersion", "text"),
        11: ("labels", "map"),
        12: ("annotations", "map"),
        13: ("ownerReferences", "[]OwnerReference"),
        14: ("finalizers", "[]text"),
    },
    "OwnerReference": {
        1: ("kind", "text"),
        3: ("name", "text"),
        4: ("uid", "text"),
        5: ("apiVersion", "text"),
        6: ("controller", "flag"),
        7: ("blockOwnerDeletion", "flag"),
    },
    "DeleteOptions": {
        1: ("gracePeriodSeconds", "number"),
        2: ("preconditions", "Preconditions"),
        3: ("orphanDependents", "flag"),
        4: ("propagationPolicy", "text"),
        5: ("dryRun", "[]text"),
    },
    "Preconditions": {1: ("uid", "text"), 2: ("resourceVersion", "text")},
    "Namespace": _META,
    "Secret": _META
    | {2: ("data", "binary map"), 3: ("type", "text"), 4: ("stringData", "map"), 5: ("immutable", "flag")},
    "ConfigMap": _META | {2: ("data", "map"), 3: ("binaryData", "binary map"), 4: ("immutable", "flag")},
    "ServiceAccount": _META | {4: ("automountServiceAccountToken", "flag")},
    "TokenRequest": _META | {2: ("spec", "TokenRequestSpec")},
    "TokenRequestSpec": {1: ("audiences", "[]text"), 4: ("expirationSeconds", "number")},
    "SelfSubjectAccessReview": _META | {2: ("spec", "SelfSubjectAccessReviewSpec")},
    "SelfSubjectAccessReviewSpec": {
        1: ("resourceAttributes", "ResourceAttributes"),
        2: ("nonResourceAttributes", "NonResourceAttributes"),
    },
    "NonResourceAttributes": {1: ("path", "text"), 2: ("verb", "text")},
    "SelfSubjectRulesReview": _META | {2: ("spec", "SelfSubjectRulesReviewSpec")},
    "SelfSubjectRulesReviewSpec": {1: ("namespace", "text")},
    "ResourceAttributes": {
        index: (name, "text")
        for index, name in enumerate(("namespace", "verb", "group", "version", "resource", "subresource", "name"), 1)
    },
}


def decode(body: bytes) -> dict[str, Any]:
    """The JSON form of a protobuf body; raises ApiError 415 for what it cannot read."""
    if not body.startswith(_MAGIC):
        raise _refused("no Kubernetes protobuf")
    envelope = _message(body[len(_MAGIC) :], "Unknown")
    told: dict[str, Any] = envelope["typeMeta"]
    if told["kind"] not in _MESSAGES:
        raise _refused(f"protobuf of kind {told['kind']}")
    return told | _message(envelope.get("raw", b""), told["kind"])


def _message(data: bytes, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, value in _fields(data):
        if number not in _MESSAGES[kind]:
            if value:
                raise _refused(f"protobuf field {number} of {kind}")
            continue
        name, written = _MESSAGES[kind][number]
        if written == "unused":
            continue
        if written.endswith("map"):
            pair = dict(_fields(value)) if isinstance(value, bytes) else {}
            held = pair.get(2, b"")
            text = base64.b64encode(held).decode() if written.startswith("binary") else held.decode()
            found.setdefault(name, {})[pair[1].decode()] = text
        elif written.startswith("[]"):
            found.setdefault(name, []).append(_value(value, written[2:]))
        elif value != b"" or written in _MESSAGES:
            found[name] = _value(value, written)
    return found


def _value(value: Any, written: str) -> Any:
    match written:
        case "text":
            return value.decode()
        case "flag":
            return bool(value)
        case "number" | "raw":
            return value
    return _message(value, written)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value, at = _varint(data, at)
        if tag & 7 == _LENGTH:
            yield tag >> 3, data[at : at + value]
            at += value
        elif tag & 7 == _VARINT:
            yield tag >> 3, value
        else:
            raise _refused("protobuf of an unexpected form")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at


def _refused(what: str) -> ApiError:
    return ApiError(415, "UnsupportedMediaType", f"the embedded API cannot read {what}; send JSON (kubectl apply -f)")
