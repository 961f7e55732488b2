"""What goes to a webhook and what its answers mean: hosts that are allowed, signatures, and words that are repeated."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import pickle
import re
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from rotated_secrets.api.rotation import Rights, Strategy
from rotated_secrets.controller.settings import InvalidSettings, Settings
from rotated_secrets.databases.base import (
    AuthenticationFailed,
    Refused,
    RightsReport,
    Server,
    Tls,
    Unavailable,
    Users,
)
from rotated_secrets.databases.webhook import InvalidKey, InvalidReceiver, Receiver, SigningKey, engine
from rotated_secrets.databases.webhook.answers import Answer, Reply, TryAgain, Verb, understood
from rotated_secrets.databases.webhook.redaction import LONGEST, RUN, Hidden
from rotated_secrets.json_object import parse_object
from rotated_secrets.values import Credential, Endpoint, SecretValue

# ---- where


@pytest.mark.parametrize(
    ("url", "host", "port", "target"),
    [
        ("https://hooks.example.com", "hooks.example.com", 443, "/"),
        ("https://Hooks.Example.com./a/b?c=d&e", "hooks.example.com", 443, "/a/b?c=d&e"),
        ("https://hooks.example.com:8443/a//b", "hooks.example.com", 8443, "/a//b"),
    ],
)
def test_a_url_is_taken_apart(url: str, host: str, port: int, target: str) -> None:
    assert Receiver.at(url) == Receiver(host, port, target)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/",
        "https://user:secret@hooks.example.com/",
        "https://hooks.example.com@evil.example/",
        "https://hooks.example.com\\@evil.example/",
        "https://hooks.example.com:99999/",
        "https://hooks.example.com:0/",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/\r\nHost: evil",
        "https://hooks.example.com/#secret",
        "https://[::1]/",
        "https:///a",
        "https://hooks.example.com/\n",
    ],
)
def test_what_is_no_plain_https_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InvalidReceiver, match="write https://HOST/PATH") as told:
        Receiver.at(url)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "patterns", "allowed"),
    [
        ("https://a.example.com/", ["a.example.com"], True),
        ("https://A.EXAMPLE.com./", ["b.example.com", "A.example.com"], True),
        ("https://a.example.com/", [], False),
        ("https://a.example.com:8443/", ["a.example.com"], False),
        ("https://a.example.com:8443/", ["a.example.com:8443"], True),
        ("https://a.example.com/", ["a.example.com:8443"], False),
        ("https://x.hooks.example.com/", ["*.hooks.example.com"], True),
        ("https://x.y.hooks.example.com/", ["*.hooks.example.com"], True),
        ("https://hooks.example.com/", ["*.hooks.example.com"], False),
        ("https://evilhooks.example.com/", ["*.hooks.example.com"], False),
        ("https://hooks.example.com.evil.example/", ["hooks.example.com", "*.hooks.example.com"], False),
    ],
)
def test_a_host_is_one_that_the_settings_allow(url: str, patterns: list[str], allowed: bool) -> None:
    settings = Settings.parse({"webhook_hosts": ",".join(patterns)})
    assert Receiver.at(url).is_among(settings.webhook_hosts) is allowed


@pytest.mark.parametrize("pattern", ["*", "*.", "https://a.example.com", "a.example.com/x", "a.*.com", "a.b:0", "a b"])
def test_a_pattern_that_says_nothing_or_everything_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidSettings, match=r"--webhook-hosts: .* is not a host; write hooks\.example\.com"):
        Settings.parse({"webhook_hosts": pattern})


# ---- who


def test_a_signature_is_that_of_the_convention() -> None:
    """The example of the Standard Webhooks' reference library, computed here anew from its specification."""
    key, body = bytes(range(32)), b'{"test": 2432232314}'
    written = b"whsec_" + base64.b64encode(key)
    headers = SigningKey.parse(written).headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    signed = b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330." + body
    assert headers == {
        "Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "Webhook-Timestamp": "1614265330",
        "Webhook-Signature": "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode(),
    }


def signature(key: SigningKey) -> str:
    return key.headers("id", 1, b"")["Webhook-Signature"]


@pytest.mark.parametrize("ending", [b"", b"\n", b" \r\n"])
def test_a_key_may_be_written_in_base64_and_end_a_line(ending: bytes) -> None:
    key = bytes(range(31)) + b"\n"
    for encoded in (base64.b64encode(key), base64.b64encode(key).rstrip(b"=")):
        assert signature(SigningKey.parse(b"whsec_" + encoded + ending)) == signature(SigningKey(key))
    assert signature(SigningKey.parse(key)) == signature(SigningKey(key)), "bytes are taken as they are"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (b"x" * 31, "has 31 bytes; it needs at least 32"),
        (b"x" * 4097, "has 4097 bytes; it needs at least 32, and 4096 at most"),
        (b"whsec_" + base64.b64encode(b"x" * 24), "has 24 bytes"),
        (b"whsec_not base64 but long enough to be a key", "is not base64"),
        (b"whsec_" + b"\xc3\xa4" * 20, "is no base64|bytes"),
        (b"", "has 0 bytes"),
    ],
)
def test_a_key_that_is_none_is_refused(written: bytes, told: str) -> None:
    if written.startswith(b"whsec_\xc3"):
        assert signature(SigningKey.parse(written)), "no text: the bytes as they are"
        return
    with pytest.raises(InvalidKey, match=told) as raised:
        SigningKey.parse(written)
    assert "x" * 8 not in str(raised.value)


def test_a_key_is_not_to_be_seen() -> None:
    key = SigningKey(b"canary" * 6)
    assert f"{key} {key!r}" == "*** ***"
    with pytest.raises(TypeError):
        pickle.dumps(key)


# ---- what its answers mean


def reply(status: int, content: Any = None, **more: Any) -> Reply:
    return Reply(status, content if isinstance(content, bytes) else json.dumps(content).encode(), **more)


def meaning(answer: Reply, verb: Verb = Verb.TEST) -> Answer:
    return understood(answer, verb, "webhook hooks.example.com:443", Hidden({"client_secret": "canary-secret"}))


@pytest.mark.parametrize("verb", Verb)
def test_done_is_204_or_the_word_ok(verb: Verb) -> None:
    assert meaning(reply(204, b""), verb) == meaning(reply(200, {"ok": True}), verb) == Answer()


def test_a_set_may_tell_of_rights() -> None:
    said = {"ok": True, "repaired": ["scope a added", 7, "canary-secret"], "remaining": "no list"}
    assert meaning(reply(200, said), Verb.SET).rights == RightsReport(("scope a added", "***"), ())


@pytest.mark.parametrize(
    ("answer", "verb", "kind", "told"),
    [
        (reply(200, {"ok": False, "failure": "authentication"}), Verb.TEST, AuthenticationFailed, "it is not accepted"),
        (reply(200, {"ok": False, "message": "too long"}), Verb.SET, Refused, "could not set it: too long"),
        (reply(200, {"ok": False}), Verb.SET, Refused, "could not set it: it does not say why"),
        (reply(200, {"ok": False, "failure": "authentication"}), Verb.SET, Refused, "could not set it"),
        (reply(200, {"ok": False, "message": "?"}), Verb.TEST, Unavailable, "that has no meaning here: ?"),
        (reply(200, {"ok": False, "failure": "timeout"}), Verb.TEST, Unavailable, "has no meaning here"),
        (reply(200, b""), Verb.SET, Unavailable, "has no meaning here"),
        (reply(200, b'{"ok": true}', complete=False), Verb.TEST, Unavailable, "and is too long"),
        (reply(202, {"ok": True}), Verb.SET, Unavailable, "answers 202, which has no meaning here"),
        (reply(302), Verb.SET, Refused, "redirects (302), which is not followed"),
        (reply(400, {"message": "bad"}), Verb.SET, Refused, "refuses the request (400): bad"),
        (reply(401), Verb.TEST, Refused, "rejects the signature (401)"),
        (reply(404), Verb.TEST, Refused, "refuses the request (404)"),
        (reply(409), Verb.SET, Unavailable, "is a replay, or older"),
        (reply(408), Verb.TEST, TryAgain, "cannot answer now"),
        (reply(429, retry_after=7.0), Verb.TEST, TryAgain, "cannot answer now"),
        (reply(500, {"message": "canary-secret"}), Verb.SET, TryAgain, "cannot answer now (500): ***"),
        (reply(599), Verb.SET, TryAgain, "cannot answer now"),
        (reply(103), Verb.TEST, Unavailable, "has no meaning here"),
        (reply(999), Verb.TEST, TryAgain, "cannot answer now"),
    ],
)
def test_everything_else_is_told_for_what_it_is(answer: Reply, verb: Verb, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=re.escape(told)) as raised:
        meaning(answer, verb)
    assert type(raised.value) is kind
    if isinstance(raised.value, TryAgain):
        assert raised.value.after == answer.retry_after


@given(st.integers(100, 999), st.binary(max_size=200), st.sampled_from(Verb))
def test_no_answer_is_a_proof_by_accident(status: int, body: bytes, verb: Verb) -> None:
    """Only 204, or a JSON object that says so."""
    try:
        meaning(Reply(status, body), verb)
    except (AuthenticationFailed, Refused, Unavailable):
        return
    assert status == 204 or (status == 200 and json.loads(body)["ok"] in (True, False))


def test_a_failed_check_is_no_failed_login() -> None:
    failed = meaning(reply(200, {"ok": False, "failure": "check", "message": "scope\n\x1b[31mmissing"})).failed_check
    assert failed == "webhook hooks.example.com:443 says that it is accepted, and a check failed: scope [31mmissing"


# ---- what is repeated

secrets = st.text(min_size=RUN, max_size=40)


@given(secrets, st.text(max_size=20), st.text(max_size=20), st.integers(0, 5))
def test_nothing_of_the_value_is_repeated(secret: str, before: str, after: str, form: int) -> None:
    plain = secret.encode()
    forms = [
        secret,
        json.dumps(secret)[1:-1],
        base64.b64encode(plain).decode(),
        base64.urlsafe_b64encode(plain).decode(),
        "".join(f"%{byte:02X}" if byte > 127 else chr(byte) for byte in plain),
        secret[: max(RUN, len(secret) // 2)],
    ]
    told = Hidden({"a": [{"b": secret}]}).redacted(before + forms[form] + after)
    assert not any(secret[start : start + RUN] in told for start in range(len(secret) - RUN + 1))


@pytest.mark.parametrize(
    ("value", "message", "told"),
    [
        ("plain-token", "bad plain-token", "bad ***"),
        ({"pin": 482913}, "pin 482913 is taken", "pin *** is taken"),
        (parse_object('{"pin": 1234.50}'), "not 1234.50 nor 1234.5", "not *** nor ***"),
        ({"pin": "4829"}, "no 4829, no 48", "no ***, no 48"),
        ({"a": "abcdefgh12345678"}, "begins with abcdefgh1 and on", "begins with *** and on"),
        ({"a": 'quote"d-secret'}, 'echo: {"a": "quote\\"d-secret"}', 'echo: {"a": "***"}'),
        ({"a": "abcdefgh"}, "abcd\nefgh, a b", "abcd efgh, a b"),
        ({"a": True, "b": None}, "true and null", "true and null"),
        ({"a": "x"}, "x is short", "x is short"),
        ({}, ["no text"], ""),
        ({}, "two\nlines\tand \x00 more", "two lines and more"),
    ],
)
def test_the_rest_of_a_message_is_kept(value: Any, message: Any, told: str) -> None:
    assert Hidden(value).redacted(message) == told


def test_a_long_message_is_cut() -> None:
    assert len(Hidden({}).redacted("x" * 100_000)) == LONGEST


# ---- what is sent


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ('\ufeff{"n":1.10, "x": 1e400,\n "y": "\\u00fc\\/"}\n', '{"n":1.10, "x": 1e400,\n "y": "\\u00fc\\/"}'),
        ('{"half": "\ud83d", "ü": 1}', '{"half": "\\ud83d", "ü": 1}'),
        ('plain "token"', '"plain \\"token\\""'),
    ],
)
def test_the_value_is_sent_as_it_is_written(monkeypatch: pytest.MonkeyPatch, text: str, sent: str) -> None:
    bodies = posted(monkeypatch)
    ask(text)
    assert bodies[0].decode().endswith(f', "value": {sent}}}}}')
    assert json.loads(bodies[0])["data"]["resource"] == {"namespace": "shop", "name": "portal"}


@pytest.mark.parametrize("number", ["NaN", "[-Infinity]"])
def test_a_number_that_json_does_not_have_is_not_sent(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    bodies = posted(monkeypatch)
    with pytest.raises(Refused, match=r"a number that JSON does not have \(NaN, Infinity\)"):
        ask(f'{{"n": {number}}}')
    assert bodies == []


def posted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    bodies: list[bytes] = []

    def post(server: Server, receiver: Receiver, body: bytes, headers: object, *, until: float) -> Reply:
        bodies.append(body)
        return Reply(204, b"")

    monkeypatch.setattr(engine, "post", post)
    return bodies


def ask(text: str) -> None:
    purpose = engine.Purpose("shop", "portal", Strategy.RANDOM_VALUE, (), None, ())
    asking = engine.WebhookEngine(Receiver("hooks.example.com", 443, "/"), SigningKey(b"k" * 32), purpose)
    credential = Credential.of(SecretValue.parse(text), Endpoint("webhook", "hooks.example.com", has_user=False))
    server = Server("hooks.example.com", (), 443, Tls())
    asking.open_admin(server, credential).set_password(Users(""), credential, Rights.ENFORCE)
