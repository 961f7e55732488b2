"""What many busy cells take at a time: the memory of each with a driver's session open, and of all of them.

The real engine in each cell is logged in at a real PostgreSQL and holds a lock. Runs alone: it measures.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rotated_secrets.cells import Cells, CellSettings
from rotated_secrets.cells.limits import MIB
from rotated_secrets.cells.usage import PAGE, Usage
from rotated_secrets.cells.zygote import COPIED
from rotated_secrets.controller.settings import Settings
from rotated_secrets.databases.logins import CellLogins
from rotated_secrets.databases.registry import engine_modules
from sandbox.applications.postgres import PostgresSide
from sandbox.postgres import installations, postgres_server
from tests.support.database_tenant import Tenant, tenant_at

DEFAULTS = Settings()
MODULES = (*engine_modules(), "rotated_secrets.databases.logins", "rotated_secrets.delivery.rendering")


@pytest.fixture(scope="module")
def tenant() -> Iterator[Tenant]:
    with postgres_server(installations()[0]) as server, tenant_at(PostgresSide(server)) as made:
        yield made


@pytest.mark.parametrize(("count", "memory"), [(DEFAULTS.threads, DEFAULTS.cells_memory), (32, 288 * MIB)])
def test_busy_cells_stay_within_the_memory_of_all(
    tenant: Tenant, count: int, memory: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """With each thread of the operator busy, and with more threads than its default."""
    server, admin = tenant.reach, tenant.credential(tenant.admin)
    cells = Cells(CellSettings(memory=memory, modules=MODULES))
    with ExitStack() as opened:
        opened.callback(cells.close)
        cells.start()
        assert cells._zygote is not None
        zygote = cells._zygote._process.pid
        base, alone = Usage(zygote).own_memory(), proportional(zygote)
        for number in range(count):
            logins = CellLogins(cells, tenant.engine, "postgres", f"namespace-{number}")
            opened.callback(logins.close)
            logins.verify(server, tenant.credential(tenant.account), tenant.users)
            session = logins.open_admin(server, admin)
            session.try_lock(f"user-{number}")
            session.check_users(tenant.users)
        running = children(zygote)
        # As the zygote counts them.
        counted = [
            max(each.own_memory() - base, 0) + min(each.faults_and_cpu_seconds()[0] * PAGE, COPIED)
            for each in map(Usage, running)
        ]
        shares = [proportional(pid) for pid in (zygote, *running)]
        assert len(running) == cells.running == count
    with capsys.disabled():
        print(
            f"\n{count} busy cells are counted as {sum(counted) / MIB:.0f} MiB, {max(counted) / MIB:.1f} the largest; "
            f"they and the zygote have {sum(shares) / MIB:.0f} MiB (PSS), the zygote alone {alone / MIB:.0f}"
        )
    assert sum(counted) <= memory


def children(parent: int) -> list[int]:
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                if int((each / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                    found.append(int(each.name))
            except OSError:
                continue
    return found


def proportional(pid: int) -> int:
    """Bytes, each shared page divided among those that share it; 0 where the kernel does not tell this user."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
