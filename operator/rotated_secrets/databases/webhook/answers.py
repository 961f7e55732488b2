"""What a receiver's answer means. Pure.

An unclear answer is Unavailable, so that the request is tried again and nothing is rolled back. Only the words of the
contract say that a credential was set, or works.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rotated_secrets.databases.base import AuthenticationFailed, Refused, RightsReport, Unavailable
from rotated_secrets.databases.webhook.redaction import Hidden

_MOST_SENTENCES = 10
_NOT_NOW = frozenset({408, 425, 429})


class Verb(StrEnum):
    """What a request asks for."""

    SET = "set"
    TEST = "test"


class TryAgain(Unavailable):
    """The receiver did not get to it; the same request may be sent again."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after
        """Seconds that the receiver asks to wait; None where it does not say."""


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    body: bytes
    complete: bool = True
    """False where there was more of it than is read."""
    retry_after: float | None = None
    """Seconds that it asks to wait."""


@dataclass(frozen=True)
class Answer:
    """What a reply comes to where it is neither an error nor doubtful."""

    failed_check: str | None = None
    """Of a test: the credential was accepted, and something else is not as it should be."""
    rights: RightsReport = RightsReport()  # noqa: RUF009 - frozen


def understood(reply: Reply, verb: Verb, whom: str, hidden: Hidden) -> Answer:
    """``whom`` begins the messages: the receiver, and what the request was about.

    Raises:
        AuthenticationFailed: of a test: the receiver says that the credential is not accepted.
        Refused: it will not do it, or the request is not one for it.
        Unavailable: the answer is unclear; :class:`TryAgain` if the same request may be sent again at once.
    """
    said = _said(reply)
    told = f": {words}" if (words := hidden.redacted(said.get("message"))) else ""
    match reply.status:
        case 204:
            return Answer()
        case 200:
            return _done(reply, said, verb, whom, told, hidden)
        case 401 | 403:
            raise Refused(
                f"{whom} rejects the signature ({reply.status}){told}; it needs the key in "
                "database.webhook.authSecretName, and a correct clock"
            )
        case 409:
            raise Unavailable(
                f"{whom} says that this request is a replay, or older than what it has done (409){told}; "
                "the operator checks everything again"
            )
        case status if status in _NOT_NOW or status >= 500:
            raise TryAgain(f"{whom} cannot answer now ({status}){told}", reply.retry_after)
        case status if 300 <= status < 400:
            raise Refused(
                f"{whom} redirects ({status}), which is not followed; write the last URL into database.webhook.url"
            )
        case status if 400 <= status < 500:
            raise Refused(f"{whom} refuses the request ({status}){told}; check database.webhook.url, and its log")
        case status:
            raise Unavailable(
                f"{whom} answers {status}, which has no meaning here; it has to answer 200 or 204 when done"
            )


def _done(reply: Reply, said: dict[str, Any], verb: Verb, whom: str, told: str, hidden: Hidden) -> Answer:
    ok, failure = said.get("ok"), said.get("failure")
    if ok is True:
        return Answer(rights=RightsReport(_sentences(said, "repaired", hidden), _sentences(said, "remaining", hidden)))
    if ok is False and verb is Verb.SET:
        raise Refused(f"{whom} could not set it{told or ': it does not say why'}")
    if ok is False and failure == "authentication":
        raise AuthenticationFailed(f"{whom} says that it is not accepted{told}")
    if ok is False and failure == "check":
        return Answer(failed_check=f"{whom} says that it is accepted, and a check failed{told}")
    much = "" if reply.complete else " and is too long"
    raise Unavailable(
        f"{whom} answers 200 with a body that has no meaning here{much}{told}; it has to answer 204, or 200 with "
        '{"ok": true} or {"ok": false, "failure": "authentication" or "check", "message": …}'
    )


def _said(reply: Reply) -> dict[str, Any]:
    """The JSON object of the body; empty where it is none, or not all of it is there."""
    if not reply.complete:
        return {}
    try:
        said = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _sentences(said: dict[str, Any], key: str, hidden: Hidden) -> tuple[str, ...]:
    found = said.get(key)
    told = [hidden.redacted(each) for each in found[:_MOST_SENTENCES]] if isinstance(found, list) else []
    return tuple(each for each in told if each)
