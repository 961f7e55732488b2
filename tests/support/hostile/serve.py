"""The program that serves every combination: ``python -m tests.support.hostile.serve`` says where, as JSON.

One port for all databases and webhooks; the address that was connected to says which combination is meant. One port
for AWS. Each connection has a process of its own, which gets the CPU when nobody else wants it: an attacker has
machines of its own. Ends with its standard input.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socketserver
import ssl
import sys
import threading
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.hostile import aws, http
from tests.support.hostile.catalogue import CELLS
from tests.support.hostile.container import join
from tests.support.hostile.evil import do
from tests.support.hostile.stages import Cell, combination
from tests.support.hostile.wire import Wire

_MOST_CONNECTIONS = 2000
_BY_NUMBER = {cell.number: cell for cell in CELLS}
_OF_AWS = {cell.slug: cell for cell in CELLS if cell.engine == "aws"}


class _Server(socketserver.ForkingTCPServer):
    allow_reuse_address = True
    request_queue_size = 1024
    max_children = _MOST_CONNECTIONS
    block_on_close = False


class _Handler(socketserver.BaseRequestHandler):
    def __init__(
        self, reached: Path, tls: ssl.SSLContext, group: Path | None, backend: tuple[str, int] | None, *rest: object
    ) -> None:
        self._reached, self._tls, self._group, self._backend = reached, tls, group, backend
        super().__init__(*rest)  # type: ignore[arg-type]

    def handle(self) -> None:
        wire = Wire(self.request)
        with contextlib.suppress(OSError, ValueError), contextlib.closing(wire):
            cell = self._of_aws(wire) if self._backend else _BY_NUMBER.get(combination(self.request.getsockname()[0]))
            if cell is not None:
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
                if self._group is not None:
                    join(self._group, os.getpid())
                self._be_evil(wire, cell)

    def _be_evil(self, wire: Wire, cell: Cell) -> None:
        words = cell.stage.reach(wire, self._tls) or cell.stage.words
        with self._reached.open("a") as file:
            file.write(f"{cell}\n")
        do(cell.kind, wire, words, str(cell))

    def _of_aws(self, wire: Wire) -> Cell | None:
        assert self._backend
        head, body = http.request(wire)
        cell = aws.wanted(head, body, _OF_AWS)
        if cell is None:
            aws.pass_on(head, body, self._backend, wire)
        return cell


def _make_large_answers() -> None:
    """Those that take long to make and are remembered, before anybody is measured."""
    for stage in {cell.stage for cell in CELLS}:
        for made in (stage.words.deep, stage.words.wide):
            if made is not None:
                made()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--reached", type=Path, required=True, help="file that gets a line for each that was reached")
    parser.add_argument("--group", type=Path, help="cgroup that each connection's process joins")
    parser.add_argument("--aws", required=True, help="URL of the honest end point")
    given = parser.parse_args()
    _make_large_answers()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(given.certificate, given.key)
    honest = urlsplit(given.aws)
    backend = (honest.hostname or "", honest.port or 80)
    servers = [
        _Server(("0.0.0.0", 0), partial(_Handler, given.reached, tls, given.group, None)),
        _Server(("127.0.0.1", 0), partial(_Handler, given.reached, tls, given.group, backend)),
    ]
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(0.5,), daemon=True).start()
    sys.stdout.write(json.dumps([server.server_address[1] for server in servers]) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    os.killpg(0, 15)


if __name__ == "__main__":
    main()
