"""The HTTP side of the sandbox's Secrets Manager: moto's handlers behind one asyncio loop.

One loop, so that two operators' calls never interleave inside moto, which takes no locks of its own. Secrets Manager's
operations go straight to moto's handlers; roles are taken on by this sandbox's own STS; the rest of AWS that moto knows
goes through moto's own application.
Runs in a process of its own: importing moto takes two seconds and patches what it likes.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import socket
import sys
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.utils import camelcase_to_underscores
from moto.secretsmanager.exceptions import SecretsManagerClientError
from moto.secretsmanager.responses import SecretsManagerResponse
from werkzeug.test import Client

from sandbox.secretsmanager_corrections import DocumentedSecretsManager, install
from sandbox.secretsmanager_sessions import ASSUMING, Refusal, Sessions

SCOPE = re.compile(r"Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/")
ACCOUNT = re.compile(r"\d{12}")
MAX_BODY = 1 << 20
KEEP_ALIVE_SECONDS = 3600
"""Longer than any test: a pooled connection that the server closes looks like a fault that nobody asked for."""


class Operations(SecretsManagerResponse):
    """moto's handlers, given the JSON body as it is: moto's own way there costs most of a request's time."""

    def __init__(self, account: str, region: str, parameters: dict[str, Any]) -> None:
        super().__init__()
        self.current_account = account
        self.region = region
        self.parameters = parameters

    def _get_param(self, param_name: str, if_none: Any = None) -> Any:
        return self.parameters.get(param_name, if_none)

    def list_secret_version_ids(self) -> str:
        """moto's handler drops all parameters but the secret."""
        backend = self.backend
        assert isinstance(backend, DocumentedSecretsManager)
        return json.dumps(
            backend.list_versions(
                self._get_param("SecretId"),
                self._get_param("IncludeDeprecated", False),
                self._get_param("MaxResults"),
                self._get_param("NextToken"),
            )
        )


def account_of(access_key: str) -> str:
    """An access key of twelve digits is an account of its own; every other belongs to moto's default account."""
    return access_key if ACCOUNT.fullmatch(access_key) else DEFAULT_ACCOUNT_ID


def call(account: str, region: str, operation: str, body: bytes) -> tuple[int, str]:
    """One Secrets Manager operation: its HTTP status and JSON."""
    handler = getattr(Operations(account, region, json.loads(body or b"{}")), camelcase_to_underscores(operation), None)
    if handler is None:
        return 400, json.dumps({"__type": "UnknownOperationException", "message": f"{operation} is not known"})
    try:
        return 200, handler()
    except SecretsManagerClientError as error:
        # Every error of the API is a 400, absence too. Source: "Errors", GetSecretValue.
        return 400, str(error.description)


@functools.cache
def rest_of_aws() -> Client:
    """moto's own application, which few need and which takes a third of the start."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415

    from sandbox import secretsmanager_instances  # noqa: PLC0415

    secretsmanager_instances.install()
    return Client(DomainDispatcherApplication(create_backend_app))


def application() -> web.Application:
    """Answers every request that an AWS client sends to this endpoint."""
    install()
    sessions = Sessions()

    async def answer(request: web.Request) -> web.Response:
        scope = SCOPE.search(request.headers.get("Authorization", ""))
        body = await request.read()
        target, _, operation = request.headers.get("X-Amz-Target", "").partition(".")
        form = {} if target else dict(parse_qsl(body.decode(errors="replace")))
        try:
            session = sessions.of(scope["key"], request.headers.get("X-Amz-Security-Token")) if scope else None
            # Nobody needs a right to ask who they are. Source: GetCallerIdentity, AWS STS.
            if session and scope and form.get("Action") != "GetCallerIdentity":
                session.check_may(scope["service"], operation or form.get("Action", ""))
            account = session.account if session else account_of(scope["key"]) if scope else None
            if form.get("Action") in ASSUMING:
                return web.Response(text=sessions.assume(form, account), content_type="text/xml")
            if form.get("Action") == "GetCallerIdentity" and account:
                return web.Response(text=sessions.who(account), content_type="text/xml")
        except Refusal as no:
            kind = "application/x-amz-json-1.1" if target else "text/xml"
            return web.Response(status=no.status, text=no.json if target else no.xml, content_type=kind)
        if scope and account and target == "secretsmanager":
            status, text = call(account, scope["region"], operation, body)
            return web.Response(status=status, text=text, content_type="application/x-amz-json-1.1")
        headers = [(name, value) for name, value in request.headers.items() if name.lower() != "content-length"]
        if account:
            headers.append(("x-moto-account-id", account))
        answered = rest_of_aws().open(request.path_qs, method=request.method, headers=headers, data=body)
        return web.Response(status=answered.status_code, body=answered.data, content_type=answered.mimetype)

    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_route("*", "/{path:.*}", answer)
    return app


async def serve(listening: socket.socket, *, until_stdin_closes: bool) -> None:
    """Serve until cancelled or, for a server that lives as long as its parent, until standard input ends."""
    runner = web.AppRunner(application(), access_log=None, keepalive_timeout=KEEP_ALIVE_SECONDS, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        host, port = listening.getsockname()
        print(f"http://{host}:{port}", flush=True)
        if until_stdin_closes:
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        else:
            await asyncio.Event().wait()
    finally:
        await runner.cleanup()
