"""What messages may show of a secret value: nothing that may be a password in the wrong key. Pure.

A username and the name of a database are texts of any shape, so their shape does not tell. They are shown once a server
has accepted a login with them. (A host is shown once it resolves: :mod:`rotated_secrets.databases.hosts`.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeVar

from rotated_secrets.cells.cell import plain
from rotated_secrets.databases.base import DatabaseError
from rotated_secrets.databases.webhook.redaction import RUN, Hidden
from rotated_secrets.values import Credential

Error = TypeVar("Error", bound=DatabaseError)

_COMMON = frozenset(
    ("admin", "app", "default", "master", "mysql", "oracle", "postgres", "root", "sa", "system", "user")
)
"""Names that installers give to users and databases: they hide nothing, and are words of our messages."""


def without_unproven(
    error: Error,
    credential: Credential,
    *,
    shown: Iterable[str] = (),
    users: Iterable[str] = (),
    whose: str = "",
) -> Error:
    """Return an error without what no login has proven of a credential: its username, its password, its database.

    Raise it outside of the handler, or from None: what caused the error quotes the same.

    Args:
        error: of a login that did not succeed, or of a check before one.
        credential: what was to log in.
        shown: texts that are known to be no password, such as a host that resolved.
        users: names made from the username.
        whose: begins the message, which may no longer say whose login it is about.
    """
    texts = {credential.username, credential.password.reveal(), credential.dbname or "", *users} - _COMMON - {""}
    forms = {form for text in texts for form in _forms(text)}
    message = _without(str(error), sorted(forms, key=len, reverse=True), [each for each in shown if each])
    made = type(error).__new__(type(error), f"{whose}{message}")  # without its constructor, which may take more
    vars(made).update(vars(error))
    return made


def _forms(text: str) -> set[str]:
    """A text as messages may have it: Oracle's engine writes names in upper case, and a cell makes one line of them."""
    return {form for case in (text, text.upper(), text.lower()) for form in (case, plain(case))}


def _without(message: str, texts: list[str], shown: list[str]) -> str:
    hidden = Hidden([text for text in texts if len(text) >= RUN])
    short = [rf"(?<![\w.-]){re.escape(text)}(?![\w-])" for text in texts if len(text) < RUN]
    words = re.compile("|".join(short) or "(?!)")
    parts = re.split(f"({'|'.join(map(re.escape, shown))})", message) if shown else [message]
    # Every second part is one of those that are shown.
    return "".join(part if number % 2 else words.sub("***", hidden.without(part)) for number, part in enumerate(parts))
