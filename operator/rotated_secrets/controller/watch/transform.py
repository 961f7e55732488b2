"""What is kept of a RotatedSecret that a list or a watch shows: little, however large the object is.

client-go calls this the transform of an informer. Who may write a RotatedSecret decides what is in its metadata, and
the API server takes up to 1.5 MiB: none of it may add up in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.cluster import Json

LARGEST: Final = 512 << 10
"""Bytes of a RotatedSecret as JSON. The largest spec that the schema allows has about 120 KiB; `kubectl apply` writes a
copy of it into an annotation, and a status has at most 200 KiB."""
DIGEST: Final = "digest"
"""Stands for all annotations: whether one of them changed is all that the index asks."""
FOLLOWS: Final = "follows"
"""In the spec that is kept: External without a schedule rotates nothing, so that it is in no other's way."""

_METADATA: Final = (
    "namespace",
    "name",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
)


def transform(obj: Mapping[str, Any], size: int) -> Json:
    """Return what the index needs of a RotatedSecret; of one that is larger than :data:`LARGEST` no spec either."""
    metadata = obj["metadata"]
    kept: Json = {"metadata": {name: metadata[name] for name in _METADATA if name in metadata}}
    kept |= {name: obj[name] for name in ("apiVersion", "kind") if name in obj}
    if size > LARGEST:
        return kept
    annotations = json.dumps(metadata.get("annotations") or {}, sort_keys=True).encode()
    kept["metadata"]["annotations"] = {DIGEST: hashlib.blake2b(annotations, digest_size=16).hexdigest()}
    spec = obj.get("spec") or {}
    source, target = spec.get("source") or {}, spec.get("target") or {}
    kept["spec"] = {
        "source": {name: source[name] for name in ("secretId", "region", "credentials") if name in source},
        "target": {name: target[name] for name in ("secretName",) if name in target},
    }
    rotation = spec.get("rotation") or {}
    if rotation.get("strategy") == Strategy.EXTERNAL and not rotation.get("schedule"):
        kept["spec"][FOLLOWS] = True
    return kept


def only_metadata(obj: Mapping[str, Any], size: int) -> Json:  # noqa: ARG001 - however large it is
    """Return which object this is, and nothing else."""
    metadata = obj["metadata"]
    return {"metadata": {name: metadata[name] for name in ("namespace", "name", "uid")}}


def parts_by_size(obj: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return the parts of an object that people write with their lengths as JSON, the largest first."""
    parts = {f"metadata.{name}": value for name, value in obj["metadata"].items()}
    parts |= {f"spec.{name}": value for name, value in (obj.get("spec") or {}).items()}
    sizes = {name: len(json.dumps(value, ensure_ascii=False).encode()) for name, value in parts.items()}
    return sorted(sizes.items(), key=lambda part: -part[1])
