"""A man in the middle: passes on what client and server say, until at one moment it does evil instead of answering.

``python -m tests.support.hostile.between`` reads its posts from the first line of its input and says on which port it
is, as JSON. The address that was connected to says which post is meant. What a client says there has reached the server
and was answered: only the answer is lost. Ends with its standard input.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import select
import socket
import socketserver
import sys
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support.hostile import mongo
from tests.support.hostile.catalogue import PROTOCOLS
from tests.support.hostile.evil import Kind, Words, do
from tests.support.hostile.wire import Wire

USER = "mitm_{}"
"""Names of the applications' users; their admins and clones are named after them."""
_NAMED = re.compile(rb"(admin_)?mitm_\d+(_clone)?")
_AT_LOGIN = {"postgres": "start", "mysql": "login", "mariadb": "login", "redis": "login"}
_LATER = {"postgres": "result", "mysql": "result", "mariadb": "result", "redis": "session"}
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Post:
    """Where one man in the middle stands, and when he does what."""

    address: str
    host: str
    port: int
    """Of the real server."""
    engine: str
    user: str
    """On whose connections: the application's, the admin's, the clone's."""
    turn: int
    """Instead of the answer to the n-th thing that the client says, or the first that names the user."""
    kind: str

    def words(self, said: bytes) -> Words:
        """What can be said in answer to this."""
        if self.engine == "mongo":
            return mongo.answers(said)
        name = (_AT_LOGIN if self.turn == 1 else _LATER)[self.engine]
        return next(
            stage.words
            for protocol in PROTOCOLS
            for stage in protocol.stages
            if (protocol.engine, stage.name) == (self.engine, name)
        )


def whose(said: bytes) -> str:
    """The user that is named first; empty where none is."""
    found = _NAMED.search(said)
    return found[0].decode() if found else ""


class _Server(socketserver.ForkingTCPServer):
    allow_reuse_address = True
    request_queue_size = 1024
    max_children = 2000
    block_on_close = False


class _Handler(socketserver.BaseRequestHandler):
    request: socket.socket

    def __init__(self, posts: dict[str, Post], reached: Path, honest: Path, *rest: object) -> None:
        self._posts, self._reached, self._honest = posts, reached, honest
        super().__init__(*rest)  # type: ignore[arg-type]

    def handle(self) -> None:
        post = self._posts[self.request.getsockname()[0]]
        with contextlib.suppress(OSError, ValueError), socket.create_connection((post.host, post.port)) as server:
            for end in (server, self.request):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            said = self._relay(post, server)
            if said is not None:
                os.nice(19)
                with self._reached.open("a") as file:
                    file.write(f"{post.address}\n")
                do(Kind(post.kind), Wire(self.request), post.words(said), post.address)

    def _relay(self, post: Post, server: socket.socket) -> bytes | None:
        """Pass on, until an answer is due that is not to be given: returns what the client had said."""
        turn, user, said, asked = 0, "", b"", False
        while True:
            readable, _, _ = select.select((self.request, server), (), ())
            if self.request in readable:
                data = self.request.recv(_CHUNK)
                if not data:
                    return None
                if not asked:
                    turn, said, asked = turn + 1, b"", True
                said += data
                user = user or whose(data)
                server.sendall(data)
            if server in readable:
                data = server.recv(_CHUNK)
                if not data:
                    return None
                if asked and user == post.user and turn >= post.turn and not self._honest.exists():
                    return said
                asked = False
                self.request.sendall(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reached", type=Path, required=True, help="file that gets the address of each that did evil")
    parser.add_argument("--honest", type=Path, required=True, help="file that makes all of them honest, once it exists")
    given = parser.parse_args()
    posts = {each["address"]: Post(**each) for each in json.loads(sys.stdin.readline())}
    server = _Server(("0.0.0.0", 0), partial(_Handler, posts, given.reached, given.honest))
    threading.Thread(target=server.serve_forever, args=(0.5,), daemon=True).start()
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os.killpg(0, 15)


if __name__ == "__main__":
    main()
