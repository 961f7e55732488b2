"""Writes the tables of docs/reference.md from the models: ``python -m sandbox.reference`` prints the page.

The text around the tables is written by hand. Each table stands between two comments that name it. What a row says
comes from the model: the docstring of a field, Event or annotation, the help of a setting or metric.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from rotated_secrets.api import names
from rotated_secrets.api.crd import custom_resource_definition
from rotated_secrets.controller.settings import Settings, flag
from rotated_secrets.observability.event_reasons import WARNINGS, EventReason
from rotated_secrets.observability.metrics import PREFIX, Metrics

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "reference.md"
SETTINGS: Final = {flag(name): field for name, field in Settings.model_fields.items()}
NONE: Final = "–"

LINKS: Final = {
    "spec.source.credentials": "See [tenant credentials](tenant-credentials.md).",
    "spec.database.tls.mode": "See [TLS](postgresql.md#tls).",
    "spec.database.webhook": "See [webhooks](webhook.md).",
    "spec.rotation.random.format": "See [random values](random-values.md).",
    "spec.rotation.verifyQueries": "See [MongoDB](mongodb.md) and [Redis](redis.md).",
    "spec.target.template": "See [Templates](#templates).",
    "spec.rollout.restart[]": "See [rollouts](rollouts.md).",
    "--access-policy-file": "See [access policy](access-policy.md).",
    "--cluster-name": "See [tenant credentials](tenant-credentials.md).",
    "--webhook-hosts": "See [webhooks](webhook.md).",
    "rotatedsecrets_access_policy_ok": "See [access policy](access-policy.md).",
    EventReason.ROLLOUT_FAILED: "See [rollouts](rollouts.md#when-a-workload-is-not-restarted).",
}
"""Pages of the documentation, which models do not know, by the name in the first cell of a row."""

Row = tuple[str, ...]
_KINDS: Final = {"string": "text", "integer": "number", "boolean": "true or false", "array": "list"}
_BEGIN: Final = "<!-- {name}: generated from the models by `make reference` -->"
_END: Final = "<!-- end of {name} -->"


class NoPlace(Exception):
    """The page lacks the comments between which a table stands; the message quotes them."""


def written(page: str) -> str:
    """Return the page with its tables as the models say. Raises NoPlace."""
    for name, table in TABLES.items():
        begin, end = _BEGIN.format(name=name), _END.format(name=name)
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise NoPlace(f"{PAGE.name} has no place for its table of {name}: write\n{begin}\n{end}")
        page = f"{before}{begin}\n\n{table()}\n{end}{after}"
    return page


def _spec() -> str:
    rows = _fields("spec", _schema("spec"))
    return _table(("field", "values", "default", "meaning"), rows)


def _status() -> str:
    rows = ((name, values, meaning) for name, values, _, meaning in _fields("status", _schema("status")))
    return _table(("field", "values", "meaning"), rows)


def _events() -> str:
    meanings = _docstrings(EventReason)
    rows = ((each, "Warning" if each in WARNINGS else "Normal", meanings[each.name]) for each in EventReason)
    return _table(("reason", "type", "when"), rows)


def _annotations() -> str:
    rows = [
        (vars(names)[name], *(each[:1].upper() + each[1:] for each in text.split(": ", 1)))
        for name, text in _docstrings(names).items()
        if name.endswith(("_ANNOTATION", "_LABEL"))
    ]
    return _table(("name", "on", "meaning"), rows)


def _settings() -> str:
    panels: dict[str, list[Row]] = {}
    for name, field in SETTINGS.items():
        extra: Any = field.json_schema_extra
        panels.setdefault(extra["panel"], []).append((name, _default(field.default), field.description or ""))
    tables = {panel: _table(("flag", "default", "meaning"), rows) for panel, rows in panels.items()}
    return "\n".join(f"### {panel}\n\n{table}" for panel, table in tables.items())


def _metrics() -> str:
    metrics = Metrics()
    labels = {each._name: each._labelnames for each in vars(metrics).values() if hasattr(each, "_labelnames")}
    rows = [
        (
            f"{metric.name}_total" if metric.type == "counter" else metric.name,
            metric.type,
            _code(labels[metric.name]) or NONE,
            metric.documentation,
        )
        for metric in metrics.registry.collect()
        if metric.name.startswith(PREFIX)
    ]
    return _table(("metric", "type", "labels", "meaning"), rows)


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "spec": _spec,
    "status": _status,
    "events": _events,
    "annotations": _annotations,
    "settings": _settings,
    "metrics": _metrics,
}


def _schema(part: str) -> Mapping[str, Any]:
    root = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return root["properties"][part]  # type: ignore[no-any-return]


def _fields(path: str, section: Mapping[str, Any]) -> Iterator[Row]:
    """Yield path, values, default and meaning of each field below a section, each section before its fields."""
    for name, field in section["properties"].items():
        inner = field.get("items", field)
        is_section = "properties" in inner
        here = f"{path}.{name}" + ("[]" if is_section and inner is not field else "")
        if name in section.get("required", ()):
            default = "required"
        elif is_section and "default" in field:
            default = ""
        else:
            default = _default(field.get("default"))
        yield here, _values(field), default, field["description"]
        if is_section:
            yield from _fields(here, inner)


def _values(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return _code(field["enum"])
    if "properties" in field:
        return "section"
    if "additionalProperties" in field:
        return "map of texts"
    kind = _KINDS[field["type"]]
    if "maxItems" in field:
        return f"{kind}, up to {field['maxItems']}"
    if "minimum" in field and "maximum" in field:
        return f"{kind}, {field['minimum']} to {field['maximum']}"
    return kind


def _default(value: Any) -> str:
    """Return a default as a person would write it; lengths of time, which are the only floats, with their unit."""
    if value in (None, "", (), {}):
        return NONE
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        unit, size = next(each for each in (("h", 3600), ("m", 60), ("s", 1)) if value % each[1] == 0)
        return f"`{value // size:g}{unit}`"
    return f"`{','.join(value) if isinstance(value, list | tuple) else value}`"


def _docstrings(owner: type | ModuleType) -> dict[str, str]:
    """Return the docstring below each assignment in a class or module, by the assigned name."""
    body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    if isinstance(body[0], ast.ClassDef):
        body = body[0].body
    found = {}
    for statement, below in pairwise(body):
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        if isinstance(target, ast.Name) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[target.id] = " ".join(str(below.value.value).split())
    return found


def _code(texts: Iterable[str]) -> str:
    return ", ".join(f"`{each}`" for each in texts)


def _table(heads: Row, rows: Iterable[Row]) -> str:
    """Return a table of Markdown whose first column is code, with the link that belongs to a row after its meaning."""
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, *others, meaning in rows:
        explained = " ".join(filter(None, (meaning, LINKS.get(name))))
        cells = [each.replace("|", r"\|") for each in (f"`{name}`", *others, explained)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(written(PAGE.read_text()))
