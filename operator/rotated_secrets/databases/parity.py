"""Make two users equal, difference by difference, if a clone cannot simply be a member of its base user. Pure.

An engine says where the two differ and how to repair it; this module decides what is repaired, reported or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import Refused, RightsReport

_SHOWN = 3
_PASSES = 2
"""One repair may show another: what changes its owner is no longer its former owner's to use."""


@dataclass(frozen=True)
class Difference:
    """One difference between the clone and its base user."""

    sentence: str
    repairs: tuple[str, ...] = ()
    """Statements, run in order; empty if only a person can repair it."""
    lacks: bool = False
    """The clone can do less: an application would fail with it."""
    place: str = ""
    """The database in which the repairs run, if the engine needs one."""


class ObjectGone(Refused):
    """What a right is for does not exist any more, so that it cannot be given: to lack it is to lack nothing."""


def reconcile(
    look: Callable[[], Sequence[Difference]],
    run: Callable[[str, str], None],
    rights: Rights,
    *,
    clone: str,
    unfinished: bool,
) -> RightsReport:
    """Repair what ``rights`` says, or everything if the clone is ``unfinished``, and report the rest.

    ``run`` takes a statement and its place; it raises Refused, or :class:`ObjectGone`. The operator created an
    unfinished clone itself, now or in an attempt that did not end, so what it is given is not reported as a repair.

    Raises:
        Refused: the clone lacks something that could not be given to it, and ``rights`` is Enforce: a credential that
            can do less than the one before must not become current.
    """
    if rights is Rights.IGNORE and not unfinished:
        return RightsReport()
    failures: dict[str, str] = {}
    gone: set[str] = set()
    remaining = look()
    tried: list[Difference] = []
    for _ in range(_PASSES if rights is Rights.ENFORCE or unfinished else 0):
        fresh = [each for each in remaining if each.repairs and each not in tried]
        if not fresh:
            break
        for difference in fresh:
            tried.append(difference)
            try:
                for statement in difference.repairs:
                    run(statement, difference.place)
            except Refused as error:
                failures[difference.sentence] = str(error)
                if isinstance(error, ObjectGone):
                    gone.add(difference.sentence)
        remaining = look()
    lacking = [described(each, failures) for each in remaining if each.lacks and each.sentence not in gone]
    if lacking and rights is Rights.ENFORCE:
        raise Refused(
            f"user {clone} is not made current, because it {first_of(lacking)}; "
            f"grant it by hand, or set rotation.rights: Report to go on without it"
        )
    repaired = [each.sentence for each in tried if each not in remaining]
    return RightsReport(
        () if unfinished else tuple(f"{clone} {sentence}" for sentence in repaired),
        tuple(f"{clone} {described(each, failures)}" for each in remaining),
    )


def first_of(sentences: Sequence[str]) -> str:
    """The first few of many."""
    more = len(sentences) - _SHOWN
    return " and ".join(sentences[:_SHOWN]) + (f", and {more} more" if more > 0 else "")


def described(difference: Difference, failures: dict[str, str]) -> str:
    """The sentence of a difference, and why its repair failed."""
    why = failures.get(difference.sentence)
    return f"{difference.sentence} ({why})" if why else difference.sentence
