"""One operator in 512 MiB with its defaults, an honest tenant, and every hostile server."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest

from rotated_secrets.api.names import JOURNAL_LABEL
from sandbox.application import create_application
from sandbox.installation import operator_rules
from sandbox.operatorprocess import OperatorProcess
from sandbox.stack import Stack
from tests.support.applied import Applied
from tests.support.hostile.container import Bound, bounded, descendants
from tests.support.hostile.honest import Honest, Times
from tests.support.hostile.outcomes import Namespace, Table, foreign_lines
from tests.support.hostile.servers import HostileServers, hostile_servers

MEMORY = 512 << 20
"""The limit of memory that the chart has."""
SHARES = 1024
"""Of the CPU: as much as each of the others has that it speaks to, which share two cores with it."""
UNDISTURBED = 5
"""Rotations that are timed before each attack: what else the machine does then counts for both."""
SLOWDOWN = 10 if os.environ.get("CI") else 2
"""How many times its undisturbed time the honest tenant's rotation may take. Machines of CI do other things besides:
there only what is out of proportion fails."""
CONSTANT = 0.15
"""Seconds that it may take beside that time, which is about 0.3 s: the evil servers, the API server, the store and this
process share two cores with the operator."""
DRAIN_SECONDS = 25
IDLE_SECONDS = 60.0

_table = pytest.StashKey[Table]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_table] = Table()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    table = terminalreporter.config.stash[_table]
    if table.outcomes or table.remarks:
        terminalreporter.section("hostile servers")
        for line in table.lines():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def table(pytestconfig: pytest.Config) -> Table:
    return pytestconfig.stash[_table]


@pytest.fixture(scope="package")
def servers(stack: Stack) -> Iterator[HostileServers]:
    with hostile_servers(stack.directory, stack.store_proxy.endpoint_url) as running:
        yield running


@dataclass
class Arena:
    """The operator, whose memory is bounded, and the tenant that must not notice anything."""

    stack: Stack
    servers: HostileServers
    operator: OperatorProcess
    bound: Bound
    honest: Honest
    table: Table
    home: str
    """The operator's namespace, and the honest tenant's."""
    undisturbed: Times = field(default_factory=Times)
    """The honest tenant's rotations while nothing else is done."""
    _begun: tuple[int, int] = (0, 0)
    _processes: int = 0
    """Of an operator that has nothing to do."""
    _said_before: int = 0
    """Length of the log when the attack began."""

    def start(self) -> None:
        """The operator runs and leads, also after something has killed it."""
        if not self.operator.runs:
            self.operator.start()
            self.bound.take(self.operator.pid)
            self.operator.wait_until_it_leads(60)

    def kill(self) -> None:
        """SIGKILL. Its Lease goes too: to wait for the end of that would only pass time."""
        self.operator.kill()
        self.stack.api.delete(f"/apis/coordination.k8s.io/v1/namespaces/{self.home}/leases/rotated-secrets")

    def measure(self) -> None:
        """Time the honest tenant while nothing else is done."""
        self._forget_unfinished()
        self._wait_until_idle()
        self.honest.times(2 if self._processes == 0 else 0)
        self._processes = self._processes or len(descendants(self.operator.pid))
        self.undisturbed = self.honest.times(UNDISTURBED)

    def _begin(self) -> None:
        self.bound.begin_again()
        self._begun = self.operator.pid, self.bound.kills
        self._said_before = len(self.operator.log())

    def _forget_unfinished(self) -> None:
        """Remove the journal's entries: else an operator that starts would look at what is left of every attack yet."""
        self.stack.api.delete(f"/api/v1/namespaces/{self.home}/configmaps", labelSelector=JOURNAL_LABEL)

    def _wait_until_idle(self) -> None:
        """What the last attack began is over: else this one would be measured against that."""
        end = time.monotonic() + IDLE_SECONDS
        while len(descendants(self.operator.pid)) > self._processes > 0 and time.monotonic() < end:
            time.sleep(0.1)

    def said(self) -> str:
        """The log since the attack began."""
        return self.operator.log()[self._said_before :]

    def namespace(self, name: str) -> Namespace:
        made = Namespace(self.stack, self.servers, f"{name}-{secrets.token_hex(3)}")
        made.create()
        return made

    @contextmanager
    def attacked(
        self, what: str, *, least: int = 19, measured: bool = False, restarted: bool = False, pause: float = 0.0
    ) -> Iterator[Times]:
        """Time the honest tenant meanwhile, at least so often; then ask that nothing else came of it.

        ``measured``: it was measured before, and what is done has begun already. ``restarted``: by an operator that
        has ended since, and the attack is over at the end of the ``with``: measure this one too, when it is. ``pause``:
        seconds between two of its rotations.
        """
        self.start()
        if not measured:
            self.measure()
        self._begin()
        with self.honest.rotating(pause) as times:
            yield times
            end = time.monotonic() + 120
            while self.operator.runs and len(times.seconds) < least and time.monotonic() < end:
                time.sleep(0.1)
        if restarted and self.operator.runs:
            self.undisturbed = max(self.undisturbed, self.honest.times(UNDISTURBED), key=lambda each: each.median)
        self.check(what, times)

    @contextmanager
    def watched(self, what: str) -> Iterator[None]:
        """Ask the same, but for the honest tenant, which rests: its server is attacked."""
        self.start()
        self._begin()
        yield
        self.check(what, None)

    def check(self, what: str, times: Times | None) -> None:
        pid, kills = self._begun
        wrong = []
        if not self.operator.runs or self.operator.pid != pid:
            wrong.append("the operator has ended")
        if self.bound.kills != kills:
            wrong.append(f"{self.bound.kills - kills} processes were killed for more than {MEMORY >> 20} MiB")
        log = self.said()
        if foreign := foreign_lines(log):
            wrong.append(f"{len(foreign)} lines of the log are not the operator's own, the first: {foreign[0][:300]!r}")
        if unexpected := [line for line in log.splitlines() if "failed unexpectedly" in line]:
            wrong.append(f"{len(unexpected)} times something failed unexpectedly, the first: {unexpected[0]}")
        bound = SLOWDOWN * self.undisturbed.median + CONSTANT
        if times is not None and self.operator.runs and not times.median < bound:
            wrong.append(f"the honest tenant was slow: {sorted(times.seconds)} s each; failures: {times.failures}")
        honest = "" if times is None else f"honest {times.median:.2f} s in the median of {len(times.seconds)}, "
        honest += "" if times is None else f"undisturbed {self.undisturbed.median:.2f} s; "
        self.table.remarks.append(f"{what}: {honest}peak {self.bound.peak >> 20} MiB")
        assert not wrong, f"{what}: " + "; ".join(wrong)


@pytest.fixture(scope="package")
def arena(stack: Stack, servers: HostileServers, table: Table) -> Iterator[Arena]:
    home: str = stack.api.create("/api/v1/namespaces", {"metadata": {"generateName": "honest-"}})["metadata"]["name"]
    kubeconfig = stack.cluster.operator_kubeconfig(operator_rules(), home)

    def application() -> Applied:
        name = f"orders-{secrets.token_hex(4)}"
        return Applied(create_application(stack, home, name, database="shop"))

    aws = ("--aws-endpoint-url", servers.aws_url, "--aws-read-timeout", "1s")
    flags = (*aws, "--webhook-hosts", servers.webhook_hosts, "--cluster-name", "test")
    # As a user would start it: what a fork has from its parent would count as the parent's memory.
    started = replace(stack, interpreter=None)
    log = stack.directory / "hostile-operator.log"
    where = ("--lease-namespace", home, "--log-format", "json", *flags)
    operator = OperatorProcess(started, kubeconfig, log, *where)
    operator.environment["AWS_ENDPOINT_URL_STS"] = servers.aws_url
    with bounded(MEMORY, SHARES) as bound, operator:
        bound.take(operator.pid)
        operator.wait_until_it_leads(60)
        yield Arena(stack, servers, operator, bound, Honest(application), table, home)
