"""Operator processes on a real API, and the RotatedSecrets that they look at."""

from __future__ import annotations

import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from rotated_secrets.api.names import (
    API_VERSION,
    KIND,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    OWNER_ANNOTATION,
    PLURAL,
)
from sandbox.kubernetes.client import Api, Json
from sandbox.kubernetes.provider import Cluster
from sandbox.prefork import Prefork
from sandbox.stack import install_crd

ROOT = Path(__file__).parents[3]
PATIENCE = 20.0
DOUBLE = "tests.support.operator_double"


class Process:
    """One operator process and what it has said, line by line, with the time it was read."""

    def __init__(self, interpreter: Prefork, environment: dict[str, str], **settings: object) -> None:
        self.lines: list[tuple[float, str]] = []
        self._said = threading.Condition()
        with TemporaryDirectory() as directory:
            output = Path(directory, "output")
            os.mkfifo(output)
            arguments = [f"{name}={value}" for name, value in settings.items()]
            self._process = interpreter.start(arguments, {**os.environ, **environment}, output, module=DOUBLE)
            self._output = output.open()  # which waits until the other side has opened it, too
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._output:
            with self._said:
                self.lines.append((time.monotonic(), line.rstrip()))
                self._said.notify_all()
        with self._said:
            self._said.notify_all()

    def find(self, pattern: str, *, after: float = 0.0) -> tuple[float, re.Match[str]] | None:
        """The first line said after a time that holds the pattern, and when it was said."""
        return next(
            ((at, found) for at, line in list(self.lines) if at >= after and (found := re.search(pattern, line))), None
        )

    def wait_for(self, pattern: str, *, after: float = 0.0, timeout: float = PATIENCE) -> tuple[float, re.Match[str]]:
        with self._said:
            found = self._said.wait_for(
                lambda: self.find(pattern, after=after) or not self._reader.is_alive(), timeout
            ) and self.find(pattern, after=after)
        assert found, f"no line with {pattern!r}:\n{self.text}"
        return found

    @property
    def text(self) -> str:
        return "\n".join(line for _, line in self.lines)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        code = self._process.wait(timeout)
        self._reader.join(timeout)
        return code

    def get(self, path: str) -> tuple[int, str]:
        """What the probes' port answers."""
        _, found = self.wait_for(r"served on port (\d+)")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._output.close()


Start = Callable[..., Process]


@contextmanager
def operators(cluster: Cluster, namespace: str, interpreter: Prefork) -> Iterator[Start]:
    """Starts operators whose Lease is in one namespace; every one is gone at the end."""
    with ExitStack() as running:

        def start(environment: dict[str, str] | None = None, **settings: object) -> Process:
            defaults: dict[str, object] = {
                "kubeconfig": cluster.kubeconfig,
                "lease_namespace": namespace,
                "aws_region": "eu-west-1",
                "probe_host": "127.0.0.1",
                "probe_port": 0,
                "log_format": "text",
                "retry_period": 0.5,
            }
            process = Process(interpreter, environment or {}, **(defaults | settings))
            running.callback(process.close)
            return process

        yield start


@pytest.fixture(scope="package")
def crd(cluster: Cluster) -> None:
    install_crd(cluster)


@pytest.fixture
def start(crd: None, cluster: Cluster, namespace: str, interpreter: Prefork) -> Iterator[Start]:
    """Starts operators that serve this test's namespace."""
    with operators(cluster, namespace, interpreter) as start:
        yield partial(start, namespaces=namespace)


class Objects:
    """RotatedSecrets and target Secrets of one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        self._resources = f"/apis/{API_VERSION}/namespaces/{namespace}/{PLURAL}"
        self._secrets = f"/api/v1/namespaces/{namespace}/secrets"
        self._leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"

    def make(self, name: str, secret_id: str | None = None) -> Json:
        source = {"secretId": secret_id or f"{self.namespace}/{name}", "region": "eu-west-1"}
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name},
            "spec": {"source": source, "rotation": {"strategy": "AlternatingUsers"}},
        }
        return self.api.create(self._resources, body)

    def read(self, name: str) -> Json:
        return self.api.get(f"{self._resources}/{name}")

    def patch(self, name: str, body: Json) -> None:
        self.api.patch(f"{self._resources}/{name}", body)

    def patch_status(self, name: str, body: Json) -> None:
        self.api.patch(f"{self._resources}/{name}/status", {"status": body})

    def delete(self, name: str) -> None:
        self.api.delete(f"{self._resources}/{name}")

    def make_target(self, name: str, owner: str) -> None:
        metadata = {
            "name": name,
            "labels": {MANAGED_BY_LABEL: MANAGED_BY},
            "annotations": {OWNER_ANNOTATION: owner},
        }
        self.api.create(self._secrets, {"metadata": metadata, "stringData": {"password": "as delivered"}})

    def make_secret(self, name: str, texts: dict[str, str]) -> None:
        self.api.create(self._secrets, {"metadata": {"name": name}, "stringData": texts})

    def patch_target(self, name: str, body: Json) -> None:
        self.api.patch(f"{self._secrets}/{name}", body)

    def delete_target(self, name: str) -> None:
        self.api.delete(f"{self._secrets}/{name}")

    def lease_holder(self) -> str:
        holder: str = self.api.get(f"{self._leases}/rotated-secrets")["spec"]["holderIdentity"]
        return holder

    def give_lease_to(self, holder: str) -> None:
        self.api.patch(f"{self._leases}/rotated-secrets", {"spec": {"holderIdentity": holder}})

    def events(self) -> list[Json]:
        found: list[Json] = self.api.get(f"/api/v1/namespaces/{self.namespace}/events")["items"]
        return found


@pytest.fixture
def objects(crd: None, api: Api, namespace: str) -> Objects:
    return Objects(api, namespace)
