"""Everything that an operator works with, up and running: Secrets Manager, PostgreSQL, a Kubernetes with our CRD.

The operator reaches store and database through proxies, which count its calls; everybody else goes there directly.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sandbox.kubernetes.client import Api
from sandbox.kubernetes.provider import Cluster, Rule
from sandbox.postgres import PostgresServer, postgres_server
from sandbox.proxy import DatabaseProxy, StoreProxy, database_proxy, store_proxy
from sandbox.secretsmanager import SecretsManager, secrets_manager

ROOT = Path(__file__).resolve().parents[1]
CRD = ROOT / "crds" / "rotatedsecrets.yaml"
CRD_NAME = "rotatedsecrets.rotatedsecrets.io"
LOOPBACK = "127.0.0.0/8"

OPERATOR_RULES: tuple[Rule, ...] = (
    {"apiGroups": ["rotatedsecrets.io"], "resources": ["rotatedsecrets"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["rotatedsecrets.io"], "resources": ["rotatedsecrets/status"], "verbs": ["patch"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch", "create", "update"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
)
"""All that the operator may do. A real control plane enforces it, so whatever is not here fails there."""


@dataclass(frozen=True)
class Stack:
    """The running parts. `store` and `database` are where people and applications go; the operator has the proxies."""

    cluster: Cluster
    api: Api
    store: SecretsManager
    store_proxy: StoreProxy
    database: PostgresServer
    database_proxy: DatabaseProxy
    directory: Path
    """For logs and files; gone at the end."""

    def operator_flags(self) -> list[str]:
        """By which an operator finds all of it; what its identity at AWS is, the environment says."""
        flags = ["--aws-endpoint-url", self.store_proxy.endpoint_url, "--aws-region", self.store.region]
        flags += ["--allowed-networks", LOOPBACK]
        if self.database.ca_file is not None:
            ca_file = self.directory / "database-ca.pem"
            ca_file.write_text(self.database.ca_pem or "")
            flags += ["--database-ca-file", str(ca_file)]
        return flags


@contextmanager
def running_stack(cluster: Cluster) -> Iterator[Stack]:
    """The rest of the stack beside a running cluster, which gets the CRD; all but the cluster is gone at the end."""
    with ExitStack() as parts:
        directory = Path(parts.enter_context(TemporaryDirectory(prefix="sandbox-")))
        store = parts.enter_context(secrets_manager())
        database = parts.enter_context(postgres_server())
        in_front_of_store = parts.enter_context(store_proxy(store.endpoint_url))
        in_front_of_database = parts.enter_context(database_proxy(database.host, database.port))
        install_crd(cluster)
        yield Stack(cluster, cluster.api(), store, in_front_of_store, database, in_front_of_database, directory)


def install_crd(cluster: Cluster) -> None:
    """Apply the CRD, and wait until the API server serves it."""
    cluster.kubectl("apply", "--server-side", "-f", str(CRD))
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{CRD_NAME}", "--timeout=20s")
