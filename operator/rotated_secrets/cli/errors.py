"""The error that a command reports to the person who ran it."""

from __future__ import annotations


class CommandError(Exception):
    """One sentence for a person: who, what, and what to do next. Its message is printed, and nothing else."""

    exit_code = 1
