"""AWS Secrets Manager for demo and tests: moto behind a loopback port, as a process of its own.

``python -m sandbox.secretsmanager --port N`` runs it by hand; :func:`secrets_manager` runs it for the length of a
``with``. Must not import moto into the calling process.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import boto3
import botocore.session
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient
    from mypy_boto3_redshift import RedshiftClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sts import STSClient

Service = Literal["secretsmanager", "sts", "rds", "redshift", "iam"]

ROOT = Path(__file__).resolve().parents[1]
STOP_SECONDS = 10
_accounts = itertools.count(100_000_000_000)


@functools.cache
def _session() -> boto3.session.Session:
    """One for all clients: reading the services' models takes longer than most tests."""
    return boto3.session.Session()


@functools.lru_cache(maxsize=64)
def _client(store: SecretsManager, service: str, region: str) -> Any:
    return _session().client(
        service,  # type: ignore[call-overload]
        endpoint_url=store.endpoint_url,
        region_name=region,
        aws_access_key_id=store.access_key_id,
        aws_secret_access_key=store.secret_access_key,
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30),
    )


@dataclass(frozen=True)
class SecretsManager:
    """Where the sandbox's Secrets Manager answers, and as whom one asks it."""

    endpoint_url: str
    region: str = "eu-west-1"
    access_key_id: str = "123456789012"
    """Twelve digits are an account of that number, so that each test can have one to itself."""
    secret_access_key: str = field(default="sandbox", repr=False)

    @overload
    def client(
        self, service: Literal["secretsmanager"] = "secretsmanager", region: str | None = None
    ) -> SecretsManagerClient: ...
    @overload
    def client(self, service: Literal["sts"], region: str | None = None) -> STSClient: ...
    @overload
    def client(self, service: Literal["iam"], region: str | None = None) -> Any: ...
    @overload
    def client(self, service: Literal["rds"], region: str | None = None) -> RDSClient: ...
    @overload
    def client(self, service: Literal["redshift"], region: str | None = None) -> RedshiftClient: ...
    def client(self, service: Service = "secretsmanager", region: str | None = None) -> Any:
        """A boto3 client that asks once: a test wants to see the first error."""
        return _client(self, service, region or self.region)

    def session(self, region: str | None = None) -> boto3.session.Session:
        """A new session with the keys of this account. It does not read the services' models a second time."""
        made = botocore.session.Session()
        session = boto3.session.Session(self.access_key_id, self.secret_access_key, None, region, made)
        made.register_component("data_loader", _session()._session.get_component("data_loader"))
        return session

    def empty_account(self) -> SecretsManager:
        """The same server as an account that nobody has used yet."""
        return replace(self, access_key_id=str(next(_accounts)))

    def environment(self) -> dict[str, str]:
        """The variables by which an AWS SDK in another process finds this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
        }


@contextmanager
def secrets_manager() -> Iterator[SecretsManager]:
    """A Secrets Manager of its own on a free port; it ends with the ``with``, or when this process is killed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOTO_"))}
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox.secretsmanager", "--port", "0", "--until-stdin-closes"],
        cwd=ROOT,
        env=inherited,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a person's Ctrl-C is for who started it, who ends it in good order
    ) as server:
        try:
            assert server.stdin and server.stdout
            endpoint_url = server.stdout.readline().strip()
            if not endpoint_url:
                raise RuntimeError(f"the sandbox's Secrets Manager did not start: exit code {server.wait()}")
            yield SecretsManager(endpoint_url)
        finally:
            assert server.stdin
            server.stdin.close()
            try:
                server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()


def main() -> None:
    """Run the server and say where it listens."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.secretsmanager", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="loopback port to listen on; 0 takes a free one")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when standard input ends")
    arguments = parser.parse_args()

    from sandbox.secretsmanager_server import serve  # noqa: PLC0415  moto belongs in this process alone

    with socket.create_server(("127.0.0.1", arguments.port)) as listening, suppress(KeyboardInterrupt):
        asyncio.run(serve(listening, until_stdin_closes=arguments.until_stdin_closes))


if __name__ == "__main__":
    main()
