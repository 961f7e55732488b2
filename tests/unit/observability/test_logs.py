"""Log lines: their fields, and what must never be in them. The canary stands for a password."""

from __future__ import annotations

import io
import json
import logging
import re
import time
import warnings
from collections.abc import Callable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kubernetes.client.exceptions import ApiException
from pydantic import BaseModel, ValidationError

from rotated_secrets.databases.base import Unavailable
from rotated_secrets.observability import logs
from rotated_secrets.values import SecretText

CANARY = "c4n4ry-P4ssw0rd"
log = logging.getLogger("rotated_secrets.test")

Written = Callable[[], str]


@pytest.fixture(params=["json", "text"])
def written(request: pytest.FixtureRequest) -> Iterator[Written]:
    """What a test logs, in each format."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in logs.CHATTY}
    logs.configure(request.param, "DEBUG", stream)
    yield stream.getvalue
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    logging.captureWarnings(False)


def test_json_line_has_the_fields_of_its_context() -> None:
    formatter = logs.JsonFormatter()
    record = logging.LogRecord("a.logger", logging.WARNING, "f.py", 1, "%s of %d", ("one", 2), None)
    with logs.about(namespace="shop", name="orders"), logs.about(step="SetSecret"):
        line = json.loads(formatter.format(record))
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "WARNING",
        "logger": "a.logger",
        "message": "one of 2",
        "namespace": "shop",
        "name": "orders",
        "step": "SetSecret",
    }
    assert "namespace" not in json.loads(formatter.format(record))


def test_role_that_cannot_be_assumed_leaves_no_traceback_of_the_sdk(written: Written) -> None:
    logging.getLogger("botocore.credentials").warning("Refreshing temporary credentials failed", exc_info=ValueError())
    assert written() == ""


def test_a_text_line_cannot_be_split_by_what_it_quotes() -> None:
    record = logging.LogRecord("a", logging.INFO, "f.py", 1, "%s", ("x\n2026-01-01 INFO forged",), None)
    assert logs.TextFormatter().format(record).splitlines()[1].startswith("    ")


@pytest.mark.parametrize("formatter", [logs.TextFormatter(), logs.JsonFormatter()])
def test_quoted_text_begins_no_line_and_tells_a_terminal_nothing(formatter: logging.Formatter) -> None:
    quoted = "schedule \u2028forged\u2029\x85\x0b\x0c\r\x1b[2K\x9b1m\u202e\u2066\x7f\t\udfff is not understood: é…😀"
    line = formatter.format(logging.LogRecord("a", logging.WARNING, "", 0, "%s", (quoted,), None))
    assert len(line.splitlines()) == 1
    assert [sign for sign in line if not sign.isprintable()] == []
    assert line.encode().decode().count("é…😀") == 1
    if isinstance(formatter, logs.JsonFormatter):
        assert json.loads(line)["message"] == quoted


def test_an_object_that_kopf_logs_about_is_a_field() -> None:
    record = logging.LogRecord("kopf.objects", logging.WARNING, "f.py", 1, "changed", (), None)
    record.k8s_ref = {"namespace": "shop", "name": "orders", "kind": "RotatedSecret"}
    assert json.loads(logs.JsonFormatter().format(record))["name"] == "orders"


class Model(BaseModel):
    number: int


def validation_error() -> ValidationError:
    with pytest.raises(ValidationError) as raised:
        Model.model_validate({"number": CANARY})
    return raised.value


FOREIGN = [
    pytest.param(ValueError(f"invalid literal: {CANARY!r}"), id="builtin"),
    pytest.param(KeyError(CANARY), id="key"),
    pytest.param(validation_error(), id="pydantic"),
    pytest.param(ApiException(status=422, reason="Unprocessable", http_resp=None), id="kubernetes"),
    pytest.param(UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, "bad"), id="codec"),
]


@pytest.mark.parametrize("error", FOREIGN)
def test_values_in_other_libraries_exceptions_are_not_logged(error: Exception, written: Written) -> None:
    if isinstance(error, ApiException):
        error.body = f'{{"data": "{CANARY}"}}'
    password = CANARY
    try:
        try:
            raise error
        except Exception as cause:
            raise Unavailable("the database did not answer") from cause
    except Unavailable as raised:
        log.exception("it failed: %s", error, exc_info=raised)
        log.error(error)
    assert password not in written()
    assert "the database did not answer" in written()
    assert type(error).__qualname__ in written()
    assert "test_values_in_other_libraries_exceptions_are_not_logged" in written()


@pytest.mark.parametrize(
    "text",
    [
        f"ALTER ROLE orders PASSWORD '{CANARY}'",
        f"alter user orders identified by '{CANARY}'",
        f'{{"username": "orders", "password": "{CANARY}"}}',
        f'{{\\"password\\": \\"{CANARY}\\"}}',
        f"{{'password': '{CANARY}', 'host': 'db'}}",
        f"host=db user=orders password={CANARY} dbname=shop",
        f"postgresql://orders:{CANARY}@db:5432/shop",
        f"Authorization: Bearer {CANARY}",
        f"'SecretString': '{CANARY}'",
        f"'SCRAM-SHA-256$4096:{CANARY}$x:y'",
        f"PASSWORD 'it''s {CANARY}'",
        f"PASSWORD '{CANARY}",
    ],
)
def test_what_looks_like_a_credential_is_not_logged(text: str, written: Written) -> None:
    logging.getLogger("some.library").warning(text)
    logging.getLogger("some.library").warning("it said: %s", text)
    assert CANARY not in written()
    assert "***" in written()


@pytest.mark.parametrize(
    "text",
    ["the password of user orders was set", "password: unchanged", "see https://docs.example/a:b", "step=SetSecret"],
)
def test_ordinary_sentences_stay_as_they_are(text: str) -> None:
    assert logs.redact(text) == text


BASE64 = st.text("ABCZabcz0189+/=_.-", min_size=1, max_size=60)
QUOTED = st.text(min_size=1, max_size=60)
BARE = st.text(st.characters(exclude_categories=("Z", "C"), exclude_characters=",;)'\""), min_size=1, max_size=60)
IN_URL = st.text("ABCZabcz0189%._~!$&*+,;=:'()-", min_size=1, max_size=60)
CREDENTIALS = st.one_of(
    QUOTED.map(lambda secret: ("ALTER ROLE o PASSWORD ", "'" + secret.replace("\\", "\\\\").replace("'", "''") + "'")),
    QUOTED.map(
        lambda secret: ("alter user o identified by ", "'" + secret.replace("\\", "\\\\").replace("'", "''") + "'")
    ),
    QUOTED.map(lambda secret: ('{"password": ', json.dumps(secret))),
    QUOTED.map(lambda secret: ("{'SecretString': ", repr(secret))),
    QUOTED.map(lambda secret: ("host=db password=", "'" + secret.replace("\\", "\\\\").replace("'", "\\'") + "'")),
    BARE.map(lambda secret: ("host=db password=", secret)),
    IN_URL.map(lambda secret: ("postgresql://orders:", f"{secret}@db")),
    BASE64.map(lambda secret: ("Authorization: Bearer ", secret)),
    st.tuples(BASE64, BASE64, BASE64).map(lambda parts: ("SCRAM-SHA-256$", "4096:{}${}:{}".format(*parts))),
    st.text("0123456789abcdef", min_size=32, max_size=32).map(lambda secret: ("md5", secret)),
)
"""Each kind of credential: the text before it, and the credential as it is written there."""


@given(CREDENTIALS)
@example(("host=db password=", "*begins-with-a-star"))
@example(("ALTER ROLE o PASSWORD ", "'a\\\\\nb'"))
def test_a_credential_of_any_shape_is_hidden(credential: tuple[str, str]) -> None:
    before, secret = credential
    for after in ("", " and more"):
        shown = logs.redact(f"it said: {before}{secret}{after}")
        assert re.fullmatch(re.escape(f"it said: {before}") + r"\*\*\*(@db)?" + after, shown), shown


@given(CREDENTIALS, st.integers(0, 150))
@example(("SCRAM-SHA-256$", "4096:00$0000:0"), 13)
@example(("SCRAM-SHA-256$", "4096:0000000$0:0"), 13)
def test_a_credential_that_the_cut_goes_through_is_hidden(credential: tuple[str, str], kept: int) -> None:
    before, secret = credential
    text = "x" * (logs.LONGEST - len(before) - kept - 2) + " " + before
    shown = logs.redact(text + secret + " " * logs.LONGEST)
    rest = shown.removeprefix(text)
    assert re.fullmatch(r"(\*\*\*(@|@d|@db|[:$])?|4|40|409|4096|4096:)?[ …]*", rest), rest


LONG = 65_536


@pytest.mark.parametrize(
    "piece",
    [
        "a.",
        "a-b+",
        "a://",
        "a://b",
        "a://b:",
        "://:",
        "a.a.a.a.a.a://b:c",
        "PASSWORD ",
        "PASSWORD '",
        "PASSWORD ''",
        "'",
        "\\",
        "\\'",
        "IDENTIFIED ",
        "IDENTIFIED BY ",
        " ",
        '"password"',
        '"password" : ',
        '"password": "',
        "'pwd':'\\",
        '\\"token\\"',
        "password",
        "password =",
        "pwd= ",
        "pwd='",
        'pwd="',
        "Bearer ",
        "Basic",
        "Bearer\n\t ",
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$1",
        "SCRAM-SHA-256$1:a$b",
        "SCRAM-SHA-1$1:a$b:",
        "md5",
        "md50",
    ],
)
@pytest.mark.parametrize(
    "start", ["", "a://b:", "PASSWORD '", '"password": "', "pwd=", "Bearer ", "SCRAM-SHA-256$1:a$"]
)
def test_search_takes_linear_time(monkeypatch: pytest.MonkeyPatch, start: str, piece: str) -> None:
    """A search blocks every other thread, also the one that renews the Lease."""
    monkeypatch.setattr(logs, "LONGEST", LONG)
    text = (start + piece * LONG)[:LONG]
    before = time.thread_time()
    logs.redact(text)
    assert time.thread_time() - before < 0.5


def test_a_long_text_is_cut(written: Written) -> None:
    log.info("it said: %s", "y" * 1_000_000)
    assert len(written()) < logs.LONGEST + 200
    assert "…" in written()


def test_deep_trace_shows_the_innermost_calls_and_the_error(written: Written) -> None:
    def one(depth: int) -> None:
        other(depth)

    def other(depth: int) -> None:
        if not depth:
            raise Unavailable("the database did not answer")
        one(depth - 1)

    try:
        one(200)
    except Unavailable:
        log.exception("it failed")
    assert "the database did not answer" in written()
    assert len(written()) < logs.LONGEST


def test_secret_texts_print_as_stars(written: Written) -> None:
    log.info("%s %r %s", SecretText(CANARY), SecretText(CANARY), {"password": SecretText(CANARY)})
    assert CANARY not in written()


@pytest.mark.parametrize("name", ["botocore.endpoint", "urllib3.connectionpool", "kubernetes.client.rest", "aiohttp"])
def test_libraries_do_not_log_bodies_at_debug(name: str, written: Written) -> None:
    logging.getLogger(name).debug("response body: %s", CANARY)
    assert written() == ""


def test_warnings_are_logged(written: Written) -> None:
    warnings.warn("something is old", stacklevel=1)
    assert "something is old" in written()


@pytest.mark.parametrize("character", ["y", "\\", "\x00", "\n", "é", "😀"])
def test_no_line_is_longer_than_its_bound_and_says_how_much_was_cut(written: Written, character: str) -> None:
    """A character of a message may be up to six in the log."""
    log.info("it said: %s", character * 20_000)
    line = written().removesuffix("\n")
    assert len(line.encode()) <= logs.LONGEST_LINE
    found = re.search(r"… \((\d+) characters cut\)", line)
    assert found is not None
    assert 20_000 - logs.LONGEST_LINE < int(found[1]) < 20_000


@pytest.mark.parametrize("formatter", [logs.TextFormatter(), logs.JsonFormatter()])
def test_message_and_traces_together_have_one_bound(formatter: logging.Formatter) -> None:
    error: Exception = Unavailable("root " + "\\" * 8000)
    for number in range(5):
        outer = Unavailable(f"{number} " + "\\" * 8000)
        outer.__cause__ = error
        error = outer
    record = logging.LogRecord("a", logging.ERROR, "f.py", 1, "%s", ("\\" * 8000,), (type(error), error, None))
    line = formatter.format(record)
    assert len(line.encode()) <= logs.LONGEST_LINE
    assert line.count("characters cut)") == 2, "of the message, and of the trace"
    if isinstance(formatter, logs.JsonFormatter):
        assert json.loads(line)["exception"].startswith(f"{Unavailable.__module__}.Unavailable: root")


def test_a_line_of_exactly_the_bound_is_not_cut() -> None:
    formatter = logs.JsonFormatter()

    def formatted(length: int) -> str:
        return formatter.format(logging.makeLogRecord({"msg": "y" * length, "levelname": "INFO", "name": "a"}))

    frame = len(formatted(0))
    assert "cut" not in formatted(logs.LONGEST_LINE - frame)
    assert "characters cut" in formatted(logs.LONGEST_LINE - frame + 1)


class Shared:
    """A handler with a clock that stands still, and what it has written."""

    def __init__(self) -> None:
        self.now, self.dropped = 0.0, 0
        self._stream = io.StringIO()
        handler = logs.SharedHandler(self._stream, lambda: self.now)
        handler.setFormatter(logs.JsonFormatter())
        handler.dropped = self._drop
        self._handler = handler

    def _drop(self) -> None:
        self.dropped += 1

    def log(self, message: str, **fields: str) -> None:
        with logs.about(**fields):
            self._handler.handle(logging.makeLogRecord({"msg": message, "levelname": "INFO", "name": "a"}))

    @property
    def lines(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]

    @property
    def size(self) -> int:
        return len(self._stream.getvalue())

    def messages(self, namespace: str | None) -> list[str]:
        return [line["message"] for line in self.lines if line.get("namespace") == namespace]

    def flood(self, namespace: str = "noisy", lines: int = 1000) -> None:
        for _ in range(lines):
            self.log("y" * logs.LONGEST, namespace=namespace, name="orders")


def test_a_namespace_that_floods_the_log_has_its_share_and_others_lose_no_line() -> None:
    shared = Shared()
    shared.flood()
    assert shared.size <= logs.SHARE_AT_ONCE + logs.LONGEST_LINE + 1000
    assert shared.dropped == 1000 - len(shared.lines) > 0
    shared.log("of another one", namespace="shop", name="orders")
    shared.log("the operator's own")
    assert shared.messages("shop") == ["of another one"]
    assert shared.messages(None) == ["the operator's own"]


def test_the_share_of_a_namespace_grows_slowly_again() -> None:
    shared = Shared()
    shared.flood()
    before = shared.size
    for _ in range(600):
        shared.now += 1
        shared.flood(lines=10)
    assert shared.size - before <= 600 * logs.SHARE_PER_SECOND + 2 * logs.LONGEST_LINE
    shared.now += 3600
    before = shared.size
    shared.flood()
    assert shared.size - before <= logs.SHARE_AT_ONCE + 2 * logs.LONGEST_LINE


def test_what_was_left_out_is_said_in_one_line_when_lines_are_written_again() -> None:
    shared = Shared()
    shared.flood()
    left_out = shared.dropped
    shared.now = 60
    shared.log("again", namespace="noisy", name="orders")
    shared.log("and again", namespace="noisy", name="orders")
    said, *others = shared.messages("noisy")[-3:]
    assert said.startswith(f"{left_out} lines about RotatedSecrets of namespace noisy were left out")
    assert others == ["again", "and again"]
    assert "name" not in shared.lines[-3], "it is about all of the namespace"


def test_the_operators_own_lines_have_no_limit() -> None:
    shared = Shared()
    for _ in range(500):
        shared.log("y" * logs.LONGEST)
    assert (len(shared.lines), shared.dropped) == (500, 0)


def test_what_kopf_logs_about_an_object_is_of_its_namespace() -> None:
    shared = Shared()
    shared.flood()
    record = logging.makeLogRecord({"msg": "kopf", "levelname": "INFO", "k8s_ref": {"namespace": "noisy", "name": "o"}})
    dropped = shared.dropped
    shared._handler.handle(record)
    assert shared.dropped == dropped + 1


def test_two_hundred_resources_that_start_and_fail_and_48_rotations_lose_no_line() -> None:
    """A rotation logs about ten lines; a start one or two; a failure one, with growing pauses."""
    shared = Shared()
    for number in range(200):
        for _ in range(4):
            shared.log("y" * 500, namespace="shop", name=f"orders-{number}")
    for number in range(48):
        for _ in range(12):
            shared.log("y" * 400, namespace="shop", name=f"orders-{number}")
    assert shared.dropped == 0


def test_dropped_lines_are_counted(written: Written) -> None:
    dropped: list[None] = []
    logs.count_dropped(lambda: dropped.append(None))
    with logs.about(namespace="noisy", name="orders"):
        for _ in range(300):
            log.info("%s", "y" * logs.LONGEST)
    assert len(dropped) > 100
