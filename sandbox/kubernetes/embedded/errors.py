"""Failures as the API server words them: a code, a reason, a message, and causes per field."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that is wrong: `spec.mode: Unsupported value: "x"`."""

    field: str
    reason: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


class ApiError(Exception):
    """An answer other than success; `status()` is the body that goes out."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details

    def status(self) -> dict[str, Any]:
        body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message}
        return body | {"reason": self.reason, "code": self.code} | ({"details": self.details} if self.details else {})


def qualified(plural: str, group: str) -> str:
    return f"{plural}.{group}" if group else plural


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def forbidden(plural: str, group: str, name: str, why: str) -> ApiError:
    details = _details(plural, group, name)
    return ApiError(403, "Forbidden", f'{qualified(plural, group)} "{name}" is forbidden: {why}', details)


def not_found(plural: str, group: str, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{qualified(plural, group)} "{name}" not found', _details(plural, group, name))


def no_such_path() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def not_allowed() -> ApiError:
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def already_exists(plural: str, group: str, name: str) -> ApiError:
    details = _details(plural, group, name)
    return ApiError(409, "AlreadyExists", f'{qualified(plural, group)} "{name}" already exists', details)


def conflict(plural: str, group: str, name: str, why: str | None = None) -> ApiError:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(plural, group, name))


def apply_conflict(owners: Sequence[tuple[str, str]]) -> ApiError:
    """`owners`: (who with which version, field) per conflicting field of a server-side apply."""
    causes = [{"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": at} for who, at in owners]
    listed = "\n".join(f"- {at}" for _, at in owners)
    plural = "s" if len(owners) > 1 else ""
    first = f"{owners[0][0]}: {owners[0][1]}" if len(owners) == 1 else f"{owners[0][0]}:\n{listed}"
    message = f"Apply failed with {len(owners)} conflict{plural}: conflict{plural} with {first}"
    return ApiError(409, "Conflict", message, {"causes": causes})


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def invalid(kind: str, group: str, name: str, errors: Iterable[FieldError]) -> ApiError:
    errors = list(errors)
    causes = [{"reason": each.reason, "message": each.text, "field": each.field} for each in errors]
    listed = str(errors[0]) if len(errors) == 1 else "[" + ", ".join(map(str, errors)) + "]"
    message = f'{qualified(kind, group)} "{name}" is invalid: {listed}'
    return ApiError(422, "Invalid", message, {**_details(kind, group, name), "causes": causes})


def required(field: str, hint: str = "") -> FieldError:
    return FieldError(field, "FieldValueRequired", f"Required value{': ' + hint if hint else ''}")


def invalid_value(field: str, value: Any, why: str) -> FieldError:
    return FieldError(field, "FieldValueInvalid", f"Invalid value: {shown(value)}: {why}")


def type_invalid(field: str, value: Any, why: str) -> FieldError:
    return FieldError(field, "FieldValueTypeInvalid", f"Invalid value: {shown(value)}: {why}")


def unsupported(field: str, value: Any, allowed: Iterable[Any]) -> FieldError:
    listed = ", ".join(json.dumps(each) for each in allowed)
    return FieldError(
        field, "FieldValueNotSupported", f"Unsupported value: {json.dumps(value)}: supported values: {listed}"
    )


def field_forbidden(field: str, why: str) -> FieldError:
    return FieldError(field, "FieldValueForbidden", f"Forbidden: {why}")


def shown(value: Any) -> str:
    """A value as Kubernetes prints it in a field error: text quoted, whole objects by the name of their type."""
    if isinstance(value, dict | list):
        return '"object"' if isinstance(value, dict) else '"array"'
    return json.dumps(value)


def _details(kind: str, group: str, name: str) -> dict[str, Any]:
    return {"name": name} | ({"group": group} if group else {}) | {"kind": kind}
