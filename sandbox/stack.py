"""Everything that an operator works with, up and running: Secrets Manager, a database, a Kubernetes with our CRD.

The operator reaches store and database through proxies, which count its calls; everybody else goes there directly.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from sandbox.applications.base import DatabaseSide
from sandbox.applications.engines import running_side
from sandbox.applications.postgres import PostgresSide
from sandbox.database_proxy import DatabaseProxy, database_proxy
from sandbox.kubernetes.client import Api
from sandbox.kubernetes.provider import Cluster
from sandbox.postgres import PostgresServer
from sandbox.prefork import Prefork
from sandbox.secretsmanager import SecretsManager, secrets_manager
from sandbox.store_proxy import StoreProxy, store_proxy
from sandbox.tls import CertificateAuthority
from sandbox.waiting import eventually

ROOT = Path(__file__).resolve().parents[1]
CRD = ROOT / "crds" / "rotatedsecrets.yaml"
CRD_NAME = "rotatedsecrets.rotatedsecrets.io"
LOOPBACK = "127.0.0.0/8"


@dataclass(frozen=True)
class Stack:
    """The running parts. `store` and `side` are where people and applications go; the operator has the proxies."""

    cluster: Cluster
    api: Api
    store: SecretsManager
    store_proxy: StoreProxy
    authority: CertificateAuthority
    """Signed the certificates of all its databases."""
    side: DatabaseSide
    database_proxy: DatabaseProxy
    directory: Path
    """For logs and files; gone at the end."""
    interpreter: Prefork | None = None
    """Its operators are forks of this one. None: they start as a user starts one."""

    @property
    def database(self) -> PostgresServer:
        """The server itself, for what is about PostgreSQL alone."""
        assert isinstance(self.side, PostgresSide), f"the database of this stack is of engine {self.side.engine}"
        return self.side.server

    @property
    def ca_file(self) -> Path:
        """The certificate of its authority."""
        return self.directory / "database-ca.pem"

    def operator_flags(self) -> list[str]:
        """By which an operator finds all of it; what its identity at AWS is, the environment says."""
        flags = ["--aws-endpoint-url", self.store_proxy.endpoint_url, "--aws-region", self.store.region]
        return [*flags, "--allowed-networks", LOOPBACK, "--database-ca-file", str(self.ca_file)]


@contextmanager
def running_stack(cluster: Cluster, engine: str = "postgres", *, with_crd: bool = True) -> Iterator[Stack]:
    """The rest of the stack beside a running cluster; all but the cluster is gone at the end.

    The cluster gets the CRD, unless that is left to Helm.

    Raises: ServerMissing, where no server of the engine is to be had.
    """
    with ExitStack() as parts:
        authority = CertificateAuthority.create()
        side = parts.enter_context(running_side(engine, authority))
        in_front_of_database = parts.enter_context(database_proxy(side.host, side.port))
        directory = Path(parts.enter_context(TemporaryDirectory(prefix="sandbox-")))
        store = parts.enter_context(secrets_manager())
        in_front_of_store = parts.enter_context(store_proxy(store.endpoint_url))
        if with_crd:
            install_crd(cluster)
        api = cluster.api()
        stack = Stack(cluster, api, store, in_front_of_store, authority, side, in_front_of_database, directory)
        stack.ca_file.write_text(authority.certificate)
        yield stack


@contextmanager
def with_database(stack: Stack, engine: str) -> Iterator[Stack]:
    """The same stack with another database, gone at the end; operators that run already can reach it.

    Raises: ServerMissing, where no server of the engine is to be had.
    """
    with running_side(engine, stack.authority) as side, database_proxy(side.host, side.port) as proxy:
        yield replace(stack, side=side, database_proxy=proxy)


def install_crd(cluster: Cluster) -> None:
    """Apply the CRD, and wait until the API server serves it. Also where another way has applied it before."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD))
    # Not by kubectl wait: it fails on a CRD that has no conditions yet, and so does this, which is asked again.
    state = "jsonpath={.status.conditions[?(@.type=='Established')].status}"
    established = partial(cluster.kubectl, "get", "crd", CRD_NAME, "-o", state, check=False)
    eventually(lambda: established().stdout == "True", f"CRD {CRD_NAME} is established", seconds=60)
