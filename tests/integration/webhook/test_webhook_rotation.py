"""An OAuth client's secret is rotated through the webhook of the documents, whatever goes wrong on the way."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import Any

import pytest

from rotated_secrets.api.status import Outcome
from rotated_secrets.databases.webhook import transport
from rotated_secrets.rotation import actions
from rotated_secrets.rotation.actions import Action, FinishPending, Hold, Retry, SetPending, Sleep
from rotated_secrets.values import Stage
from sandbox.tls import CertificateAuthority
from tests.integration.webhook.conftest import (
    CLIENT,
    FIRST,
    Hook,
    answers,
    drips,
    loses_the_answer,
    passes,
    wait_a_second,
)
from tests.support.webhook_driver import Died, Rotating


def dies_before(step: type[Action]) -> Any:
    def before(action: Action) -> None:
        if isinstance(action, step):
            raise Died

    return before


def crashed(rotating: Rotating, step: type[Action], *, after: bool = False) -> None:
    setattr(rotating, "after" if after else "before", dies_before(step))
    with pytest.raises(Died):
        rotating.rotate()
    rotating.before = rotating.after = lambda _: None


def is_whole(rotating: Rotating, hook: Hook) -> None:
    """The service takes what AWSCURRENT says, pods have it, and nothing is under way."""
    assert hook.secrets == {CLIENT: rotating.value()["client_secret"]}
    assert rotating.stages <= {Stage.CURRENT, Stage.PREVIOUS}
    assert rotating.delivered is not None
    assert (rotating.delivered.value.fields or {})["client_secret"] == rotating.value()["client_secret"]


# ---- the usual


def test_a_secret_is_proven_set_tested_and_delivered(rotating: Rotating, hook: Hook) -> None:
    assert isinstance(rotating.rotate(), Sleep)
    is_whole(rotating, hook)
    value = rotating.value()
    assert value["client_secret"].startswith("cs_") and len(value["client_secret"]) == 35
    assert {**value, "client_secret": FIRST} == rotating.value(Stage.PREVIOUS)
    assert hook.verbs == ["test", "set", "test"], "the present one is proven before anything is changed"
    assert rotating.last.outcome is Outcome.SUCCEEDED and rotating.status.engine == "webhook"


def test_ten_rotations_make_ten_secrets(rotating: Rotating, hook: Hook) -> None:
    made = {FIRST}
    for _ in range(10):
        rotating.rotate()
        is_whole(rotating, hook)
        made.add(rotating.value()["client_secret"])
    assert len(made) == 11 and len({each.id for each in hook.received}) == len(hook.received)


def test_a_request_says_what_it_is_about(rotating: Rotating, hook: Hook) -> None:
    rotating.rotate()
    (sent,) = hook.sets()
    described = rotating.aws.describe_secret(SecretId=rotating.name)
    assert sent.request == {
        "type": "rotated_secrets.v1.set",
        "data": {
            "resource": {"namespace": "shop", "name": "partner"},
            "secret": {"arn": described["ARN"], "versionId": rotating.status.current_version_id},
            "strategy": "RandomValue",
            "keys": ["client_secret"],
            "users": None,
            "value": rotating.value(),
        },
    }
    assert sent.headers["Content-Type"] == "application/json"
    assert {"Cookie", "Authorization", "Proxy-Authorization"}.isdisjoint(sent.headers)


def test_nothing_is_changed_where_the_present_secret_does_not_work(rotating: Rotating, hook: Hook) -> None:
    hook.secrets[CLIENT] = "changed by hand"
    assert isinstance(rotating.rotate(), Hold)
    assert hook.sets() == [] and rotating.stages == {Stage.CURRENT}
    assert f"the secret of client {CLIENT} is another" not in rotating.said(), "the client's id is of the value too"
    assert "says that it is not accepted: the secret of client *** is another" in rotating.said()


# ---- crashes


@pytest.mark.parametrize("step", [SetPending, actions.TestPending, FinishPending])
@pytest.mark.parametrize("after", [False, True])
def test_a_crash_anywhere_is_gone_on_from(rotating: Rotating, hook: Hook, step: type[Action], after: bool) -> None:
    crashed(rotating, step, after=after)
    wait_a_second()
    assert isinstance(rotating.look(), Sleep)
    is_whole(rotating, hook)
    assert rotating.value()["client_secret"] != FIRST and rotating.value(Stage.PREVIOUS)["client_secret"] == FIRST
    assert len({each.id for each in hook.sets()}) == 1, "the receiver knows a repeated request again"
    assert len({each.body for each in hook.sets()}) == 1


def test_a_lost_answer_is_asked_for_again_under_the_same_id(rotating: Rotating, hook: Hook) -> None:
    hook.faults = [passes, loses_the_answer]
    assert isinstance(rotating.rotate(), Sleep)
    is_whole(rotating, hook)
    first, second = hook.sets()
    assert first.id == second.id and first.body == second.body
    assert first.headers["Webhook-Signature"] != second.headers["Webhook-Signature"], "or it would be a replay"


# ---- tests that fail


def test_a_secret_that_fails_its_test_is_taken_back(rotating: Rotating, hook: Hook) -> None:
    hook.faults = [passes, passes, answers(200, {"ok": False, "failure": "check", "message": "no token is\nissued"})]
    rotating.rotate()
    is_whole(rotating, hook)
    assert hook.secrets == {CLIENT: FIRST} and hook.verbs[:5] == ["test", "set", "test", "set", "test"]
    assert (
        rotating.last.outcome is Outcome.ROLLED_BACK and "a check failed: no token is issued" in rotating.last.message
    )


def test_going_back_is_done_again_although_it_was_done_before(rotating: Rotating, hook: Hook) -> None:
    """A receiver that remembers ids must not take the second way back for a repetition of the first."""
    rejected = answers(200, {"ok": False, "failure": "authentication"})
    hook.faults = [passes, passes, rejected]
    rotating.rotate()
    for _ in range(2):
        rotating.later += timedelta(hours=1)
        hook.faults = [passes, passes, rejected]
        rotating.look()
        assert hook.secrets == {CLIENT: FIRST}
    ids = [each.id for each in hook.sets()]
    assert len(ids) == 6 and len(set(ids)) == 6
    is_whole(rotating, hook)


def test_a_crash_in_the_way_back_is_gone_on_from(rotating: Rotating, hook: Hook) -> None:
    hook.faults = [passes, passes, answers(200, {"ok": False, "failure": "authentication"})]
    crashed(rotating, actions.TestPending, after=True)
    hook.faults = []
    wait_a_second()
    rotating.look()
    is_whole(rotating, hook)


def test_a_doubtful_answer_rolls_nothing_back(rotating: Rotating, hook: Hook) -> None:
    hook.faults = [passes, passes, answers(200, {"ok": "yes"})]
    assert isinstance(rotating.rotate(), Retry)
    assert rotating.stages == {Stage.CURRENT, Stage.PENDING} and len(hook.sets()) == 1
    wait_a_second()
    assert isinstance(rotating.look(), Sleep)
    is_whole(rotating, hook)


def test_what_the_webhook_refuses_to_set_is_given_up(rotating: Rotating, hook: Hook) -> None:
    hook.faults = [passes, answers(422, {"message": "secrets have at most 20 characters"})]
    rotating.rotate()
    is_whole(rotating, hook)
    assert hook.secrets == {CLIENT: FIRST}
    assert "refuses the request (422): secrets have at most 20 characters" in rotating.last.message


# ---- receivers in trouble, and in bad faith


def test_a_failure_that_passes_is_not_noticed(rotating: Rotating, hook: Hook) -> None:
    hook.faults = [answers(500), passes, answers(503, Retry_After="1"), passes, answers(429)]
    assert isinstance(rotating.rotate(), Sleep)
    is_whole(rotating, hook)
    assert (
        hook.verbs == ["test", "test", "set", "set", "test", "test"] and len({each.id for each in hook.received}) == 3
    )


def test_a_receiver_that_asks_for_a_long_pause_gets_it(rotating: Rotating, hook: Hook) -> None:
    hook.faults = [answers(429, Retry_After="30")]
    began = time.monotonic()
    rotating.rotate()
    assert len(hook.received) == 1 and time.monotonic() - began < 3
    assert "cannot answer now (429)" in rotating.said()


@pytest.mark.parametrize("fault", [drips, answers(200, b" " * 70_000 + b'{"ok": true}')])
def test_an_answer_without_an_end_proves_nothing_and_ends(rotating: Rotating, hook: Hook, fault: Any) -> None:
    rotating.call_seconds = 1.0
    hook.faults = [fault]
    began = time.monotonic()
    rotating.rotate()
    assert time.monotonic() - began < 3
    assert hook.sets() == [] and ("in time" in rotating.said() or "and is too long" in rotating.said())


def test_a_redirect_is_told_and_not_followed(rotating: Rotating, hook: Hook) -> None:
    hook.faults = [answers(307, Location=hook.url)]
    assert "redirects (307), which is not followed" in str(rotating.rotate())
    assert len(hook.received) == 1


@pytest.mark.parametrize("content", [b"", b"OK", b"<html>", b"[]", b'{"ok": 1}', b'{"ok": false}', b"[" * 60_000])
def test_only_the_contracts_own_words_are_a_proof(rotating: Rotating, hook: Hook, content: bytes) -> None:
    hook.faults = [answers(200, content)]
    rotating.rotate()
    assert hook.sets() == [] and "has no meaning here" in rotating.said()


def test_no_environment_variable_leads_elsewhere(
    rotating: Rotating, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotating.rotate()
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")  # the store's own client is asked past a proxy
    rotating.rotate()
    is_whole(rotating, hook)
    assert len(hook.sets()) == 2


def test_another_authoritys_certificate_is_not_trusted(rotating: Rotating, hook: Hook) -> None:
    rotating.ca_pem = CertificateAuthority.create().certificate
    rotating.rotate()
    assert "not signed by a trusted authority" in rotating.said() and hook.received == []


def test_the_certificate_is_verified_against_the_name_in_the_url(
    rotating: Rotating, hook: Hook, authority: CertificateAuthority, tmp_path: Any
) -> None:
    rotating.url = rotating.url.replace("localhost", "127.0.0.2")
    rotating.rotate()
    assert "cannot be reached" in rotating.said() or "another name" in rotating.said()
    assert hook.received == []


# ---- what is seen of it


def test_a_wrong_key_is_told_as_such(rotating: Rotating, hook: Hook) -> None:
    rotating.key = "x" * 32
    assert "rejects the signature (401): wrong signature" in str(rotating.rotate())
    assert hook.secrets == {CLIENT: FIRST}


def test_nothing_of_the_value_is_told_whatever_the_webhook_says(
    rotating: Rotating, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[str] = []

    def echo(handler: Any, received: Any) -> bool:
        secret = received.request["data"]["value"]["client_secret"]
        made.append(secret)
        message = f"bad {secret}, {secret[:20]}, {secret[3:11]}\n{received.body.decode()}"
        return answers(200, {"ok": False, "failure": "check", "message": message})(handler, received)

    hook.faults = [passes, passes, echo]
    with caplog.at_level(logging.DEBUG):
        rotating.rotate()
    told = rotating.said() + caplog.text
    assert "bad ***, ***, ***" in rotating.last.message
    for secret in (FIRST, *made):
        assert secret not in told
        assert not any(secret[start : start + 8] in told for start in range(len(secret) - 8))
    assert "tenant=7" not in told, "people keep keys in a URL's query"


def test_time_is_bounded_also_where_nothing_is_sent(rotating: Rotating, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 0.5)
    rotating.url = "https://192.0.2.1:9/x"
    rotating.call_seconds = 1.0
    began = time.monotonic()
    rotating.rotate()
    assert time.monotonic() - began < 3 and "cannot be reached" in rotating.said()
