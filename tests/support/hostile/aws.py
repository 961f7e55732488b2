"""AWS's end point as a hostile one answers, for some secrets and roles; everything else goes on to the sandbox's.

Which combination is meant, the name of the secret or role says that a request is about.
"""

from __future__ import annotations

import json
import re
import socket
import ssl

from tests.support.hostile.evil import Words
from tests.support.hostile.http import ANSWERS, in_body
from tests.support.hostile.stages import Cell, Protocol, Reach, Stage
from tests.support.hostile.wire import Wire

ACTIONS = ("DescribeSecret", "GetSecretValue", "AssumeRole")
AHEAD, BACK = "dated-ahead", "dated-back"
"""A secret with one of these in its name has dates of next year, or of four hours ago."""
_SHIFTS = {AHEAD.encode(): 365 * 24 * 3600, BACK.encode(): -4 * 3600}
_DATE = re.compile(rb'(?<=Date": )[0-9]{10}')
_JSON = in_body(
    lambda text: json.dumps({"__type": text, "message": text}).encode(),
    lambda depth: b'{"Tags":' + b"[" * depth + b"]" * depth + b"}",
    lambda count: b'{"VersionIdsToStages":[' + b"{}," * count + b"{}]}",
)
_XML = in_body(
    lambda text: f"<ErrorResponse><Error><Code>{text}</Code><Message>{text}</Message></Error></ErrorResponse>".encode(),
    lambda depth: b"<a>" * depth + b"</a>" * depth,
    lambda count: b"<A>" + b"<a/>" * count + b"</A>",
)


def _before(before: bytes) -> Reach:
    def reach(wire: Wire, _: ssl.SSLContext) -> None:
        if before:
            wire.send(before)

    return reach


def _words(action: str, name: str, words: Words) -> Words:
    if name != "body":
        return words
    return _XML if action == "AssumeRole" else _JSON


AWS = Protocol(
    "aws",
    tuple(
        Stage(f"{action}: {name}", _before(before), _words(action, name, words))
        for action in ACTIONS
        for name, before, words in ANSWERS
    ),
)


def wanted(head: bytes, body: bytes, cells: dict[str, Cell]) -> Cell | None:
    """The combination that a request is for."""
    at = head.lower().find(b"x-amz-target:")
    asked = head[at:].partition(b"\r\n")[0] if at >= 0 else body
    return next(
        (
            cell
            for name, cell in cells.items()
            if name.encode() in body and cell.stage.name.partition(":")[0].encode() in asked
        ),
        None,
    )


def pass_on(head: bytes, body: bytes, backend: tuple[str, int], wire: Wire) -> None:
    """Have the honest one answer, and nothing after that on this connection."""
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    with socket.create_connection(backend, 30) as upstream:
        upstream.sendall(b"\r\n".join([*lines[:-2], b"Connection: close", b"", b""]) + body)
        answer = b"".join(iter(lambda: upstream.recv(65536), b""))
    if shift := next((shift for name, shift in _SHIFTS.items() if name in body), 0):
        answer = _DATE.sub(lambda date: b"%d" % (int(date[0]) + shift), answer)
    # Said too: else the client may send its next request before it notices.
    wire.send(answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
