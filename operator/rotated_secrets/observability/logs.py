"""Logs as JSON or text, with fields to filter by, and the last line of defence against secret values in them.

Secret values travel as ``SecretText``, which prints as ``***``. This module covers what that cannot: messages of other
libraries' exceptions, which quote their input, and their debug output, which prints requests and responses. Knows
nothing of what is logged.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
import time
import traceback
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import IO, Any, Final, Literal

from rotated_secrets.token_buckets import TokenBuckets

LogFormat = Literal["json", "text"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

CHATTY = {
    # These print requests and responses, secret values included, at DEBUG.
    **dict.fromkeys(("boto3", "botocore", "s3transfer", "kubernetes", "client", "aiohttp"), logging.INFO),
    # It logs the configured endpoint for each client.
    "botocore.configprovider": logging.WARNING,
    # They warn of each retry; the caller logs the result.
    "urllib3": logging.ERROR,
    "stamina": logging.ERROR,
    # It logs each event and login, warns that it leaves signals to us, and logs errors that it also raises.
    "kopf": logging.WARNING,
    "kopf._core.reactor.running": logging.CRITICAL,
    "kopf._core.reactor.orchestration": logging.CRITICAL,
    # It warns, with a traceback, of a role that cannot be assumed; the caller logs why.
    "botocore.credentials": logging.ERROR,
    "asyncio": logging.INFO,
}

_fields: ContextVar[dict[str, str]] = ContextVar("log_fields", default={})  # noqa: B039 - never changed in place

LONGEST = 8192
"""Most characters of one text that are logged; a longer text is cut at its end, before it is searched."""
FRAMES = 20
"""Innermost calls of each exception that are logged."""

LONGEST_LINE: Final = 8192
"""Bytes of one record as it is logged, with all stack traces. Container runtimes split lines of more than 16 KiB."""
SHARE_AT_ONCE: Final = 1 << 20
SHARE_PER_SECOND: Final = 4096
"""Bytes that are logged about the RotatedSecrets of one namespace at once, and a second after that. A rotation logs
about 4 KiB. The kubelet keeps 50 MiB of a container's log by default: one namespace needs hours to replace them."""
REMEMBERED: Final = 10_000
"""Namespaces whose use of the log is remembered."""

# The time of each search must be linear in the length of the text (a search blocks every other thread), so no
# repetition may start at each character of the same run. Each expression also matches a credential whose end was cut.
_CUT = r"(?=…\Z)"
_BASE64 = r"[A-Za-z0-9+/=_.~\-]+"
_SINGLE_QUOTED = r"""'(?:[^'\\]|''|(?s:\\.))*+'?"""
_SUSPECT = re.compile(
    "|".join(
        (
            rf"""(?P<sql>\b(?:PASSWORD|IDENTIFIED\s+BY)\s+)E?{_SINGLE_QUOTED}""",
            r"""(?P<json>\\?["'](?:password|passwd|pwd|token|api_?key|SecretString|SecretBinary|ca?_?key)\\?["']\s*:\s*)"""
            r"""\\?(?:"(?:[^"\\]|(?s:\\.))*+"?|'(?:[^'\\]|(?s:\\.))*+'?)""",
            rf"""(?P<dsn>\b(?:password|passwd|pwd|sslpassword)\s*=\s*)(?:{_SINGLE_QUOTED}|"[^"]*+"?|[^\s,;)'"]\S*+)""",
            rf"""(?P<url>://[^\s:/@]*+:)[^\s@/]+(?:(?=@)|{_CUT})""",
            rf"""(?P<bearer>\b(?:Bearer|Basic)\s+){_BASE64}""",
            rf"""(?P<scram>\bSCRAM-SHA-(?:1|256)\$)[0-9]+:{_BASE64}(?:\${_BASE64}(?::{_BASE64})?)?""",
            rf"""(?P<md5>\bmd5)(?:[0-9a-f]{{32}}\b|[0-9a-f]{{1,31}}{_CUT})""",
        )
    ),
    re.IGNORECASE,
)

# Some readers begin a new line at the separators; terminals obey control characters, and change the order of text.
_INVISIBLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def _visible(text: str) -> str:
    """Escape, as JSON would, what is no visible part of a line. A newline stays: it is a formatter's own."""
    return _INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def redact(text: str) -> str:
    """Replace what looks like a credential by ``***``: passwords in SQL, JSON, URLs, headers, verifiers.

    Cuts the text at :data:`LONGEST` characters.
    """
    if len(text) > LONGEST:
        text = text[: LONGEST - 1] + "…"
    return _SUSPECT.sub(lambda match: next(kept for kept in match.groups() if kept is not None) + "***", text)


def describe(error: BaseException) -> str:
    """Describe an exception for the log, without secret values.

    Messages of our own errors contain no values. Those of other libraries may quote their input (a statement, a body, a
    value that does not parse), so only their type, status and system error are shown.
    """
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if _is_ours(error):
        return f"{name}: {redact(str(error))}"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {redact(error.strerror)}"
    status, reason = getattr(error, "status", None), getattr(error, "reason", None)
    if isinstance(status, int):
        return f"{name}: {status} {redact(reason)}" if isinstance(reason, str) else f"{name}: {status}"
    return name


def _is_ours(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == "rotated_secrets"


def describe_with_trace(error: BaseException) -> str:
    """Describe an exception and its causes, each with its innermost :data:`FRAMES` calls, without variables' values."""
    lines: list[str] = []
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        lines.insert(0, redact("".join(traceback.format_tb(following.__traceback__, -FRAMES))) + describe(following))
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    return "\n".join(lines)


@contextlib.contextmanager
def about(**fields: str) -> Iterator[None]:
    """Add fields (``namespace``, ``name``, ``step``, …) to every line that is logged inside."""
    token = _fields.set({**_fields.get(), **fields})
    try:
        yield
    finally:
        _fields.reset(token)


def silence_aws_debug_logs() -> None:
    """Keep AWS's SDK from logging at DEBUG, where it prints requests and responses with secret values.

    Code that makes its clients calls this, because not every such program has called :func:`configure`.
    """
    for library in ("boto3", "botocore", "urllib3"):
        logger = logging.getLogger(library)
        logger.setLevel(max(logger.level, logging.INFO))


def configure(log_format: LogFormat, level: LogLevel, stream: IO[str] | None = None) -> None:
    """Send all logs of this process to ``stream``, by default standard error, in one format."""
    handler = SharedHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, lowest in CHATTY.items():
        logging.getLogger(name).setLevel(max(lowest, root.level))
    logging.captureWarnings(True)


def count_dropped(counter: Callable[[], None]) -> None:
    """Call ``counter`` for each line that is left out from now on, of what :func:`configure` has set up."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, SharedHandler):
            handler.dropped = counter


def _fields_of(record: logging.LogRecord) -> dict[str, str]:
    # kopf's own loggers carry the object as `k8s_ref`.
    reference = getattr(record, "k8s_ref", None)
    object_fields = {key: reference[key] for key in ("namespace", "name") if reference.get(key)} if reference else {}
    return {**object_fields, **_fields.get()}


class SharedHandler(logging.StreamHandler[IO[str]]):
    """Writes to a stream, of each namespace only its share; lines without a namespace are the operator's own.

    Otherwise one namespace could have the lines of all others rotated away. A line that is left out is counted; what it
    says of a rotation or a denial is an Event and in the status, too.
    """

    def __init__(self, stream: IO[str], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self.dropped: Callable[[], None] = lambda: None
        self._share: TokenBuckets[str] = TokenBuckets(
            burst=SHARE_AT_ONCE, rate=SHARE_PER_SECOND, most=REMEMBERED, clock=clock
        )
        self._left_out: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or leave it out. The caller holds the handler's lock."""
        namespace = _fields_of(record).get("namespace")
        if namespace is not None:
            if self._share.wait(namespace) > 0:
                self._left_out[namespace] += 1
                self.dropped()
                return
            if left_out := self._left_out.pop(namespace, 0):
                self._tell(namespace, left_out)
        super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        namespace = _fields_of(record).get("namespace")
        if namespace is not None:
            self._share.spend(namespace, _size(line))
        return line

    def _tell(self, namespace: str, left_out: int) -> None:
        """Log how many lines were left out."""
        message = (
            "%d lines about RotatedSecrets of namespace %s were left out: they were more than its share of the log"
        )
        told = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": message}
        token = _fields.set({"namespace": namespace})
        try:
            super().emit(logging.makeLogRecord({**told, "args": (left_out, namespace)}))
        finally:
            _fields.reset(token)


def _size(line: str) -> int:
    return len(line.encode())


def _fitted(text: str, most: int, line: Callable[[str], str], cut_before: int = 0) -> str:
    """Cut a text so that the line with it has at most ``most`` bytes, and say how much was cut."""

    def cut(length: int) -> str:
        return f"{text[:length]}… ({len(text) + cut_before - length} characters cut)"

    if _size(line(text)) <= most:
        return text
    return cut(max(0, bisect_right(range(len(text)), most, key=lambda length: _size(line(cut(length)))) - 1))


class _Formatter(logging.Formatter):
    """Common parts of both formats: fields, messages and exceptions without values, and the length of a line."""

    def format(self, record: logging.LogRecord) -> str:
        message, trace = self.message(record), self.trace(record)
        longest = LONGEST_LINE // 2 if trace else LONGEST_LINE
        cut_before = max(0, len(message) - LONGEST)
        message = _fitted(redact(message), longest, lambda text: self.line(record, text, ""), cut_before)
        trace = _fitted(trace, LONGEST_LINE, lambda text: self.line(record, message, text))
        return self.line(record, message, trace)

    def line(self, record: logging.LogRecord, message: str, trace: str) -> str:
        """Return what is written of a record."""
        raise NotImplementedError

    def message(self, record: logging.LogRecord) -> str:
        """Return the whole message, not yet searched for credentials."""
        args: Any = record.args
        if isinstance(args, tuple):
            args = tuple(_quoted(each) for each in args)
        text = str(_quoted(record.msg))
        return text % args if args else text

    def trace(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        return describe_with_trace(error) if error else ""

    def time(self, record: logging.LogRecord) -> str:
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _quoted(each: object) -> object:
    """Replace an exception by its text: the message of our own errors, a description of all others."""
    if not isinstance(each, BaseException):
        return each
    return str(each) if _is_ours(each) else describe(each)


class JsonFormatter(_Formatter):
    """Formats each record as one JSON object on one line."""

    def line(self, record: logging.LogRecord, message: str, trace: str) -> str:
        line = {
            "time": self.time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": message,
            **_fields_of(record),
        }
        if trace:
            line["exception"] = trace
        return _visible(json.dumps(line, ensure_ascii=False))


class TextFormatter(_Formatter):
    """Formats each record as one readable line, followed by the stack trace if there is one."""

    def line(self, record: logging.LogRecord, message: str, trace: str) -> str:
        fields = _fields_of(record)
        about_what = f"{fields['namespace']}/{fields['name']}: " if {"namespace", "name"} <= fields.keys() else ""
        step = f" [{fields['step']}]" if "step" in fields else ""
        # Without indentation, a message of several lines could look like several records.
        message = message.replace("\n", "\n    ")
        line = f"{self.time(record)} {record.levelname:<7} {about_what}{message}{step}"
        return _visible("\n".join(filter(None, (line, trace))))
