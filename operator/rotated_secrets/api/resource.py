"""Parses the RotatedSecret that the API server returned into one frozen value.

The only place that reads the API's JSON. Must not know how it was fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError

from rotated_secrets.api.fields import NAME_LENGTH
from rotated_secrets.api.key import Key
from rotated_secrets.api.names import REQUEST_ANNOTATIONS, RESYNC_ANNOTATION, ROTATE_ANNOTATION
from rotated_secrets.api.observed_requests import with_observed
from rotated_secrets.api.rules import RULE
from rotated_secrets.api.spec import RotatedSecretSpec
from rotated_secrets.api.status import RotatedSecretStatus

_SINCE_1970: Final = re.compile(r"([0-9]{10})([.][0-9]+|([0-9]{3}){1,3})?")
"""As ``date +%s`` and ``date +%s%N`` write a time, or a program in milliseconds."""
_RFC_3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[-+][0-9]{2}:[0-9]{2})"
)
"""What a request of the command line begins with."""


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
    rotate_request_is_older: bool = False
    """The request is from a time before this resource was made: it came with a backup, or from another cluster."""
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
        created_at = datetime.fromisoformat(metadata["creationTimestamp"])
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            generation=metadata.get("generation", 0),
            resource_version=metadata["resourceVersion"],
            created_at=created_at,
            requests=requests_in(metadata),
            rotate_request_is_older=_is_older(ROTATE_ANNOTATION, metadata, created_at),
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


def _is_older(name: str, metadata: Mapping[str, Any], created_at: datetime) -> bool:
    """Whether an annotation came with the resource, and its value is a time before the resource was made.

    The API server's own record decides where there is one, because a person's clock may be slow.
    """
    asked = _time_in((metadata.get("annotations") or {}).get(name, ""))
    return asked is not None and asked < created_at and not _set_later(name, metadata, created_at)


def _time_in(request: str) -> datetime | None:
    """Return the time that a request says it was made at, if it says one."""
    try:
        if seconds := _SINCE_1970.fullmatch(request):
            return datetime.fromtimestamp(int(seconds[1]), UTC)
        written = _RFC_3339.match(request)
        return datetime.fromisoformat(written[0]) if written else None
    except ValueError:  # a month 13
        return None


def _set_later(name: str, metadata: Mapping[str, Any], created_at: datetime) -> bool:
    """Whether the annotation was set after the creation, as far as ``managedFields`` say it."""
    for entry in metadata.get("managedFields") or ():
        annotations = ((entry.get("fieldsV1") or {}).get("f:metadata") or {}).get("f:annotations") or {}
        if f"f:{name}" in annotations and "time" in entry and datetime.fromisoformat(entry["time"]) > created_at:
            return True
    return False


def parse_status(obj: Mapping[str, Any]) -> RotatedSecretStatus:
    """Parse only the status, which may be valid where the spec is not.

    Raises:
        InvalidSpec: another version of the operator wrote something that this one would misunderstand.
    """
    try:
        return _parse_status(obj.get("status") or {})
    except ValidationError as error:
        metadata = obj["metadata"]
        raise InvalidSpec(
            f"RotatedSecret {metadata['namespace']}/{metadata['name']}: {_sentences('status', error)}; another version "
            "of the operator wrote this: run that version, or remove the field when no rotation is under way"
        ) from None


def _parse_status(written: Any) -> RotatedSecretStatus:
    """Parse a status without the attempts that a newer version described in words that this one does not know: the
    history is for people. Raises: ValidationError."""
    try:
        return RotatedSecretStatus.model_validate(written)
    except ValidationError as error:
        places = [problem["loc"] for problem in error.errors()]
        unknown = {loc[1] for loc in places if loc[0] == "history" and len(loc) > 1}
        if not unknown:
            raise
    history = [each for number, each in enumerate(written["history"]) if number not in unknown]
    return RotatedSecretStatus.model_validate({**written, "history": history})


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
