"""Compares the target Secret with its desired state, and computes what to write. Pure.

A Secret belongs to the RotatedSecret that its owner annotation names; any other Secret is changed only if its adoption
annotation allows it. An annotation records what the operator wrote, so that the operator can remove it later without
touching what others wrote.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from types import MappingProxyType
from typing import Any, Final

from rotated_secrets.api import names
from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.status import Reason
from rotated_secrets.api.target import TOKEN_TYPES, CreationPolicy, DeletionPolicy
from rotated_secrets.api.value_keys import KNOWN_KEYS
from rotated_secrets.delivery.render import bytes_of
from rotated_secrets.delivery.written import last_written, record_of, without
from rotated_secrets.values import Arn, SecretText, VersionId

_ID_LENGTH = 64
"""Most characters of a ClientRequestToken (PutSecretValue, API Reference)."""

_CLOCKS_DIFFER: Final = timedelta(minutes=5)
"""The first time that is written for a version is by the clock of the operator that made it, later ones by AWS's."""


@dataclass(frozen=True)
class LiveSecret:
    """A Secret as the API server returns it. Its data stay base64, since data written by others may not be text."""

    namespace: str
    name: str
    type: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owner_references: tuple[Mapping[str, Any], ...]
    data: Mapping[str, SecretText]
    uid: str = ""
    resource_version: str = ""
    finalizers: tuple[str, ...] = ()
    immutable: bool = False
    deleting: bool = False

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, obj: Mapping[str, Any]) -> LiveSecret:
        """Parse what the API server returned, by a request or a watch."""
        metadata = obj["metadata"]
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            type=obj.get("type") or "Opaque",
            labels=MappingProxyType(dict(metadata.get("labels") or {})),
            annotations=MappingProxyType(dict(metadata.get("annotations") or {})),
            owner_references=tuple(metadata.get("ownerReferences") or ()),
            data=MappingProxyType({key: SecretText(text) for key, text in (obj.get("data") or {}).items()}),
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
            finalizers=tuple(metadata.get("finalizers") or ()),
            immutable=bool(obj.get("immutable")),
            deleting="deletionTimestamp" in metadata,
        )

    @property
    def owner(self) -> str | None:
        """``namespace/name`` of the RotatedSecret that owns this Secret, if there is one."""
        return self.annotations.get(names.OWNER_ANNOTATION)

    def manifest(self) -> dict[str, Any]:
        """Return the body of a request that writes it; uid and resourceVersion, if set, are preconditions."""
        identity = {"uid": self.uid, "resourceVersion": self.resource_version} if self.uid else {}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "namespace": self.namespace,
                "name": self.name,
                **identity,
                "labels": dict(self.labels),
                "annotations": dict(self.annotations),
                "ownerReferences": [dict(reference) for reference in self.owner_references],
                "finalizers": list(self.finalizers),
            },
            "type": self.type,
            **({"immutable": True} if self.immutable else {}),
            "data": {key: text.reveal() for key, text in self.data.items()},
        }


@dataclass(frozen=True)
class DesiredSecret:
    """What a RotatedSecret's target Secret should be for one version of the value."""

    namespace: str
    name: str
    owner_name: str
    owner_uid: str
    type: str
    data: Mapping[str, SecretText]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    version_id: VersionId
    secret_arn: Arn
    rotated_at: datetime
    templates: frozenset[str] = frozenset()
    """Keys that the resource itself names, in its template or its keys."""
    immutable: bool = False
    """Whether no client can change it, so that another one takes its place where it has to change."""
    creation_policy: CreationPolicy = CreationPolicy.OWNER
    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE
    owner_is_deleted: bool = False

    @classmethod
    def of(
        cls,
        resource: RotatedSecret,
        data: Mapping[str, SecretText],
        *,
        version_id: VersionId,
        secret_arn: Arn,
        rotated_at: datetime,
    ) -> DesiredSecret:
        """Return the desired Secret of ``resource`` with its rendered ``data``. Not for creationPolicy None."""
        target = resource.spec.target
        return cls(
            namespace=resource.namespace,
            name=resource.target_name,
            owner_name=resource.name,
            owner_uid=resource.uid,
            type=target.kubernetes_type,
            data=data,
            labels=target.labels,
            annotations=target.annotations,
            version_id=version_id,
            secret_arn=secret_arn,
            rotated_at=rotated_at,
            templates=target.named_keys,
            immutable=target.immutable,
            creation_policy=target.creation_policy,
            deletion_policy=target.deletion_policy,
            owner_is_deleted=resource.deleting,
        )

    @property
    def owner(self) -> str:
        return f"{self.namespace}/{self.owner_name}"

    @property
    def is_merged(self) -> bool:
        return self.creation_policy is CreationPolicy.MERGE


class TargetKind(Enum):
    """How the target Secret compares with its desired state."""

    ABSENT = auto()
    EQUAL = auto()
    DIFFERS = auto()
    CONFLICT = auto()


@dataclass(frozen=True)
class TargetState:
    """The result of comparing the target Secret with its desired state."""

    kind: TargetKind
    version_id: VersionId | None = None
    """The version that the Secret holds according to its annotation; None if it belongs to others."""
    reason: Reason | None = None
    """For a conflict, the reason of the condition Synced."""
    message: str = ""
    """For a conflict, the cause and how to resolve it; for a difference, what differs; never a value."""


def compare(live: LiveSecret | None, desired: DesiredSecret) -> TargetState:
    """Compare ``live`` with ``desired``. The result of :func:`applied` compares as EQUAL."""
    who = f"Secret {desired.namespace}/{desired.name}"
    if live is None:
        if not desired.is_merged:
            return TargetState(TargetKind.ABSENT)
        return TargetState(
            TargetKind.CONFLICT,
            reason=Reason.SECRET_CONFLICT,
            message=f"{who} does not exist, and creationPolicy: Merge creates none; create it, or write Owner instead",
        )
    names_version = _is_ours(live, desired) and names.VERSION_ID_ANNOTATION in live.annotations
    version_id = VersionId(live.annotations[names.VERSION_ID_ANNOTATION]) if names_version else None
    obstacle = _obstacle(live, desired, who)
    if obstacle is not None:
        reason, message = obstacle
        return TargetState(TargetKind.CONFLICT, version_id, reason, message)
    differences = list(dict.fromkeys(_differences(live, applied(live, desired), desired.templates)))
    if not differences:
        return TargetState(TargetKind.EQUAL, version_id)
    return TargetState(TargetKind.DIFFERS, version_id, message=f"{who}: {', '.join(differences)}")


def _is_ours(live: LiveSecret, desired: DesiredSecret) -> bool:
    """Whether the annotation or, if that was removed, an ownerReference names this RotatedSecret."""
    if live.owner is None:
        return any(reference.get("uid") == desired.owner_uid for reference in live.owner_references)
    return live.owner == desired.owner


def _obstacle(live: LiveSecret, desired: DesiredSecret, who: str) -> tuple[Reason, str] | None:
    """Return why the Secret must not or cannot be written, in the order in which a person would resolve it."""
    if not _is_ours(live, desired) and live.annotations.get(names.ADOPT_ANNOTATION) != desired.owner_name:
        belongs = f"belongs to {names.KIND} {live.owner}" if live.owner else f"exists and belongs to no {names.KIND}"
        return Reason.NOT_OURS, (
            f"{who} {belongs}; it is left unchanged. To hand it over: kubectl annotate secret -n {desired.namespace} "
            f"{desired.name} {names.ADOPT_ANNOTATION}={desired.owner_name}; or recreate the {names.KIND} "
            "with another target.secretName"
        )
    if live.deleting:
        waits = f", which waits for {', '.join(live.finalizers)}" if live.finalizers else ""
        return Reason.SECRET_CONFLICT, f"{who} is being deleted{waits}; it is created again when it is gone"
    if live.immutable and not desired.immutable:
        return Reason.SECRET_CONFLICT, (
            f"{who} is immutable; delete it, and it is created again, or write target.immutable: true, and it is "
            "replaced"
        )
    if desired.is_merged:
        if live.type in TOKEN_TYPES:
            return (
                Reason.SECRET_CONFLICT,
                f"{who} has type {live.type}, a token for the cluster itself; name another Secret",
            )
        return None
    if live.type != desired.type and not desired.immutable:
        return Reason.SECRET_TYPE_IMMUTABLE, (
            f"{who} has type {live.type}, and Kubernetes does not allow a change to {desired.type}; delete the Secret, "
            "and it is created again, or write its type in target.type"
        )
    controller = next((found for found in live.owner_references if found.get("controller")), None)
    if controller is not None and not _is_to_our_kind(controller):
        return Reason.SECRET_CONFLICT, (
            f"{who} is controlled by {controller.get('kind')} {controller.get('name')}; remove its ownerReference, "
            "or write creationPolicy: Merge"
        )
    return None


def applied(live: LiveSecret | None, desired: DesiredSecret) -> LiveSecret:
    """Return the Secret to write: ``desired`` applied to ``live``, with everything that others wrote kept."""
    data = {key: SecretText(base64.b64encode(bytes_of(text.reveal())).decode()) for key, text in desired.data.items()}
    if live is None:
        live = LiveSecret(desired.namespace, desired.name, desired.type, {}, {}, (), {})
    before = last_written(live.annotations)
    managed_by = {names.MANAGED_BY_LABEL: names.MANAGED_BY}
    labels = {**without(live.labels, before["labels"]), **desired.labels}
    return replace(
        live,
        # A Secret of others keeps its manager label: Helm, for example, recognises its objects by it.
        labels={**managed_by, **labels} if desired.is_merged else {**labels, **managed_by},
        annotations={
            **without(live.annotations, before["annotations"]),
            **desired.annotations,
            names.OWNER_ANNOTATION: desired.owner,
            names.VERSION_ID_ANNOTATION: desired.version_id,
            names.SECRET_ARN_ANNOTATION: desired.secret_arn,
            names.ROTATED_AT_ANNOTATION: _rotated_at(live, desired),
            names.WRITTEN_ANNOTATION: record_of(desired.data, desired.labels, desired.annotations, desired.templates),
        },
        owner_references=_owner_references(live.owner_references, desired),
        data={**without(live.data, before["data"]), **data} if desired.is_merged else data,
        type=live.type if desired.is_merged else desired.type,
        immutable=desired.immutable,
    )


def replacement(live: LiveSecret | None, written: LiveSecret) -> LiveSecret | None:
    """Return the Secret to create once ``live`` is deleted; None where an update of ``live`` can write it.

    Source: ``ValidateSecretUpdate`` of the API server: the type never changes, the data of an immutable one neither.
    """
    if live is None or (live.type == written.type and not (live.immutable and live.data != written.data)):
        return None
    # Finalizers were for the Secret that is deleted.
    return replace(written, uid="", resource_version="", finalizers=())


def _rotated_at(live: LiveSecret, desired: DesiredSecret) -> str:
    """Keep the time that was written for this version, because the clocks of two operators may differ a little."""
    known = live.annotations.get(names.ROTATED_AT_ANNOTATION)
    if known and live.annotations.get(names.VERSION_ID_ANNOTATION) == desired.version_id:
        with contextlib.suppress(ValueError, TypeError):
            if abs(datetime.fromisoformat(known) - desired.rotated_at) <= _CLOCKS_DIFFER:
                return known
    return desired.rotated_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _owner_references(found: Collection[Mapping[str, Any]], desired: DesiredSecret) -> tuple[Mapping[str, Any], ...]:
    """Keep the references of others; add the operator's if the Secret is deleted together with its RotatedSecret."""
    if desired.owner_is_deleted:
        # Another one would have the garbage collector delete a Secret that was orphaned, or that has another owner now.
        return tuple(found)
    others = tuple(reference for reference in found if not _is_to_our_kind(reference))
    if desired.is_merged or desired.deletion_policy is DeletionPolicy.RETAIN:
        return others
    ours = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": desired.owner_name,
        "uid": desired.owner_uid,
        "controller": True,
    }
    return (*others, ours)


def _is_to_our_kind(reference: Mapping[str, Any]) -> bool:
    group = str(reference.get("apiVersion", "")).partition("/")[0]
    return group == names.GROUP and reference.get("kind") == names.KIND


def _differences(live: LiveSecret, expected: LiveSecret, templates: Collection[str]) -> Iterator[str]:
    keys = {*live.data, *expected.data}
    shown = {key: f"key {key}" if key in {*KNOWN_KEYS, *templates} else "a key that no template names" for key in keys}
    yield from _changes(shown.__getitem__, live.data, expected.data)
    yield from _changes("label {}".format, live.labels, expected.labels)
    yield from _changes("annotation {}".format, live.annotations, expected.annotations)
    if live.type != expected.type:
        yield f"its type is {live.type}"
    if live.immutable != expected.immutable:
        yield "it is not immutable"
    if live.owner_references != expected.owner_references:
        yield "the ownerReference is wrong"


def _changes(shown: Callable[[str], str], found: Mapping[str, object], expected: Mapping[str, object]) -> Iterator[str]:
    for key in sorted(found.keys() | expected.keys()):
        if key not in found:
            yield f"{shown(key)} is missing"
        elif key not in expected:
            yield f"{shown(key)} does not belong there"
        elif found[key] != expected[key]:
            yield f"{shown(key)} differs"
