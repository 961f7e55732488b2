"""What a command ends with where it cannot do what was asked: a sentence for a person, and an exit code."""

from __future__ import annotations


class Problem(Exception):
    """One sentence: who, what, and what to do next. Never more of an answer than its message."""

    exit_code = 1
