"""Reads what SHOW GRANTS shows, of MySQL and MariaDB, token by token and outside of quotes: a schema may be ``a TO b``.

Pure. A session is shown more of its own account than of others, so compare only what it was shown of two others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from rotated_secrets.databases.mysql.accounts import Account
from rotated_secrets.databases.mysql.grants import (
    ALL,
    GRANT_OPTION,
    Dynamic,
    Member,
    On,
    Privilege,
    Proxy,
    Right,
    RightSet,
    Withheld,
)

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<name>`(?:[^`]|``)*`)
      | (?P<text>'(?:[^'\\]|''|\\.)*' | "(?:[^"\\]|""|\\.)*")
      | (?P<sign>[(),.@*;])
      | (?P<word>[^\s`"'(),.@*;]+)
    )\s*""",
    re.DOTALL | re.VERBOSE,
)
_DYNAMIC = re.compile(r"[A-Z0-9]+(_[A-Z0-9]+)+")
"""MySQL's dynamic privileges have an underscore in their name, and each its own grant option."""


class UnknownGrant(Exception):
    """A line that is not understood, named by its number: its text may hold a password's hash."""


def read(lines: Iterable[str]) -> RightSet:
    """The rights that the lines of SHOW GRANTS name.

    Raises:
        UnknownGrant: one of them is not understood.
    """
    rights: set[Right] = set()
    for number, line in enumerate(lines, start=1):
        try:
            rights.update(_Line(line).rights())
        except (LookupError, ValueError):
            raise UnknownGrant(f"line {number} of SHOW GRANTS") from None
    return frozenset(rights)


class _Line:
    """One line of SHOW GRANTS, read from its beginning."""

    def __init__(self, line: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        place = 0
        while place < len(line):
            found = _TOKEN.match(line, place)
            if found is None:
                raise ValueError("not a token")
            kind = str(found.lastgroup)
            self._tokens.append((kind, found[kind].upper() if kind == "word" else found[kind]))
            place = found.end()
        self._place = 0

    def rights(self) -> Iterator[Right]:
        verb = self._word()
        if verb == "SET":  # MariaDB shows the default role here, too
            return
        if verb not in ("GRANT", "REVOKE"):
            raise ValueError(verb)
        if self._peek()[0] in ("name", "text"):
            yield from self._roles()
            return
        privileges = [*self._privileges()]
        self._expect("ON")
        if privileges == [("PROXY", ())]:
            of = self._account()
            self._expect("TO")
            self._account()
            yield Proxy(of, self._ends_with(GRANT_OPTION))
            return
        on = self._on()
        if verb == "REVOKE":
            if not on.schema or on.name:
                raise ValueError("a partial REVOKE is of a schema")
            yield from (Withheld(on.schema, name) for name, _ in privileges)
            return
        self._expect("TO")
        self._account()
        grantable = self._ends_with(GRANT_OPTION)
        if all(_DYNAMIC.fullmatch(name) for name, _ in privileges):
            yield from (Dynamic(name, grantable) for name, _ in privileges)
            return
        for name, columns in privileges:
            if name != "USAGE":
                yield from (Privilege(on, name, column) for column in columns or ("",))
        if grantable:
            yield Privilege(on, GRANT_OPTION)

    def _roles(self) -> Iterator[Right]:
        roles = [self._role()]
        while self._takes(","):
            roles.append(self._role())
        self._expect("TO")
        self._account()
        admin = self._ends_with("ADMIN OPTION")
        yield from (Member(role, host, admin) for role, host in roles)

    def _privileges(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        while True:
            words = []
            while self._peek()[0] == "word" and self._peek()[1] != "ON":
                words.append(self._word())
            columns: list[str] = []
            if self._takes("("):
                columns.append(self._quoted())
                while self._takes(","):
                    columns.append(self._quoted())
                self._expect(")")
            if not words:
                raise ValueError("no privilege")
            name = " ".join(words)
            yield ALL if name == "ALL" else name, tuple(columns)
            if not self._takes(","):
                return

    def _on(self) -> On:
        kind = []
        while self._peek()[0] == "word":
            kind.append(self._word())
        schema = self._part()
        name = self._part() if self._takes(".") else ""
        return On(schema, name, " ".join(kind).removeprefix("TABLE"))

    def _part(self) -> str:
        return "" if self._takes("*") else self._quoted()

    def _role(self) -> tuple[str, str | None]:
        role = self._quoted()
        return role, self._quoted() if self._takes("@") else None

    def _account(self) -> Account:
        user, host = self._role()
        return Account(user, host or "")

    def _ends_with(self, option: str) -> bool:
        words = [text if kind == "word" else "'" for kind, text in self._tokens[self._place :]]
        return f" {option} " in f" {' '.join(words)} "

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._place]

    def _word(self) -> str:
        kind, text = self._next()
        if kind != "word":
            raise ValueError(kind)
        return text

    def _quoted(self) -> str:
        kind, text = self._next()
        if kind == "name":
            return text[1:-1].replace("``", "`")
        if kind == "text":
            quote = text[0]
            return re.sub(r"\\(.)", r"\1", text[1:-1].replace(quote * 2, quote), flags=re.DOTALL)
        raise ValueError(kind)

    def _takes(self, sign: str) -> bool:
        if self._place < len(self._tokens) and self._peek() == ("sign", sign):
            self._place += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        kind, found = self._next()
        if kind not in ("word", "sign") or found != text:
            raise ValueError(found)

    def _next(self) -> tuple[str, str]:
        token = self._tokens[self._place]
        self._place += 1
        return token
