"""Schemas of built-in kinds, read from the sources of the `kubernetes` client.

Its models are read as text and not imported: importing them takes seconds of CPU, reading a few hundredths.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sandbox.kubernetes.embedded.patch import MAP_LISTS, SET_LISTS

REFERENCE = "#/components/schemas/"
METADATA = "V1ObjectMeta"
_SCALARS: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "bytes": {"type": "string", "format": "byte"},
    "datetime": {"type": "string", "format": "date-time"},
    "object": {"x-kubernetes-preserve-unknown-fields": True},
    "IntOrString": {"x-kubernetes-int-or-string": True},
}
_PYTHON: dict[str, Any] = {"str": str, "int": int, "float": (int, float), "bool": bool, "bytes": str, "datetime": str}
_MICRO = {
    "acquireTime",
    "renewTime",
    "eventTime",
    "lastObservedTime",
}  # six digits after the second, neither more nor fewer
_SECOND = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
_ZONE = r"(Z|[+-]\d\d:\d\d)"
_TIME, _MICRO_TIME = re.compile(rf"{_SECOND}(\.\d+)?{_ZONE}"), re.compile(rf"{_SECOND}\.\d{{6}}{_ZONE}")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_CONTAINER = re.compile(r"(List|Dict)\[(?:str, )?(.+)\]")
_TABLE = r"{}: ClassVar\[Dict\[str, str\]\] = (\{{.*?\n? *\}})\n"
_TYPES, _NAMES = (re.compile(_TABLE.format(name), re.DOTALL) for name in ("openapi_types", "attribute_map"))
_DESCRIBED = re.compile(r"^    (\w+): .* = Field\(.*description=(\"(?:[^\"\\]|\\.)*\")", re.MULTILINE)
_FIRST_PARAGRAPH = re.compile(r'^class \w+\(BaseModel\):\n    """\n    (.*)', re.MULTILINE)


@dataclass(frozen=True)
class Model:
    """A class of the client: what it is, and per JSON name a type (as the client writes it) and a description."""

    name: str
    description: str
    fields: dict[str, tuple[str, str]]


@cache
def _sources() -> dict[str, Path]:
    found = importlib.util.find_spec("kubernetes")
    assert found and found.origin
    return {each.stem.replace("_", ""): each for each in Path(found.origin).parent.glob("client/models/*.py")}


@cache
def model(name: str) -> Model | None:
    path = _sources().get(name.lower())
    text = path.read_text() if path else ""
    types, names = _TYPES.search(text), _NAMES.search(text)
    if not types or not names:
        return None
    described = {field: ast.literal_eval(words) for field, words in _DESCRIBED.findall(text)}
    json_names, paragraph = ast.literal_eval(names[1]), _FIRST_PARAGRAPH.search(text)
    fields = {json_names[each]: (kind, described.get(each, "")) for each, kind in ast.literal_eval(types[1]).items()}
    return Model(name, paragraph[1] if paragraph else "", fields)


def of_kind(kind: str) -> Model | None:
    return model("CoreV1Event" if kind == "Event" else f"V1{kind}")


def add_schema(found: Model, schemas: dict[str, Any]) -> str:
    """Adds the schema of a model, and of all that it names; gives its name among `schemas`."""
    if found.name not in schemas:
        schema = schemas[found.name] = {"type": "object", "description": found.description, "properties": {}}
        for field, (written, description) in found.fields.items():
            schema["properties"][field] = _typed(written, field, schemas) | {"description": description}
    return found.name


def _typed(written: str, field: str, schemas: dict[str, Any]) -> dict[str, Any]:
    if nested := _CONTAINER.fullmatch(written):
        inner = _typed(nested[2], "", schemas)
        if nested[1] == "Dict":
            return {"type": "object", "additionalProperties": inner}
        listed: dict[str, Any] = {"type": "array", "items": inner}
        if field in MAP_LISTS:
            listed |= {"x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": MAP_LISTS[field][0]}
        return listed | ({"x-kubernetes-patch-strategy": "merge"} if field in SET_LISTS else {})
    if written in _SCALARS:
        return dict(_SCALARS[written])
    named = model(written)
    return {"allOf": [{"$ref": REFERENCE + add_schema(named, schemas)}]} if named else {"type": "object"}


class DecodeError(ValueError):
    """A value is not of the type that its field has."""


def decode(value: Any, kind: Model | None, at: str = "") -> list[str]:
    """Drops nulls and what the kind does not have, in place; gives the paths of the latter, raises DecodeError."""
    dropped = []
    for name in list(value) if kind else ():
        path = f"{at}.{name}" if at else name
        if kind and name in kind.fields and value[name] is not None:
            dropped += _decode_field(value, name, kind.fields[name][0], path)
        else:
            dropped += [path] if kind and name not in kind.fields else []
            del value[name]
    return dropped


def _decode_field(parent: Any, name: str | int, written: str, path: str) -> list[str]:
    value, nested, below = parent[name], _CONTAINER.fullmatch(written), model(written)
    wanted = {"List": list, "Dict": dict}[nested[1]] if nested else _PYTHON.get(written, dict if below else object)
    if not isinstance(value, wanted) or (isinstance(value, bool) and written in ("int", "float")):
        told = {dict: "object", list: "array", str: "string", bool: "bool"}.get(type(value), "number")
        raise DecodeError(f"json: cannot unmarshal {told} into field {path} of type {written}")
    if nested and nested[1] == "Dict":
        value |= {key: "" for key, item in value.items() if item is None and nested[2] in ("str", "bytes")}
        return [each for key in value for each in _decode_field(value, key, nested[2], f"{path}.{key}")]
    if nested:
        places = range(len(value))
        return [each for place in places for each in _decode_field(value, place, nested[2], f"{path}[{place}]")]
    if written == "bytes" and not _BASE64.fullmatch(value):
        raise DecodeError("illegal base64 data")
    if written == "datetime":
        _check_time(value, str(name))
    return decode(value, below, path) if isinstance(value, dict) else []


def _check_time(value: str, field: str) -> None:
    is_micro = field in _MICRO
    if not (_MICRO_TIME if is_micro else _TIME).fullmatch(value):
        layout = f"2006-01-02T15:04:05{'.000000' if is_micro else ''}Z07:00"
        raise DecodeError(f'parsing time "{value}" as "{layout}": cannot parse')
