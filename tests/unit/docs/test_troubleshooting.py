"""docs/troubleshooting.md explains each reason, Event and alert, and its commands exist."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator

import botocore.session
import pytest
from botocore import xform_name

from rotated_secrets.api.crd import custom_resource_definition
from rotated_secrets.api.names import PLURAL, SHORT_NAME, SINGULAR, TROUBLESHOOTING
from rotated_secrets.api.status import ConditionType, Reason
from rotated_secrets.cli import main, plugin
from rotated_secrets.observability.event_reasons import WARNINGS, EventReason
from tests.support.cli.command_flags import flags_by_command
from tests.support.documents import ROOT, anchors, blocks, in_backticks, prose

PAGE = ROOT / TROUBLESHOOTING
RULES = ROOT / "charts" / "rotated-secrets" / "templates" / "prometheusrule.yaml"
PARTS = ["What it means.", "Find the cause.", "What to do.", "What happens next."]
FINE = "When nothing is wrong"
"""The chapter whose sections need no commands."""
ALERTS = re.findall(r"^ *- alert: (\w+)$", RULES.read_text(), re.MULTILINE)
NAMES = sorted({*Reason, *EventReason, *ALERTS})
TERMINAL = {"--query", "--output", "--region"}
"""Flags of every command of `aws`."""


def chapters() -> dict[str, dict[str, str]]:
    """The sections by heading, by chapter."""
    found = {}
    for chapter in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        title, _, text = chapter.partition("\n")
        _, *parts = re.split(r"^### (.+)\n", text, flags=re.MULTILINE)
        found[title] = dict(zip(parts[::2], parts[1::2], strict=True))
    return found


CHAPTERS = chapters()
SECTIONS = {name: text for sections in CHAPTERS.values() for name, text in sections.items()}


def contents() -> str:
    (text,) = re.findall(r"^## What do you see\?\n(.*?)^### ", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(text)


def commands() -> Iterator[list[str]]:
    """The words of each command on the page, in blocks and in sentences."""
    for text in (*blocks(PAGE, "sh"), *in_backticks(PAGE)):
        for line in text.splitlines():
            for part in re.split(r"\||&&|;|\$\(", line):
                # Of a quoted text that a separator tore apart only the beginning is wanted.
                yield part.replace("'", " ").replace('"', " ").split()


@pytest.mark.parametrize("name", NAMES)
def test_each_reason_event_and_alert_has_a_section_of_four_parts(name: str) -> None:
    """For a new one: write ``### Name`` into its chapter, and link it in the table of "What do you see?"."""
    assert PAGE.read_text().count(f"\n### {name}\n") == 1, f"{TROUBLESHOOTING} has no section {name}"
    assert re.findall(r"^\*\*(.+?)\*\*", SECTIONS[name], re.MULTILINE) == PARTS
    assert f"[{name}](#{name.lower()})" in contents()


@pytest.mark.parametrize("name", sorted(set(NAMES) - CHAPTERS[FINE].keys()))
def test_what_may_be_wrong_is_looked_for_by_a_command(name: str) -> None:
    assert "```sh\n" in SECTIONS[name]


def test_no_section_is_about_what_does_not_exist() -> None:
    sentences = {name for name in SECTIONS if " " in name}
    assert SECTIONS.keys() - sentences == set(NAMES)


def test_no_warning_is_said_to_be_nothing() -> None:
    assert set(WARNINGS) & CHAPTERS[FINE].keys() == set()
    assert set(ALERTS) == CHAPTERS["Alerts"].keys()


def test_every_condition_is_named() -> None:
    assert {kind.value for kind in ConditionType} <= in_backticks(PAGE)


def test_links_on_the_page_lead_to_sections() -> None:
    linked = set(re.findall(r"\]\(#([^)]+)\)", prose(PAGE)))
    assert linked - anchors(PAGE) == set()
    assert anchors(PAGE) - linked - {"troubleshooting", "what-do-you-see"} == set()


def test_commands_of_the_command_line_exist() -> None:
    asked = []
    for words in commands():
        for program, app in ((["kubectl", SINGULAR], plugin.app), (["rotated-secrets"], main.app)):
            if words[: len(program)] == program and len(words) > len(program):
                name, *rest = words[len(program) :]
                flags = {word.partition("=")[0] for word in rest if word.startswith("-")}
                assert name in flags_by_command(app), words
                assert flags - flags_by_command(app)[name] == set(), words
                asked.append(name)
    assert {"describe", "list", "history", "rotate", "resync", "resume"} <= set(asked)


def test_commands_of_aws_exist() -> None:
    session = botocore.session.get_session()
    asked = 0
    for words in commands():
        if words[:1] != ["aws"] or len(words) < 3 or words[2].startswith("-"):
            continue
        model = session.get_service_model(words[1])
        operations = {xform_name(name, "-"): name for name in model.operation_names}
        shape = model.operation_model(operations[words[2]]).input_shape
        flags = {f"--{xform_name(name, '-')}" for name in (shape.members if shape else {})}
        assert {word for word in words if word.startswith("--")} - flags - TERMINAL == set(), words
        asked += 1
    assert asked > 10


def test_fields_in_commands_exist() -> None:
    schema = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    asked = set()
    for block in blocks(PAGE, "sh"):
        for line in block.splitlines():
            if re.search(rf"\bget ({SHORT_NAME}|{PLURAL})\b", line):
                asked |= set(re.findall(r"[{ :,]\.((?:spec|status)\.[A-Za-z.]+)", line))
    for path in asked:
        here = schema
        for name in path.split("."):
            here = here.get("items", here)["properties"][name]
    assert len(asked) > 8


def test_commands_can_be_copied() -> None:
    """Each block is what a shell reads, and each command stands on one line."""
    for block in blocks(PAGE, "sh"):
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), block
        assert not re.search(r"\\$", block, re.MULTILINE), block
        for line in block.splitlines():
            shlex.split(line)


def test_what_kubectl_explains_leads_to_the_page() -> None:
    schema = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert TROUBLESHOOTING in schema["description"]
    assert PAGE.is_file()
