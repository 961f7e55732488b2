"""One cell as the operator sees it: call methods of the object in it, and learn how it ended."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from rotated_secrets.cells.limits import CPU, CROWDED, LET_GO, MEMORY, MIB, OUTPUT, TIME, UNCONFINED, CellLimits
from rotated_secrets.cells.wire import Closed, TooLarge, pickled, receive, send

T = TypeVar("T")

MOST_ANSWER = MIB
"""Bytes of an answer, where a call does not say otherwise."""
MOST_PARTS = 20_000
"""Most elements of an answer, as far as they are seen without parsing: in a megabyte there may be half a million, each
of which takes some hundred bytes once it is parsed and found wrong."""
REPORT_SECONDS = 2.0
"""How long the zygote may take to report how a cell ended."""
_SENDING_SECONDS = 5.0
_LONGEST_MESSAGE = 4000
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}")
_PLACE = re.compile(r"[A-Za-z0-9_./-]{1,120}:[0-9]{1,7}")


class CellFailed(Exception):
    """A cell has ended, or gave no sensible answer. The message completes a sentence about what ran in it."""

    def __init__(self, message: str, outcome: str) -> None:
        super().__init__(message)
        self.outcome = outcome
        """One of a few words, for metrics."""


class Cell:
    """A child process with one object in it. For one thread at a time; close it."""

    def __init__(
        self,
        wire: socket.socket,
        report: socket.socket,
        limits: CellLimits,
        declared: tuple[type[Exception], ...],
        ended: Callable[[str, int], None],
    ) -> None:
        """``declared``: the errors that its object raises; ``ended`` gets the outcome and bytes of output, once."""
        self._wire = wire
        self._report = report
        self._limits = limits
        self._declared: Mapping[str, type[Exception]] = {kind.__name__: kind for kind in declared}
        self._ended = ended
        self._is_open = True

    @property
    def is_open(self) -> bool:
        """Whether it was neither closed nor found dead."""
        return self._is_open

    def send(self, work: object) -> None:
        """Send the object whose methods are called. Raises: CellFailed."""
        self._send((work, tuple(self._declared.values())), _SENDING_SECONDS)

    def call(
        self,
        method: str,
        *arguments: object,
        returns: type[T],
        within: float,
        most: int = MOST_ANSWER,
        one_line: bool = True,
    ) -> T:
        """Call a method of the object.

        Args:
            method: its name.
            arguments: of the method; they can be pickled.
            returns: the type to which the answer is held.
            within: seconds that it may take.
            most: bytes that the answer may have.
            one_line: whether each text of the answer is made one line: it may go into logs and conditions.

        Raises:
            CellFailed: there is no answer, and the cell has ended; or the method raised what is not declared.
            Exception: one of the declared errors, as the method raised it.
        """
        deadline = time.monotonic() + within
        self._send((method, arguments), within)
        try:
            answer = json_object(receive(self._wire, most, deadline))
        except Closed:
            raise self._died() from None
        except TimeoutError:
            raise self._end(f"did not end within {within:g} s", TIME) from None
        except (TooLarge, ValueError, RecursionError):
            raise self._end("returned more than it can, or something that is no answer", "nonsense") from None
        return self._understood(answer, returns, plain_texts if one_line else lambda value: value)

    def close(self) -> None:
        """Let it go: it closes its connections, and the zygote ends it where it does not."""
        self._finish("ok", 0)

    def _send(self, request: object, within: float) -> None:
        if not self._is_open:
            raise CellFailed("has ended before", "ended")
        content = pickled(request)
        try:
            self._wire.settimeout(within)
            send(self._wire, content)
        except TimeoutError:
            raise self._end(f"took nothing within {within:g} s", TIME) from None
        except (Closed, OSError):
            raise self._died() from None

    def _understood(self, answer: Mapping[str, Any], returns: type[T], cleaned: Callable[[Any], Any]) -> T:
        if (name := answer.get("raised")) in self._declared:
            raise self._declared[str(name)](plain(str(answer.get("message"))))
        if "failed" in answer:
            if answer["failed"] == MEMORY:
                raise self._end(self._words(MEMORY), MEMORY)
            name, place = str(answer["failed"]), str(answer.get("at"))
            where = f" at {place}" if _PLACE.fullmatch(place) else ""
            what = f" ({name}{where})" if _NAME.fullmatch(name) else ""
            raise CellFailed(f"failed{what}", "error")
        try:
            adapter: TypeAdapter[T] = _ADAPTERS(returns)
            found = adapter.validate_python(cleaned(answer["value"]))
        except (KeyError, ValidationError, RecursionError):
            raise self._end("returned something that is no answer", "nonsense") from None
        return found

    def _words(self, reason: str) -> str:
        return {
            MEMORY: f"needed more than {self._limits.memory // MIB} MiB of memory",
            CROWDED: "was ended, because all child processes together needed more memory than --cells-memory",
            CPU: f"used {self._limits.cpu_seconds} s of CPU time without an end",
            TIME: f"did not end within {self._limits.wall_seconds:g} s",
            OUTPUT: f"printed more than {self._limits.output // 1024} KiB",
            UNCONFINED: "could not be started: the kernel refused its limits",
        }.get(reason, "crashed")

    def _died(self) -> CellFailed:
        """Find out how it ended."""
        reason, code, output = "", 0, 0
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            self._report.settimeout(REPORT_SECONDS)
            report = json.loads(self._report.recv(4096))
            reason, code, output = str(report["reason"]), int(report["code"]), int(report["output"])
        if reason == LET_GO or (not reason and code == 0):
            self._finish("ended", output)
            return CellFailed("was ended, because the operator's helper process ended", "ended")
        self._finish(reason or "crash", output)
        return CellFailed(self._words(reason), reason or "crash")

    def _end(self, message: str, outcome: str) -> CellFailed:
        self._finish(outcome, 0)
        return CellFailed(message, outcome)

    def _finish(self, outcome: str, output: int) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._wire.close()
        self._report.close()
        self._ended(outcome, output)


def plain(text: str) -> str:
    """One line of text of bounded length: what a cell says goes into logs and conditions."""
    return _CONTROL_CHARACTERS.sub(" ", text[:_LONGEST_MESSAGE])


def plain_texts(value: Any) -> Any:
    """A value of JSON with each of its texts made :func:`plain`."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, list):
        return [plain_texts(each) for each in value]
    if isinstance(value, dict):
        return {plain(key): plain_texts(each) for key, each in value.items()}
    return value


def json_object(text: bytes) -> Mapping[str, Any]:
    """Raises: ValueError, RecursionError."""
    if sum(text.count(sign) for sign in (b"[", b"{", b",")) > MOST_PARTS:
        raise ValueError("too many elements")
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    return found


_ADAPTERS: Callable[[Any], TypeAdapter[Any]] = lru_cache(maxsize=64)(TypeAdapter)
