"""Reads what SHOW GRANTS shows, of MySQL and MariaDB, token by token and outside of quotes: a schema may be ``a TO b``.

Pure. A session is shown more of its own account than of others, so compare only what it was shown of two others.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

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
    Unknown,
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


_BEFORE_GRANTEE = frozenset({("word", "TO"), ("word", "FROM"), ("word", "FOR")})
_SECRET = frozenset({"IDENTIFIED", "AS", "USING", "BY"})
"""A password's hash may follow."""


def read(lines: Iterable[str], of: Account | None = None) -> RightSet:
    """The rights that the lines of SHOW GRANTS name.

    A line that is not understood is kept as it stands: it stops nothing, and two accounts' lines can be compared.

    Args:
        lines: the answer of the server.
        of: the account that they are shown for. MariaDB shows lines about PUBLIC, and a session lines about its roles,
            beside: they are no rights of the account. None takes them all, as a session has them all.
    """
    return frozenset(right for line in lines for right in _rights(line, of))


def _rights(line: str, of: Account | None) -> Iterable[Right]:
    try:
        grantee, rights = _Line(line).read()
    except (LookupError, ValueError):
        return _unknown(line, of)
    return rights if of is None or _means(grantee, of) else ()


def _means(grantee: _Grantee, account: Account) -> bool:
    """Whether a line is about this account, and not about PUBLIC, a role or another user."""
    return grantee is None or (grantee.host is not None and grantee.user == account.user)


def _unknown(line: str, of: Account | None) -> Iterable[Right]:
    """The line as it stands, without the account's name and password; nothing, if it is about another."""
    try:
        about = _Line(line)
    except ValueError:
        return [Unknown(line if of is None else line.replace(of.user, "…"))]
    before = about.skip_to_grantee()
    try:
        grantee: _Grantee = about.grantee()
    except (LookupError, ValueError):
        grantee = None
    if of is not None and not _means(grantee, of):
        return []
    shown = _text(itertools.takewhile(lambda token: token[0] != "text", before))
    return [Unknown(f"{_text(before)} … {_text(about.rest())}", shown)]


def _text(tokens: Iterable[_Token]) -> str:
    open_ones = itertools.takewhile(lambda token: token[1] not in _SECRET, tokens)
    return " ".join(text for _, text in open_ones)


@dataclass(frozen=True)
class _Named:
    """Whom a line is about. A role has no host, and PUBLIC no name either."""

    user: str
    host: str | None


_Grantee = _Named | None
"""None where the line says nothing of whom it is about."""
_PUBLIC = _Named("", None)
_Token = tuple[str, str]
"""Its kind, and the text: words in upper case."""


def _tokens(line: str) -> list[_Token]:
    tokens, place = [], 0
    while place < len(line):
        found = _TOKEN.match(line, place)
        if found is None:
            raise ValueError("not a token")
        kind = str(found.lastgroup)
        tokens.append((kind, found[kind].upper() if kind == "word" else found[kind]))
        place = found.end()
    return tokens


class _Line:
    """One line of SHOW GRANTS, read from its beginning."""

    def __init__(self, line: str) -> None:
        self._tokens = _tokens(line)
        self._place = 0

    def read(self) -> tuple[_Grantee, list[Right]]:
        """Whom it is about, and what it gives them. Raises: LookupError, ValueError, if it is not understood."""
        verb = self._word()
        if verb == "SET":  # MariaDB shows the default role here, too
            return None, []
        if verb not in ("GRANT", "REVOKE"):
            raise ValueError(verb)
        if self._peek()[0] in ("name", "text"):
            return self._roles()
        privileges = [*self._privileges()]
        self._expect("ON")
        if privileges == [("PROXY", ())]:
            of = self._account()
            self._expect("TO")
            return self.grantee(), [Proxy(of, self._ends_with(GRANT_OPTION))]
        on = self._on()
        if verb == "REVOKE":
            if not on.schema or on.name:
                raise ValueError("a partial REVOKE is of a schema")
            self._expect("FROM")
            return self.grantee(), [Withheld(on.schema, name) for name, _ in privileges]
        self._expect("TO")
        return self.grantee(), [*self._granted(on, privileges)]

    def grantee(self) -> _Named:
        """Whom the line is about."""
        if self._peek() == ("word", "PUBLIC"):
            self._next()
            return _PUBLIC
        return _Named(*self._role())

    def skip_to_grantee(self) -> list[_Token]:
        """Go on where the grantee should stand, and return what comes before; all of it, if there is no such place."""
        places = (place for place, token in enumerate(self._tokens, start=1) if token in _BEFORE_GRANTEE)
        self._place = next(places, len(self._tokens))
        return self._tokens[: self._place]

    def rest(self) -> list[_Token]:
        """What comes after the place that it was read to."""
        return self._tokens[self._place :]

    def _granted(self, on: On, privileges: list[tuple[str, tuple[str, ...]]]) -> Iterator[Right]:
        grantable = self._ends_with(GRANT_OPTION)
        if all(_DYNAMIC.fullmatch(name) for name, _ in privileges):
            yield from (Dynamic(name, grantable) for name, _ in privileges)
            return
        for name, columns in privileges:
            if name != "USAGE":
                yield from (Privilege(on, name, column) for column in columns or ("",))
        if grantable:
            yield Privilege(on, GRANT_OPTION)

    def _roles(self) -> tuple[_Grantee, list[Right]]:
        roles = [self._role()]
        while self._takes(","):
            roles.append(self._role())
        self._expect("TO")
        grantee, admin = self.grantee(), self._ends_with("ADMIN OPTION")
        return grantee, [Member(role, host, admin) for role, host in roles]

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
        words = [text if kind == "word" else "'" for kind, text in self.rest()]
        return f" {option} " in f" {' '.join(words)} "

    def _peek(self) -> _Token:
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

    def _next(self) -> _Token:
        token = self._tokens[self._place]
        self._place += 1
        return token
