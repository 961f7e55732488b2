"""Open cells: start the zygote, start it again when it has ended, and give each cell its object and its limits."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import IO, Final

from rotated_secrets.cells.cell import Cell, CellFailed, plain
from rotated_secrets.cells.limits import MIB, CellLimits

log = logging.getLogger(__name__)

READY_SECONDS: Final = 60.0
"""How long the zygote may take to load its modules; a second or two where the machine is not busy."""
PAUSE_SECONDS: Final = 2.0
"""Before the zygote is started again."""
_NICER: Final = 3
"""By how much each further cell of one tenant yields to those of others."""
_MOST_NICE: Final = 15
_LONGEST_NOTICE: Final = 2000
_PASSED_ON: Final = (
    "PATH",
    "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
    "LANG",
    "LC_ALL",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "OPENSSL_CONF",
    "LD_LIBRARY_PATH",
)
"""Variables that the zygote gets. No others: they may hold credentials."""

Ended = Callable[[str, int], None]
"""Called with the outcome of a cell, and how many bytes it printed."""


@dataclass(frozen=True)
class CellSettings:
    """What all cells together may use, and what they have loaded."""

    memory: int = 224 * MIB
    """Bytes that all cells together may use: what they copy of what they share, and what they allocate."""
    limits: CellLimits = field(default_factory=CellLimits)
    """Of one cell, where its work does not need others."""
    modules: tuple[str, ...] = ()
    """Imported before the first cell is forked."""
    variables: tuple[str, ...] = ()
    """Names of environment variables that cells get, beside those of Python and its libraries."""
    paths: tuple[str, ...] = ()
    """Files and folders that cells may read and write; beside these they read only what libraries need."""


class Cells:
    """Opens cells. Safe from several threads; close it."""

    def __init__(self, settings: CellSettings, on_end: Ended | None = None) -> None:
        self._settings = settings
        self._on_end = on_end
        self._lock = threading.Lock()
        self._zygote: _Zygote | None = None
        self._closed = False
        self._started_at = 0.0
        self._by_tenant: Counter[str] = Counter()

    @property
    def running(self) -> int:
        """How many cells are open."""
        return sum(self._by_tenant.values())

    @property
    def limits(self) -> CellLimits:
        """Those of one cell."""
        return self._settings.limits

    def start(self) -> int:
        """Start the zygote, so that the first cell need not wait for it. Returns the version of Landlock; 0 is none.

        Raises: CellFailed.
        """
        with self._lock:
            return self._running_zygote().landlock

    def open(
        self, work: object, *, tenant: str, limits: CellLimits | None = None, declared: tuple[type[Exception], ...]
    ) -> Cell:
        """Open a cell and send it an object.

        Args:
            work: the object; it can be pickled.
            tenant: for whom it works: the more cells a tenant has, the less of the CPUs each gets; and where all cells
                together use too much memory, one is ended of the tenant whose cells use the most.
            limits: the settings' if None.
            declared: the errors that its methods raise, the special ones before the general ones.

        Raises:
            CellFailed: it could not be opened.
            Exception: whatever the object raises if it cannot be pickled.
        """
        with self._lock:
            count = self._by_tenant[tenant]
            niceness = min(count * _NICER, _MOST_NICE)
            chosen = replace(limits or self.limits, niceness=niceness, tenant=hash(tenant))
            wire, report = self._running_zygote().fork(chosen)
            self._by_tenant[tenant] += 1
        cell = Cell(wire, report, chosen, declared, lambda outcome, output: self._count(tenant, outcome, output))
        try:
            cell.send(work)
        except BaseException:
            cell.close()
            raise
        return cell

    def close(self) -> None:
        """End all cells."""
        with self._lock:
            self._closed = True
            if self._zygote is not None:
                self._zygote.stop()

    def _count(self, tenant: str, outcome: str, output: int) -> None:
        with self._lock:
            self._by_tenant[tenant] -= 1
            if not self._by_tenant[tenant]:
                del self._by_tenant[tenant]
        if self._on_end is not None:
            self._on_end(outcome, output)

    def _running_zygote(self) -> _Zygote:
        if self._closed:
            raise CellFailed("cannot start: the operator is stopping", "closed")
        if self._zygote is not None and self._zygote.is_alive:
            return self._zygote
        if self._zygote is not None:
            self._zygote.stop()
            if time.monotonic() - self._started_at < PAUSE_SECONDS:
                raise CellFailed("cannot start: the operator's helper process has ended; it is started again", "closed")
            log.warning("the process that database clients are forked from has ended; it is started again")
        self._started_at = time.monotonic()
        self._zygote = _Zygote.started(self._settings)
        return self._zygote


class _Zygote:
    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self._process = process
        self._control = control
        self.landlock = 0
        if process.stderr is not None:
            threading.Thread(target=_log_notices, args=(process.stderr,), name="zygote's notices", daemon=True).start()

    @classmethod
    def started(cls, settings: CellSettings) -> _Zygote:
        """Start it and wait until it has loaded its modules. Raises: CellFailed."""
        given = {"memory": settings.memory, "modules": settings.modules, "paths": settings.paths}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-m", "rotated_secrets.cells.zygote", json.dumps(given)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=_environment(os.environ, settings.variables),
                cwd="/",
                start_new_session=True,  # a terminal's Ctrl-C is the operator's, which drains first
            )
        zygote = cls(process, ours)
        ours.settimeout(READY_SECONDS)
        try:
            zygote.landlock = int(json.loads(ours.recv(4096))["landlock"])
        except (OSError, ValueError, KeyError):
            zygote.stop()
            raise CellFailed("cannot start: the operator's helper process did not start", "closed") from None
        return zygote

    @property
    def is_alive(self) -> bool:
        """Whether it still has its side of the control socket, on which it never sends anything more."""
        return self._process.poll() is None and not select.select([self._control], [], [], 0)[0]

    def fork(self, limits: CellLimits) -> tuple[socket.socket, socket.socket]:
        """Fork a cell. Returns the sockets to it, and on which its end is reported. Raises: CellFailed."""
        with contextlib.ExitStack() as unless_sent:
            try:
                wire, cells_wire = socket.socketpair()
                unless_sent.callback(wire.close)
                with cells_wire:
                    report, zygotes_report = socket.socketpair()
                    unless_sent.callback(report.close)
                    with zygotes_report:
                        descriptors = [cells_wire.fileno(), zygotes_report.fileno()]
                        socket.send_fds(self._control, [limits.to_json()], descriptors)
            except OSError as error:
                # It has ended, or this process may open no more files.
                why = error.strerror or str(error)
                raise CellFailed(
                    f"cannot start: the operator's helper process was not reached: {why}", "closed"
                ) from None
            unless_sent.pop_all()
        return wire, report

    def stop(self) -> None:
        self._control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1)
            return
        self._process.kill()
        self._process.wait()


def _log_notices(notices: IO[bytes]) -> None:
    """Log what the zygote itself prints: modules that cannot be imported, and its own failures."""
    with notices:
        for line in iter(lambda: notices.readline(_LONGEST_NOTICE), b""):
            log.warning("the process that database clients are forked from: %s", plain(line.decode(errors="replace")))


def _environment(own: Mapping[str, str], further: tuple[str, ...]) -> dict[str, str]:
    # One arena: each further one reserves 64 MiB of addresses, which would count as used.
    return {name: own[name] for name in (*_PASSED_ON, *further) if name in own} | {"MALLOC_ARENA_MAX": "1"}
