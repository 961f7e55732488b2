"""Rules that a schema cannot express, each as CEL for the API server and as a predicate for the operator.

The message of a rule says what to write instead. Must not know the fields that use a rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

VALIDATIONS: Final = "x-kubernetes-validations"
RULE: Final = "rule"
"""The type of the validation errors that rules raise."""


@dataclass(frozen=True)
class CelRule:
    """One rule, for a field (as ``Annotated`` metadata) or for a whole model (in its ``rules``)."""

    cel: str
    message: str
    holds: Callable[[Any], bool] | None = None
    """The same in Python; None for rules about changes, which only the API server sees."""

    def check(self, value: Any) -> Any:
        """Return the value; raise a validation error with the message if the rule does not hold."""
        if self.holds is not None and not self.holds(value):
            raise PydanticCustomError(RULE, "{message}", {"message": self.message})
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return self.added_to(handler(schema))

    def added_to(self, schema: JsonSchemaValue) -> JsonSchemaValue:
        """Return the schema with this rule as the last of its CEL validations."""
        return {**schema, VALIDATIONS: [*schema.get(VALIDATIONS, ()), {"rule": self.cel, "message": self.message}]}


def text_matches(pattern: str, message: str) -> CelRule:
    """Require the whole text to match. Use only syntax that RE2 and Python share, without backslashes."""
    compiled = re.compile(pattern)
    return CelRule(f"self.matches('^({pattern})$')", message, lambda text: compiled.fullmatch(text) is not None)


def keys_match(pattern: str, message: str) -> CelRule:
    """Require every key of a map to match as a whole."""
    compiled = re.compile(pattern)
    return CelRule(
        f"self.all(key, key.matches('^({pattern})$'))",
        message,
        lambda entries: all(compiled.fullmatch(key) for key in entries),
    )


def keys_at_most(length: int) -> CelRule:
    """Limit the length of every key of a map, in characters."""
    return CelRule(
        f"self.all(key, size(key) <= {length})",
        f"write keys with at most {length} characters",
        lambda entries: all(len(key) <= length for key in entries),
    )


def texts_at_most(length: int, what: str) -> CelRule:
    """Limit what the texts in a map have together, in characters."""
    return CelRule(
        f"self.map(key, size(self[key])).sum() <= {length}",
        f"{what} may have {length} characters together: write shorter ones",
        lambda entries: sum(map(len, entries.values())) <= length,
    )


def unchanged(message: str) -> CelRule:
    """Forbid changes of the field after its creation."""
    return CelRule("self == oldSelf", message)


class WrittenModel(BaseModel):
    """A part of the resource: frozen, in camelCase outside, described by the docstrings of its attributes."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )
    rules: ClassVar[tuple[CelRule, ...]] = ()

    @model_validator(mode="after")
    def _obeys_rules(self) -> WrittenModel:
        for rule in self.rules:
            rule.check(self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        written = handler.resolve_ref_schema(handler(schema))
        for rule in cls.rules:
            written = rule.added_to(written)
        return written
