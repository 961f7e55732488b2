"""Check that a verify query stays inside the parentheses around it. Pure.

T-SQL needs no separator between two statements: a query that leaves its parentheses could do anything.
"""

from __future__ import annotations

import re

_BEGINS = re.compile(r"\s*SELECT\b", re.IGNORECASE)
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\[(?:[^\]]|\]\])*\]")
_LEFT_OVER = re.compile(r"['\"\[\]]")


def stays_inside(query: str) -> bool:
    """True for one SELECT that opens no comment, closes what it opens, and nothing else."""
    if not _BEGINS.match(query) or any(sign in query for sign in (";", "--", "/*", "*/", "\x00")):
        return False
    bare = _QUOTED.sub(" ", query)
    if _LEFT_OVER.search(bare):
        return False
    depth = 0
    for sign in bare:
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if depth < 0:
            return False
    return depth == 0
