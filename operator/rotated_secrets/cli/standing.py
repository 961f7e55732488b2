"""How a RotatedSecret stands, in a word or two and a colour. Pure."""

from __future__ import annotations

from rotated_secrets.cli.screen import Tone
from rotated_secrets.cli.seen import ATTEMPTS, Attempt, Claim, Condition, Seen

GOOD_SIGN, BAD_SIGN, WAITING_SIGN, OPEN_SIGN = "✓", "✗", "‖", "·"

_READY = {"True": Tone.GOOD, "False": Tone.BAD}
_UNFINISHED = frozenset({"NeverRotated", "Rotating"})


def ready_tone(status: str) -> Tone:
    return _READY.get(status, Tone.WAITING)


def standing(seen: Seen) -> tuple[str, Tone]:
    """What a person has to know first; nothing where all is well and nothing is under way."""
    ready, rotated = seen.condition("Ready"), seen.condition("Rotated")
    if seen.deleting:
        return "being deleted", Tone.WAITING
    if not seen.conditions:
        return "not looked at yet", Tone.WAITING
    if seen.unusable:
        return seen.unusable.reason, Tone.BAD
    if seen.held is not None:
        return (seen.held.reason if seen.held.reason == "Suspended" else f"held: {seen.held.reason}"), Tone.WAITING
    if seen.claim is not None:
        return _rotating(seen, seen.claim)
    if ready is not None and ready.status != "True":
        return ready.reason, Tone.BAD
    if rotated is not None and rotated.status != "True" and rotated.reason not in _UNFINISHED:
        return rotated.reason, Tone.BAD
    return ("Suspended", Tone.WAITING) if seen.suspended else ("", Tone.PLAIN)


def _rotating(seen: Seen, claim: Claim) -> tuple[str, Tone]:
    which = f" ({claim.attempt}/{ATTEMPTS})" if claim.attempt > 1 else ""
    if seen.waits_to_retry:
        return f"retries{which}", Tone.BAD
    if seen.trouble is not None:
        return f"{seen.trouble.reason}, retries{which}", Tone.BAD
    return f"{claim.step}{which}", Tone.RUNNING


def condition_sign(condition: Condition) -> tuple[str, Tone]:
    """Held is well when it is False, the others when they are True; what is not known yet is open."""
    if condition.status == "Unknown":
        return OPEN_SIGN, Tone.RUNNING if condition.reason == "Rotating" else Tone.QUIET
    if condition.type == "Held":
        return (WAITING_SIGN, Tone.WAITING) if condition.holds else (OPEN_SIGN, Tone.QUIET)
    return (GOOD_SIGN, Tone.GOOD) if condition.holds else (BAD_SIGN, Tone.BAD)


def attempt_sign(attempt: Attempt) -> tuple[str, Tone]:
    return (GOOD_SIGN, Tone.GOOD) if attempt.succeeded else (BAD_SIGN, Tone.BAD)
