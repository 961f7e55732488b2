"""The chart as files: its values with their paths, its schema, and the table of its README."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from sandbox.helm import CHART

ROOT = CHART.parents[1]
README = CHART / "README.md"
ROW = re.compile(r"^\| `(?P<path>[^`]+)` \| `(?P<default>[^`]*)` \| (?P<meaning>.+) \|$", re.MULTILINE)


def metadata() -> dict[str, Any]:
    return _yaml(CHART / "Chart.yaml")


def values() -> dict[str, Any]:
    """The chart's own values."""
    return _yaml(CHART / "values.yaml")


def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    return found


def leaves() -> dict[str, Any]:
    """Each value that can be set by itself, and its default; a map that takes any keys is one value."""
    return dict(_leaves("", values(), schema()))


def documented() -> dict[str, Any]:
    """The values that the README has a row for, and the defaults that it tells."""
    return {row["path"]: yaml.safe_load(row["default"]) for row in ROW.finditer(README.read_text())}


def comments() -> dict[str, str]:
    """What stands above each value in values.yaml."""
    text = (CHART / "values.yaml").read_text()
    lines, wanted = text.splitlines(), leaves()

    def below(node: yaml.MappingNode, path: str) -> Iterator[tuple[str, str]]:
        for key, value in node.value:
            here = f"{path}{key.value}"
            if here in wanted:
                above = itertools.takewhile(
                    lambda line: line.lstrip().startswith("# "), lines[: key.start_mark.line][::-1]
                )
                yield here, " ".join(line.strip().removeprefix("# ") for line in [*above][::-1])
            elif isinstance(value, yaml.MappingNode):
                yield from below(value, f"{here}.")

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    return dict(below(root, ""))


def sections(part: dict[str, Any] | None = None, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of an object inside the chart's schema, with the path of its value."""
    part = schema() if part is None else part
    if part.get("type") == "object":
        yield path, part
    for name, each in part.get("properties", {}).items():
        yield from sections(each, f"{path}.{name}".lstrip("."))
    if isinstance(part.get("items"), dict):
        yield from sections(part["items"], f"{path}[]")


def nested(path: str, value: Any) -> dict[str, Any]:
    """``{"aws": {"region": value}}`` for ``aws.region``."""
    for name in reversed(path.split(".")):
        value = {name: value}
    found: dict[str, Any] = value
    return found


def merged(*parts: dict[str, Any]) -> dict[str, Any]:
    """Values over values, as Helm merges them."""
    found: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            both = isinstance(value, dict) and isinstance(found.get(name), dict)
            found[name] = merged(found[name], value) if both else value
    return found


def _leaves(path: str, here: dict[str, Any], part: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in here.items():
        below = part["properties"][name]
        if "properties" in below:
            yield from _leaves(f"{path}{name}.", value, below)
        else:
            yield f"{path}{name}", value


def _yaml(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found
