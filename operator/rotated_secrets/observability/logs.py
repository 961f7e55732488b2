"""Logs as JSON or text, with fields to filter by, and the last line of defence against secret values in them.

Secret values travel as ``SecretText``, which prints as ``***``. What is done here is for what that does not reach: the
messages of other libraries' exceptions, which quote what they were given, and their debug output, which prints requests
and responses. Knows nothing of what is logged.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import IO, Any, Literal

LogFormat = Literal["json", "text"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

CHATTY = {
    # These print requests and responses, secret values included, at DEBUG.
    **dict.fromkeys(("boto3", "botocore", "s3transfer", "kubernetes", "client", "aiohttp"), logging.INFO),
    # It tells of an end point that is set for each client.
    "botocore.configprovider": logging.WARNING,
    # Retries are its warnings; what they come to is told by whoever asked.
    "urllib3": logging.ERROR,
    "stamina": logging.ERROR,
    # It tells of each event and login, warns that it leaves signals to us, and tells twice of errors that it raises.
    "kopf": logging.WARNING,
    "kopf._core.reactor.running": logging.CRITICAL,
    "kopf._core.reactor.orchestration": logging.CRITICAL,
    "botocore.credentials": logging.WARNING,
    "asyncio": logging.INFO,
}

_fields: ContextVar[dict[str, str]] = ContextVar("log_fields", default={})  # noqa: B039 - never changed in place

LONGEST = 8192
"""Characters of one text that are logged; what is longer is cut at its end, before it is searched."""
FRAMES = 20

# None of these may take longer than the text is long (a search holds up every other thread), so nothing that repeats
# can start at each character of the same run. Each matches what is left of a credential that the cut has gone through.
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


def redact(text: str) -> str:
    """``text`` with ``***`` for what looks like a credential: passwords in SQL, JSON, URLs, headers, verifiers.

    No more than :data:`LONGEST` characters of it are kept.
    """
    if len(text) > LONGEST:
        text = text[: LONGEST - 1] + "…"
    return _SUSPECT.sub(lambda match: next(kept for kept in match.groups() if kept is not None) + "***", text)


def describe(error: BaseException) -> str:
    """What an exception may say in a log.

    The messages of our own errors hold no values. Those of other libraries may quote what they were given (a statement,
    a body, a value that would not parse), so of these only type, status and system error are told.
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
    """An exception with its causes and where each was raised: lines of code, no values of variables.

    Of each, the innermost :data:`FRAMES` calls are told.
    """
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
    """Put fields (``namespace``, ``name``, ``step``, …) on every line that is logged inside."""
    token = _fields.set({**_fields.get(), **fields})
    try:
        yield
    finally:
        _fields.reset(token)


def withhold_what_aws_is_sent() -> None:
    """At DEBUG, AWS's SDK prints requests and answers, secret values included: have it say less, whatever the level is.

    For whoever makes its clients, since not everybody who does has called :func:`configure`.
    """
    for library in ("boto3", "botocore", "urllib3"):
        logger = logging.getLogger(library)
        logger.setLevel(max(logger.level, logging.INFO))


def configure(log_format: LogFormat, level: LogLevel, stream: IO[str] | None = None) -> None:
    """Send everything that this process logs to ``stream`` (standard error), in one format."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, lowest in CHATTY.items():
        logging.getLogger(name).setLevel(max(lowest, root.level))
    logging.captureWarnings(True)


class _Formatter(logging.Formatter):
    """What both formats share: fields, messages and exceptions without values."""

    def fields(self, record: logging.LogRecord) -> dict[str, str]:
        # kopf's own loggers carry the object as `k8s_ref`.
        reference = getattr(record, "k8s_ref", None)
        object_fields = (
            {key: reference[key] for key in ("namespace", "name") if reference.get(key)} if reference else {}
        )
        return {**object_fields, **_fields.get()}

    def message(self, record: logging.LogRecord) -> str:
        args: Any = record.args
        if isinstance(args, tuple):
            args = tuple(_quoted(each) for each in args)
        text = str(_quoted(record.msg))
        return redact(text % args if args else text)

    def trace(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        return describe_with_trace(error) if error else ""

    def time(self, record: logging.LogRecord) -> str:
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _quoted(each: object) -> object:
    """What an argument of a message may say: our own errors are sentences, others' are kept to what is harmless."""
    if not isinstance(each, BaseException):
        return each
    return str(each) if _is_ours(each) else describe(each)


class JsonFormatter(_Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": self.message(record),
            **self.fields(record),
        }
        if trace := self.trace(record):
            line["exception"] = trace
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(_Formatter):
    """One line for a person, then the stack trace, if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        fields = self.fields(record)
        about_what = f"{fields['namespace']}/{fields['name']}: " if {"namespace", "name"} <= fields.keys() else ""
        step = f" [{fields['step']}]" if "step" in fields else ""
        # A message of several lines could pass for lines of the log's own.
        message = self.message(record).replace("\n", "\n    ")
        line = f"{self.time(record)} {record.levelname:<7} {about_what}{message}{step}"
        return "\n".join(filter(None, (line, self.trace(record))))
