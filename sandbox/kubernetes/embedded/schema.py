"""Structural schemas of CRDs, compiled once: pruning, defaults, validation and CEL with ratcheting.

A value that an update leaves as it was is not validated again, as a real API server ratchets.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from celpy import celtypes
from celpy.adapter import json_to_cel

from sandbox.kubernetes.embedded import errors
from sandbox.kubernetes.embedded.cel import Rule, RuleError, compile_rule
from sandbox.kubernetes.embedded.errors import FieldError

MISSING = object()
_BLOCKING = {"Required", "TypeInvalid", "TooLong", "TooMany", "NotSupported", "Duplicate"}  # then no rule is asked
_UNCHECKED = errors.invalid_value(
    "<nil>",
    None,
    "some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)
_PYTHON: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}


class Schema:
    """One node of a structural schema."""

    def __init__(self, raw: dict[str, Any], at: str, problems: list[FieldError], *, is_structural: bool = True) -> None:
        self.raw = raw
        self.type: str | None = raw.get("type")
        self.properties = {
            name: Schema(child, f"{at}.properties[{name}]", problems, is_structural=is_structural)
            for name, child in raw.get("properties", {}).items()
        }
        extra = raw.get("additionalProperties")
        self.extra = (
            Schema(extra, f"{at}.additionalProperties", problems, is_structural=is_structural)
            if isinstance(extra, dict)
            else None
        )
        items = raw.get("items")
        self.items = Schema(items, f"{at}.items", problems, is_structural=is_structural) if items else None
        self.keeps_unknown = bool(raw.get("x-kubernetes-preserve-unknown-fields")) or extra is True
        self.is_embedded = bool(raw.get("x-kubernetes-embedded-resource"))
        self.list_type: str = raw.get("x-kubernetes-list-type", "atomic")
        self.list_keys: tuple[str, ...] = tuple(raw.get("x-kubernetes-list-map-keys", ()))
        self.is_atomic_map = raw.get("x-kubernetes-map-type") == "atomic"
        self.pattern = re.compile(raw["pattern"]) if "pattern" in raw else None
        self.branches = {
            word: [Schema(each, at, [], is_structural=False) for each in raw[word]]
            for word in ("allOf", "anyOf", "oneOf")
            if word in raw
        }
        self.negated = Schema(raw["not"], at, [], is_structural=False) if "not" in raw else None
        self.rules = self._compile_rules(at, problems)
        below = [*self.properties.values(), *filter(None, (self.extra, self.items))]
        self._has_rules: bool = bool(self.rules) or any(each._has_rules for each in below)
        if is_structural:
            self._check(at, problems)

    def child(self, name: str) -> Schema | None:
        return self.properties.get(name) or self.extra

    def _compile_rules(self, at: str, problems: list[FieldError]) -> list[Rule]:
        rules = []
        for index, written in enumerate(self.raw.get("x-kubernetes-validations", ())):
            try:
                rules.append(compile_rule(written))
            except RuleError as error:
                place = f"{at}.x-kubernetes-validations[{index}].rule"
                problems.append(errors.invalid_value(place, written["rule"], str(error)))
        return rules

    def _check(self, at: str, problems: list[FieldError]) -> None:
        loose = self.keeps_unknown or self.raw.get("x-kubernetes-int-or-string")
        if not self.type and not loose:
            problems.append(errors.required(f"{at}.type", "must not be empty for specified object fields"))
        if self.properties and "additionalProperties" in self.raw:
            problems.append(errors.field_forbidden(f"{at}.additionalProperties", "mutual exclusive with properties"))
        if self.type == "array" and not self.items:
            problems.append(errors.required(f"{at}.items", "must be specified"))
        if "default" in self.raw:
            problems += self.problems(self.raw["default"], MISSING, f"{at}.default")

    # ---- pruning and defaults, in place

    def prune(self, value: Any, at: str = "", *, is_root: bool = False) -> Iterator[str]:
        """Drop what the schema does not know and tell the path of each."""
        if isinstance(value, list) and self.items:
            for index, item in enumerate(value):
                yield from self.items.prune(item, f"{at}[{index}]")
        if not isinstance(value, dict):
            return
        for name in list(value):
            if (is_root or self.is_embedded) and name in ("apiVersion", "kind", "metadata"):
                continue
            child, path = self.child(name), f"{at}.{name}" if at else name
            if child:
                yield from child.prune(value[name], path)
            elif not self.keeps_unknown:
                del value[name]
                yield path

    def default(self, value: Any) -> None:
        if isinstance(value, list) and self.items:
            for item in value:
                self.items.default(item)
        if not isinstance(value, dict):
            return
        for name, child in self.properties.items():
            if value.get(name, MISSING) is None and not child.raw.get("nullable"):
                del value[name]
            if name not in value and "default" in child.raw:
                value[name] = copy.deepcopy(child.raw["default"])
        for name, item in value.items():
            if child_schema := self.child(name):
                child_schema.default(item)

    # ---- validation

    def problems(self, value: Any, old: Any = MISSING, at: str = "") -> list[FieldError]:
        """`old` is what stood there before, as far as the two can be told to be the same place."""
        found = list(self.validate(value, old, at))
        if any(each.reason.removeprefix("FieldValue") in _BLOCKING for each in found):
            return [*found, _UNCHECKED] if self._has_rules else found
        return found + list(self._broken_rules(value, old, at))

    def validate(self, value: Any, old: Any = MISSING, at: str = "") -> Iterator[FieldError]:
        """All that is wrong but broken rules."""
        if old is not MISSING and value == old:
            return
        if wrong_type := self._type_error(value, at):
            yield wrong_type
            return
        yield from self._own(value, at)
        for child, item, before, path in self._children(value, old, at):
            yield from child.validate(item, before, path)

    def _broken_rules(self, value: Any, old: Any, at: str) -> Iterator[FieldError]:
        if value is None or (old is not MISSING and value == old):
            return
        for rule in self.rules:
            if rule.is_transition and old is MISSING:
                continue
            if error := rule.check(at or "<nil>", value, old, self.to_cel):
                yield error
        for child, item, before, path in self._children(value, old, at):
            yield from child._broken_rules(item, before, path)

    def _type_error(self, value: Any, at: str) -> FieldError | None:
        if value is None and self.raw.get("nullable"):
            return None
        if self.raw.get("x-kubernetes-int-or-string"):
            wanted, is_right = "integer,string", isinstance(value, int | str) and not isinstance(value, bool)
        elif not self.type:
            return None
        else:
            wanted = self.type
            is_right = isinstance(value, _PYTHON[wanted]) and (wanted == "boolean") == isinstance(value, bool)
            is_right = is_right or (wanted == "integer" and isinstance(value, float) and value.is_integer())
        if is_right:
            return None
        name = "null" if value is None else next(k for k, types in _PYTHON.items() if isinstance(value, types))
        name = "boolean" if isinstance(value, bool) else name
        return errors.type_invalid(at, name, f'{at} in body must be of type {wanted}: "{name}"')

    def _own(self, value: Any, at: str) -> Iterator[FieldError]:
        raw = self.raw
        if "enum" in raw and value not in raw["enum"]:
            yield errors.unsupported(at, value, raw["enum"])
        if isinstance(value, str):
            yield from self._text(value, at)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield from self._number(value, at)
        elif isinstance(value, list):
            yield from self._list(value, at)
        elif isinstance(value, dict):
            for name in raw.get("required", ()):
                if name not in value:
                    yield errors.required(f"{at}.{name}" if at else name)
            if len(value) < raw.get("minProperties", 0):
                yield errors.invalid_value(
                    at, len(value), f"{at} in body should have at least {raw['minProperties']} properties"
                )
            if len(value) > raw.get("maxProperties", len(value)):
                yield _too_many(at, len(value), raw["maxProperties"])
        yield from self._combined(value, at)

    def _text(self, value: str, at: str) -> Iterator[FieldError]:
        raw = self.raw
        if self.pattern and not self.pattern.search(value):
            yield errors.invalid_value(at, value, f"{at} in body should match '{raw['pattern']}'")
        if len(value) < raw.get("minLength", 0):
            yield errors.invalid_value(at, value, f"{at} in body should be at least {raw['minLength']} chars long")
        if len(value) > raw.get("maxLength", len(value)):
            yield FieldError(at, "FieldValueTooLong", f"Too long: may not be more than {raw['maxLength']} bytes")
        if raw.get("format") == "date-time" and not _is_time(value):
            yield errors.type_invalid(at, value, f"{at} in body must be of type date-time: {json.dumps(value)}")

    def _number(self, value: float, at: str) -> Iterator[FieldError]:
        raw = self.raw
        for bound, sign, phrase in (("minimum", 1, "greater"), ("maximum", -1, "less")):
            is_strict = bool(raw.get(f"exclusive{bound.capitalize()}"))
            distance = sign * (value - raw.get(bound, value - sign))
            if distance < 0 or (distance == 0 and is_strict):
                equal = "" if is_strict else " or equal to"
                yield errors.invalid_value(at, value, f"{at} in body should be {phrase} than{equal} {raw[bound]}")
        if "multipleOf" in raw and value % raw["multipleOf"]:
            yield errors.invalid_value(at, value, f"{at} in body should be a multiple of {raw['multipleOf']}")

    def _list(self, value: list[Any], at: str) -> Iterator[FieldError]:
        raw = self.raw
        if len(value) < raw.get("minItems", 0):
            yield errors.invalid_value(at, len(value), f"{at} in body should have at least {raw['minItems']} items")
        if len(value) > raw.get("maxItems", len(value)):
            yield _too_many(at, len(value), raw["maxItems"])
        if self.list_type in ("set", "map"):
            seen = []
            for index, item in enumerate(value):
                name = self.identity(item)
                if name in seen:
                    yield FieldError(
                        f"{at}[{index}]",
                        "FieldValueDuplicate",
                        f"Duplicate value: {json.dumps(name, separators=(',', ':'))}",
                    )
                seen.append(name)

    def identity(self, item: Any) -> Any:
        """What tells an item of a set or a map-like list from its neighbours."""
        return {key: item.get(key) for key in self.list_keys} if self.list_keys and isinstance(item, dict) else item

    def _combined(self, value: Any, at: str) -> Iterator[FieldError]:
        for word, branches in self.branches.items():
            results = [list(branch.validate(value, MISSING, at)) for branch in branches]
            holding = sum(not found for found in results)
            wanted = {"allOf": holding == len(results), "anyOf": holding > 0, "oneOf": holding == 1}[word]
            if not wanted:
                one = {"allOf": "all the schemas", "anyOf": "at least one schema", "oneOf": "one and only one schema"}
                yield errors.invalid_value(at, value, f'"{at}" must validate {one[word]} ({word})')
        if self.negated and not list(self.negated.validate(value, MISSING, at)):
            yield errors.invalid_value(at, value, f'"{at}" must not validate the schema (not)')

    def _children(self, value: Any, old: Any, at: str) -> Iterator[tuple[Schema, Any, Any, str]]:
        """What is below: its schema, its value, what stood there before, its path."""
        if isinstance(value, dict):
            before = old if isinstance(old, dict) else {}
            for name, item in value.items():
                if child := self.child(name):
                    yield child, item, before.get(name, MISSING), f"{at}.{name}" if at else name
        elif isinstance(value, list) and self.items:
            known = old if isinstance(old, list) and self.list_type == "map" else []
            for index, item in enumerate(value):
                name = self.identity(item)
                found = next((each for each in known if self.identity(each) == name), MISSING)
                yield self.items, item, found, f"{at}[{index}]"

    def to_cel(self, value: Any) -> Any:
        """JSON with the types that the schema gives it: a number without a fraction is still a double."""
        if isinstance(value, dict):
            pairs = ((name, self.child(name), item) for name, item in value.items())
            return celtypes.MapType(
                {
                    celtypes.StringType(name): child.to_cel(item) if child else json_to_cel(item)
                    for name, child, item in pairs
                }
            )
        if isinstance(value, list) and self.items:
            return celtypes.ListType([self.items.to_cel(item) for item in value])
        if self.type == "number":
            return celtypes.DoubleType(value)
        if isinstance(value, str) and self.raw.get("format") == "date-time":
            return celtypes.TimestampType(value)
        if isinstance(value, str) and self.raw.get("format") == "duration":
            return celtypes.DurationType(value)
        return json_to_cel(value)


def _too_many(at: str, count: int, most: int) -> FieldError:
    return FieldError(at, "FieldValueTooMany", f"Too many: {count}: must have at most {most} items")


def _is_time(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
