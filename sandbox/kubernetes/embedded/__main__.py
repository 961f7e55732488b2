"""`python -m sandbox.kubernetes.embedded --port 0 --kubeconfig FILE`: the file is written once the server listens."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import signal
from pathlib import Path
from typing import Any

from aiohttp import web

from sandbox.kubernetes.certificates import Authority
from sandbox.kubernetes.embedded.server import Server
from sandbox.kubernetes.kubeconfig import write_kubeconfig

_LARGEST_BODY = 3 << 20  # kube-apiserver's limit for requests


async def serve(port: int, kubeconfig: Path, audit_log: Path | None) -> None:
    authority, token = Authority.create("embedded"), secrets.token_urlsafe(24)
    stopped = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stopped.set)
    log = audit_log.open("a", buffering=1) if audit_log else None
    loop = asyncio.get_running_loop()

    def request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_LARGEST_BODY)

    server = web.Server(Server(token, log).handle, request_factory=request, handler_cancellation=True)
    runner = web.ServerRunner(server, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(
        runner, "127.0.0.1", port, ssl_context=authority.issue("embedded", ["127.0.0.1"]).server_context()
    ).start()
    address = f"https://127.0.0.1:{runner.addresses[0][1]}"
    write_kubeconfig(kubeconfig, address, authority.certificate, {"token": token})
    await stopped.wait()
    await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 for a free one")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--audit-log", type=Path, help="gets a line for each request of a ServiceAccount")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.kubeconfig, arguments.audit_log))


if __name__ == "__main__":
    main()
