"""Commands in messages stand on lines of their own, in one piece, however narrow the terminal is."""

from __future__ import annotations

import re

import pytest
from rich.text import Text

from rotated_secrets.cli.view.paragraph import Paragraph, commands
from tests.support.cli.resource_builders import text_of

ARN = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:shop/orders-AbCdEf"
UPDATE = f"aws secretsmanager update-secret-version-stage --secret-id {ARN} --version-stage"
MOVE = f"{UPDATE} AWSCURRENT --move-to-version-id b"
DROP = f"{UPDATE} AWSPENDING --remove-from-version-id a"
MESSAGES = [
    (f"write rotation.strategy: External, or run aws secretsmanager cancel-rotate-secret --secret-id {ARN} to have it "
     "rotated here", [f"aws secretsmanager cancel-rotate-secret --secret-id {ARN}"]),
    (f"let its rotation finish; if AWSCURRENT's works, run {DROP}, else run {MOVE}", [DROP, MOVE]),
    (f"if it has stopped, run {DROP}: AWSCURRENT logs in", [DROP]),
    ("something else changes it (to see what: kubectl get secret -n shop orders -o yaml --show-managed-fields)",
     ["kubectl get secret -n shop orders -o yaml --show-managed-fields"]),
    ("To hand it over: kubectl annotate secret -n shop orders rotatedsecrets.io/adopt=orders; or recreate it",
     ["kubectl annotate secret -n shop orders rotatedsecrets.io/adopt=orders"]),
    (f"run aws secretsmanager rotate-secret --secret-id {ARN} --rotation-lambda-arn … --rotation-rules …, or choose",
     [f"aws secretsmanager rotate-secret --secret-id {ARN} --rotation-lambda-arn … --rotation-rules …"]),
    ("is suspended; run kubectl rotatedsecret resume -n shop orders first",
     ["kubectl rotatedsecret resume -n shop orders"]),
    ('admin lacks a right; run: GRANT "orders" TO "admin" WITH ADMIN OPTION; it is tried again',
     ['GRANT "orders" TO "admin" WITH ADMIN OPTION']),
    ("write ALTER ROLE or so; run ALTER ROLE a NOREPLICATION, or ALTER ROLE b SUPERUSER",
     ["ALTER ROLE a NOREPLICATION", "ALTER ROLE b SUPERUSER"]),
    ("this is no command: as kubectl shows it, nor is aws here", []),
]  # fmt: skip


@pytest.mark.parametrize(("message", "expected"), MESSAGES)
def test_commands_are_found_in_messages(message: str, expected: list[str]) -> None:
    assert [message[start:end] for start, end in commands(message)] == expected


@pytest.mark.parametrize("width", [30, 60, 80, 200])
@pytest.mark.parametrize(("message", "expected"), MESSAGES)
def test_each_command_has_its_line_in_one_piece(message: str, expected: list[str], width: int) -> None:
    lines = text_of(Paragraph(Text(message), indent=2, first=Text("✗ ")), width).splitlines()
    assert [line.strip() for line in lines if line.strip() in expected] == expected
    others = [line for line in lines if line.strip() not in expected]
    assert all(len(line) <= width or ARN in line for line in others)
    words = re.sub(r"[,;:()]", "", message).split()
    assert re.sub(r"[,;:()]", "", " ".join(lines)).split() == ["✗", *words], "no word is lost"


def test_a_message_without_a_command_is_one_paragraph() -> None:
    assert text_of(Paragraph(Text("all is well"), first=Text("✓ "), indent=2)) == "✓ all is well"
    assert text_of(Paragraph(Text(""), first=Text("✓ "), indent=2)) == "✓"


def test_a_long_name_is_not_cut_in_pieces() -> None:
    lines = text_of(Paragraph(Text(f"there is no secret {ARN}; create it")), 40).splitlines()
    assert lines == ["there is no secret", f"{ARN};", "create it"]
