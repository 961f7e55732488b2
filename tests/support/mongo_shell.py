"""Runs commands as people type them into MongoDB's shell, as far as our messages and documents have them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pymongo.errors import OperationFailure

from sandbox.mongo import Document, MongoServer

ROLE_EXISTS = 51002
_CALL = re.compile(r'db\.getSiblingDB\("([^"]+)"\)\.(\w+)\(')


def run_shell(server: MongoServer, text: str) -> int:
    """Run every command in a text, as the superuser; returns how many those were."""
    commands = list(_commands(text))
    for database, command in commands:
        try:
            server.command(command, database)
        except OperationFailure as error:
            # A person goes on at that, too.
            if error.code != ROLE_EXISTS:
                raise
    return len(commands)


def _commands(text: str) -> Iterator[tuple[str, Document]]:
    decoder = json.JSONDecoder()
    for call in _CALL.finditer(text):
        arguments: list[Any] = []
        at = call.end()
        while text[at : at + 1] != ")":
            found = re.compile(r"[\s,]*").match(text, at)
            assert found
            argument, at = decoder.raw_decode(text, found.end())
            arguments.append(argument)
            at += len(text[at:]) - len(text[at:].lstrip())
        database, method = call.groups()
        yield database, _command(method, *arguments)


def _command(method: str, first: Any, second: Any = None) -> Document:
    if method in ("createUser", "createRole"):
        document = dict(first)
        return {method: document.pop("user" if method == "createUser" else "role"), **document}
    if method in ("grantRolesToUser", "revokeRolesFromUser"):
        return {method: first, "roles": second}
    assert method == "updateUser", method
    return {method: first, **second}
