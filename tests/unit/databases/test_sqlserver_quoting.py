"""Whatever is in a name, password or query, T-SQL reads back what was written, and nothing leaves its place."""

from __future__ import annotations

import re
import string

from hypothesis import given
from hypothesis import strategies as st

from rotated_secrets.databases.sqlserver.query import stays_inside
from rotated_secrets.databases.sqlserver.rights import literal, quoted

STRING = re.compile(r"N'((?:[^']|'')*)'", re.DOTALL)
NAME = re.compile(r"\[((?:[^\]]|\]\])*)\]", re.DOTALL)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40) | st.text("'][\"\\ab", max_size=20)
# One token of T-SQL after the other, as its lexer takes them.
TOKEN = re.compile(
    r"--[^\n]*(?:\n|\Z)|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\[(?:[^\]]|\]\])*\]|.", re.DOTALL
)
QUERIES = st.text("SELECT ()[]'\"-/*;\nx", max_size=40).map(lambda text: "SELECT " + text)


@given(TEXTS)
def test_a_text_is_read_back_as_it_was(text: str) -> None:
    found = STRING.fullmatch(literal(text))
    assert found is not None
    assert found[1].replace("''", "'") == text


@given(st.text(string.ascii_letters + string.digits + string.punctuation + " ", min_size=8, max_size=128))
def test_every_sign_that_a_password_may_have_survives(password: str) -> None:
    assert literal(password)[2:-1].replace("''", "'") == password


@given(TEXTS.filter(bool))
def test_a_name_is_read_back_as_it_was(name: str) -> None:
    found = NAME.fullmatch(quoted(name))
    assert found is not None
    assert found[1].replace("]]", "]") == name


@given(QUERIES)
def test_a_query_that_is_let_through_ends_where_its_parentheses_do(query: str) -> None:
    if not stays_inside(query):
        return
    depth, ended = 0, []
    for token in TOKEN.findall(f"(\n{query}\n) THE REST"):
        depth += {"(": 1, ")": -1}.get(token, 0)
        ended.append(depth)
    assert ended.count(0) == len(" THE REST") + 1
    assert ";" not in query
