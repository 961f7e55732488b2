"""The state of a RotatedSecret in a word or two, with its colour and its sign. Pure."""

from __future__ import annotations

from rotated_secrets.cli.kube.rotated_secret import ATTEMPTS, Attempt, ClaimView, ConditionView, RotatedSecretView
from rotated_secrets.cli.view.printer import Tone

GOOD_SIGN, BAD_SIGN, WAITING_SIGN, OPEN_SIGN = "✓", "✗", "‖", "·"

_READY = {"True": Tone.GOOD, "False": Tone.BAD}
_NOT_A_FAILURE = frozenset({"NeverRotated", "Rotating"})


def ready_tone(status: str) -> Tone:
    return _READY.get(status, Tone.WAITING)


def state_of(resource: RotatedSecretView) -> tuple[str, Tone]:
    """The most important thing to know; empty where all is well and no rotation is running."""
    ready, rotated = resource.condition("Ready"), resource.condition("Rotated")
    if resource.deleting:
        return "being deleted", Tone.WAITING
    if not resource.conditions:
        return "not checked yet", Tone.WAITING
    if resource.needs_fix:
        return resource.needs_fix.reason, Tone.BAD
    failed = rotated is not None and rotated.status == "False" and rotated.reason not in _NOT_A_FAILURE
    if resource.held is not None:
        held = resource.held.reason if resource.held.reason == "Suspended" else f"held: {resource.held.reason}"
        return (f"{rotated.reason}, {held}", Tone.BAD) if rotated and failed else (held, Tone.WAITING)
    if resource.claim is not None:
        return _rotating(resource, resource.claim)
    if ready is not None and ready.status != "True":
        return ready.reason, Tone.BAD
    if rotated is not None and rotated.status != "True" and rotated.reason not in _NOT_A_FAILURE:
        return rotated.reason, Tone.BAD
    return ("Suspended", Tone.WAITING) if resource.suspended else ("", Tone.PLAIN)


def _rotating(resource: RotatedSecretView, claim: ClaimView) -> tuple[str, Tone]:
    of = f"/{ATTEMPTS}" if claim.attempt <= ATTEMPTS else ""  # then it is tried again until it succeeds
    which = f" ({claim.attempt}{of})" if claim.attempt > 1 else ""
    if resource.waits_to_retry:
        return f"retries{which}", Tone.BAD
    if resource.trouble is not None:
        return f"{resource.trouble.reason}, retries{which}", Tone.BAD
    return f"{claim.step}{which}", Tone.RUNNING


def condition_sign(condition: ConditionView) -> tuple[str, Tone]:
    """Held is good when it is False, Stalled when it is not there, the others when True; Unknown is neither."""
    if condition.status == "Unknown":
        return OPEN_SIGN, Tone.RUNNING if condition.reason == "Rotating" else Tone.QUIET
    if condition.type == "Held":
        return (WAITING_SIGN, Tone.WAITING) if condition.is_true else (OPEN_SIGN, Tone.QUIET)
    if condition.type == "Stalled":
        return (BAD_SIGN, Tone.BAD) if condition.is_true else (OPEN_SIGN, Tone.QUIET)
    return (GOOD_SIGN, Tone.GOOD) if condition.is_true else (BAD_SIGN, Tone.BAD)


def attempt_sign(attempt: Attempt) -> tuple[str, Tone]:
    return (GOOD_SIGN, Tone.GOOD) if attempt.succeeded else (BAD_SIGN, Tone.BAD)
