"""What runs in a cell: it receives an object, calls methods of it as it is asked to, and answers as JSON.

An answer holds no text of an exception but of those that are declared: others quote values.
"""

from __future__ import annotations

import contextlib
import json
import socket
import traceback
from collections.abc import Collection
from typing import Any

from pydantic_core import to_json

from rotated_secrets.cells.limits import MEMORY
from rotated_secrets.cells.wire import MOST_REQUEST, Closed, receive, send, unpickled

_LONGEST_MESSAGE = 4000


def serve(wire: socket.socket) -> None:
    """Answer requests until the operator closes its side; then close the object."""
    wire.settimeout(None)
    work: Any = None
    declared: Collection[type[Exception]] = ()
    try:
        work, declared = unpickled(receive(wire, MOST_REQUEST))
        while True:
            method, arguments = unpickled(receive(wire, MOST_REQUEST))
            send(wire, _answer(work, method, arguments, declared))
    except Closed:
        if (close := getattr(work, "close", None)) is not None:
            close()


def _answer(work: Any, method: str, arguments: tuple[Any, ...], declared: Collection[type[Exception]]) -> bytes:
    try:
        return b'{"value":' + to_json(getattr(work, method)(*arguments)) + b"}"
    except MemoryError:
        return json.dumps({"failed": MEMORY}).encode()
    except tuple(declared) as error:
        kind = next(known for known in type(error).__mro__ if known in declared)
        return json.dumps({"raised": kind.__name__, "message": str(error)[:_LONGEST_MESSAGE]}).encode()
    except Exception as error:  # noqa: BLE001 - the operator reports it, as it does a crash
        return json.dumps({"failed": type(error).__name__, "at": _place(error)}).encode()


def _place(error: Exception) -> str:
    """File and line where it was raised, without anything that the message or the frames hold."""
    frames: list[traceback.FrameSummary] = []
    with contextlib.suppress(Exception):
        frames = traceback.extract_tb(error.__traceback__, limit=-1)
    if not frames:
        return ""
    name = "/".join(frames[-1].filename.rsplit("/", 2)[-2:])
    return f"{name}:{frames[-1].lineno}"
