"""Parses the RotatedSecret that the API server returned into one frozen value.

The only place that reads the API's JSON. Must not know how it was fetched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from rotated_secrets.api.fields import NAME_LENGTH
from rotated_secrets.api.key import Key
from rotated_secrets.api.names import REQUEST_ANNOTATIONS, RESYNC_ANNOTATION, ROTATE_ANNOTATION
from rotated_secrets.api.observed_requests import with_observed
from rotated_secrets.api.rules import RULE
from rotated_secrets.api.spec import RotatedSecretSpec
from rotated_secrets.api.status import RotatedSecretStatus


class InvalidSpec(Exception):
    """The operator cannot act on the resource as it is written; the message names the field and says what to write."""


@dataclass(frozen=True)
class RotatedSecret:
    """One RotatedSecret at one resourceVersion."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    created_at: datetime
    requests: Mapping[str, str]
    """What the annotations that ask for something say, each as long as a status can hold it."""
    spec: RotatedSecretSpec
    status: RotatedSecretStatus
    deleting: bool = False
    """Its deletion has begun, so nothing may be created for it any more."""
    skipped: tuple[str, ...] = ()
    """Fields of the spec that this version does not know, for example `spec.rotation.window`. A newer
    CustomResourceDefinition has them, maybe with a default; the API server removes what none knows."""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def key(self) -> Key:
        """Its namespace and name."""
        return Key(self.namespace, self.name)

    @property
    def target_name(self) -> str:
        """The name of the target Secret."""
        return self.spec.target.secret_name or self.name

    @property
    def rotate_request(self) -> str | None:
        """Return the value of the annotation that asks for a rotation."""
        return self.requests.get(ROTATE_ANNOTATION)

    @property
    def resync_request(self) -> str | None:
        """Return the value of the annotation that asks for a complete check."""
        return self.requests.get(RESYNC_ANNOTATION)

    @property
    def has_new_request(self) -> bool:
        """Whether an annotation asks for something that no check has seen yet."""
        return with_observed(self.status, self.rotate_request, self.resync_request) != self.status

    @classmethod
    def parse(cls, obj: Mapping[str, Any]) -> RotatedSecret:
        """Parse what the API server returned.

        Fields of the spec that this version does not know are skipped. What it knows must be valid: a strategy of a
        newer version cannot be carried out.

        Raises:
            InvalidSpec: the spec, or a status that another version of the operator wrote, is not valid here.
        """
        metadata = obj["metadata"]
        try:
            spec, skipped = _parse_spec(obj.get("spec") or {})
        except ValidationError as error:
            who = f"RotatedSecret {metadata['namespace']}/{metadata['name']}"
            raise InvalidSpec(f"{who}: {_sentences('spec', error)}") from None
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            generation=metadata.get("generation", 0),
            resource_version=metadata["resourceVersion"],
            created_at=datetime.fromisoformat(metadata["creationTimestamp"]),
            requests=requests_in(metadata),
            spec=spec,
            status=parse_status(obj),
            deleting="deletionTimestamp" in metadata,
            skipped=skipped,
        )


def _parse_spec(written: Any) -> tuple[RotatedSecretSpec, tuple[str, ...]]:
    """Parse a spec, and return with it the fields that were skipped. Raises: ValidationError."""
    try:
        return RotatedSecretSpec.model_validate(written), ()
    except ValidationError as error:
        unknown = [problem["loc"] for problem in error.errors() if problem["type"] == "extra_forbidden"]
        if not unknown:
            raise
    spec = RotatedSecretSpec.model_validate(written, extra="ignore")
    # Each field once, whichever items of a list have it.
    return spec, tuple(sorted({_path("spec", [part for part in loc if isinstance(part, str)]) for loc in unknown}))


def requests_in(metadata: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the annotations that ask for something. Others are not kept: they may have 256 KiB."""
    annotations = metadata.get("annotations") or {}
    asked = sorted(annotations.keys() & REQUEST_ANNOTATIONS)
    return MappingProxyType({name: annotations[name][:NAME_LENGTH] for name in asked})


def parse_status(obj: Mapping[str, Any]) -> RotatedSecretStatus:
    """Parse only the status, which may be valid where the spec is not.

    Raises:
        InvalidSpec: another version of the operator wrote something that this one would misunderstand.
    """
    try:
        return RotatedSecretStatus.model_validate(obj.get("status") or {})
    except ValidationError as error:
        metadata = obj["metadata"]
        raise InvalidSpec(
            f"RotatedSecret {metadata['namespace']}/{metadata['name']}: {_sentences('status', error)}; another version "
            "of the operator wrote this: run that version, or remove the field when no rotation is under way"
        ) from None


def _sentences(root: str, error: ValidationError) -> str:
    """Translate pydantic's errors into the names that users write, without the input: a template may hold a secret."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{_path(root, problem['loc'])}: {_what(problem['type'], problem['msg'])}" for problem in found)


def _path(root: str, loc: Iterable[int | str]) -> str:
    return root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)


def _what(kind: str, message: str) -> str:
    if kind == "missing":
        return "is required"
    return message if kind == RULE else message[:1].lower() + message[1:]
