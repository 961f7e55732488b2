"""What one message has said, the next one does not repeat."""

from __future__ import annotations

from rotated_secrets.cli.view.said import Said

CAUSE = "password authentication failed for user orders"
ADVICE = "put the password of the database into the secret"


def test_what_was_said_is_referred_to() -> None:
    said = Said()
    assert said.unsaid(f"{CAUSE}; {ADVICE}") == f"{CAUSE}; {ADVICE}"
    assert said.unsaid(f"held: AWSCURRENT does not log in ({CAUSE}); {ADVICE}") == (
        "AWSCURRENT does not log in (see above); see above"
    )
    assert said.unsaid(f"{CAUSE}; {ADVICE}") == "see above"


def test_short_words_may_be_said_again() -> None:
    said = Said()
    assert said.unsaid("no answer; try later") == "no answer; try later"
    assert said.unsaid("no answer; try later") == "no answer; try later"
