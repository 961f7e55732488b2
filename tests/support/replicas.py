"""The operator as a Deployment runs it: replicas, of which one leads. Each reaches everything by proxies of its own."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from sandbox.apiserver_proxy import ApiServerProxy, apiserver_proxy
from sandbox.kubernetes.client import Json, StatusError
from sandbox.operatorprocess import OperatorProcess
from sandbox.proxy import Call
from sandbox.stack import Stack
from sandbox.store_proxy import StoreProxy, store_proxy
from sandbox.waiting import eventually
from tests.support.applied import WRITES

LEASE = "rotated-secrets"
LEASE_SECONDS, RENEW_SECONDS, RETRY_SECONDS = 5.0, 4.0, 0.25
"""A third of what they are by default, so that less time passes in waiting."""
FREED_SECONDS = 15.0
"""What a rotation may lose beside the Lease: by then the server has ended whatever a frozen operator left open."""
PATIENCE = 120.0
_FLAGS = (
    f"--lease-duration={LEASE_SECONDS}s",
    f"--renew-deadline={RENEW_SECONDS}s",
    f"--retry-period={RETRY_SECONDS}s",
    f"--lease-name={LEASE}",
    "--backoff-base=0.2s",
    "--backoff-cap=1s",
    "--breaker-time=1s",
    "--poll-interval=1h",
    "--threads=64",
    "--connections-per-host=64",
)
KUBERNETES_WRITES = re.compile(r"(POST|PUT|PATCH|DELETE) (?!events|leases)")


@dataclass
class Replica:
    """One process of the operator, and the proxies by which it is told from the others."""

    identity: str
    store: StoreProxy
    api: ApiServerProxy
    log_file: Path
    process: OperatorProcess = field(repr=False)

    @property
    def runs(self) -> bool:
        return self.process.runs

    def kill(self) -> None:
        self.process.kill()

    def terminate(self) -> None:
        """SIGTERM, as Kubernetes ends a pod; returns at once."""
        self.process.send(signal.SIGTERM)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP, and SIGCONT at the end."""
        self.process.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send(signal.SIGCONT)

    def until_gone(self) -> None:
        eventually(lambda: not self.runs, f"{self.identity} ends", seconds=PATIENCE)

    def until_it_says(self, words: str) -> datetime:
        """When it said so first."""

        def look() -> datetime | None:
            found = self.said(words)
            assert found or self.runs, f"{self.identity} has ended:\n{self.log()[-3000:]}"
            return found

        try:
            found = eventually(look, f"{self.identity} says {words!r}", seconds=PATIENCE)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; it said:\n{self.log()[-3000:]}") from None
        assert found is not None
        return found

    def said(self, words: str) -> datetime | None:
        line = next((line for line in self.log().splitlines() if words in line), None)
        return None if line is None else datetime.fromisoformat(line.split()[0])

    def forget_calls(self) -> None:
        """Those that its proxies have seen."""
        self.store.clear()
        self.api.clear()

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def writes(self, subject: str = "") -> list[str]:
        """What it asked of the store and of the API server that changes something, in order for each; Events aside."""
        calls: list[Call] = [call for call in self.store.calls if call.name in WRITES]
        calls += [call for call in self.api.calls if KUBERNETES_WRITES.match(call.name)]
        return [call.name for call in calls if subject in call.subject]

    def last_call(self) -> float:
        """When it last asked the store anything, by the monotonic clock."""
        return max(call.at for call in self.store.calls)


class Replicas:
    """All replicas there are; started here, and gone at the end."""

    def __init__(self, stack: Stack, namespace: str, kubeconfig: Path) -> None:
        self.stack = stack
        self.namespace = namespace
        self._kubeconfig = kubeconfig
        self._lease = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{LEASE}"
        self._proxies: list[tuple[StoreProxy, ApiServerProxy]] = []
        self._number = 0
        self.running: list[Replica] = []

    def add_proxies(self, store: StoreProxy, api: ApiServerProxy) -> None:
        self._proxies.append((store, api))

    def start(self) -> Replica:
        """One more replica; returns before it is ready."""
        self._number += 1
        identity = f"replica-{self._number}"
        users = {replica.store: replica for replica in self.running}
        # What the proxies of the dead have seen is still to be looked at, if others are free.
        free = sorted(self._proxies, key=lambda pair: pair[0] in users)
        store, api = next(pair for pair in free if pair[0] not in users or not users[pair[0]].runs)
        store.clear()
        api.clear()
        log_file = self.stack.directory / f"{self.namespace}-{identity}.log"
        kubeconfig = api.write_kubeconfig(self.stack.directory / f"{identity}.kubeconfig")
        where = ("--namespaces", self.namespace, "--lease-namespace", self.namespace, "--identity", identity)
        process = OperatorProcess(replace(self.stack, store_proxy=store), kubeconfig, log_file, *where, *_FLAGS)
        process.start()
        replica = Replica(identity, store, api, log_file, process)
        self.running.append(replica)
        return replica

    def pair(self) -> tuple[Replica, Replica]:
        """A leader and a stand-by, both ready; those that run already, where there are any."""
        self.running = [replica for replica in self.running if replica.runs]
        while len(self.running) < 2:
            self.start()
        for replica in self.running:
            replica.until_it_says("are known and watched")
        leader = self.leader()
        stand_by = next(replica for replica in self.running if replica is not leader)
        stand_by.until_it_says("tries to acquire the Lease")
        return leader, stand_by

    def leader(self) -> Replica:
        """The one that holds the Lease, and knows it."""

        def look() -> Replica | None:
            holder = self.lease().get("holderIdentity")
            return next((each for each in self.running if each.identity == holder and each.said("leads")), None)

        found = eventually(look, "somebody leads", seconds=PATIENCE)
        assert found is not None
        return found

    def forget_calls(self) -> None:
        for replica in self.running:
            replica.forget_calls()

    def writes(self, subject: str) -> Counter[str]:
        """Those of all replicas, the dead ones' too. See :meth:`Replica.writes`."""
        return Counter(name for replica in self.running for name in replica.writes(subject))

    def lease(self) -> Json:
        try:
            spec: Json = self.stack.api.get(self._lease)["spec"]
        except StatusError as error:
            if error.code != 404:
                raise
            return {}
        return spec

    def give_lease_to(self, replica: Replica) -> None:
        """As a person would."""
        self.stack.api.patch(self._lease, {"spec": {"holderIdentity": replica.identity}})

    def delete_lease(self) -> None:
        self.stack.api.delete(self._lease)

    def kill(self) -> None:
        for replica in self.running:
            replica.kill()


@contextmanager
def replicas(stack: Stack, namespace: str, kubeconfig: Path, most: int) -> Iterator[Replicas]:
    """At ``most`` so many at a time. ``kubeconfig`` is the operator's own."""
    deployment = Replicas(stack, namespace, kubeconfig)
    with ExitStack() as proxies:
        for _ in range(most):
            store = proxies.enter_context(store_proxy(stack.store.endpoint_url))
            deployment.add_proxies(store, proxies.enter_context(apiserver_proxy(kubeconfig)))
        try:
            yield deployment
        finally:
            deployment.kill()
