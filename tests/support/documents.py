"""The documents as text, and the examples in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = tuple(sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]))
REFERENCE = ROOT / "docs" / "reference.md"

_FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HERE = re.compile(r"<<'?(?P<end>[A-Z]+)'?\n(?P<text>.*?)^(?P=end)$", re.MULTILINE | re.DOTALL)


def blocks(document: Path, *languages: str) -> list[str]:
    """The fenced blocks in one of these languages."""
    return [each["text"] for each in _FENCED.finditer(document.read_text()) if each["language"] in languages]


def manifests(document: Path) -> Iterator[Any]:
    """Every YAML document, also those that a shell command reads from a here-document."""
    shell = [each["text"] for block in blocks(document, "sh") for each in _HERE.finditer(block)]
    for text in (*blocks(document, "yaml"), *shell):
        yield from yaml.safe_load_all(text)


def prose(document: Path) -> str:
    """The text without its fenced blocks."""
    return _FENCED.sub("", document.read_text())


def in_backticks(document: Path) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", prose(document)))


def anchors(document: Path) -> set[str]:
    """The names that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
