"""What a process uses of memory and CPU, as /proc tells. Knows nothing of limits."""

from __future__ import annotations

import os
import resource
from typing import Final

PAGE: Final = resource.getpagesize()
"""Bytes of a page of memory."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_LONGEST: Final = 4096


class Usage:
    """Of one process. Its files are kept open: to open them takes most of the time of a look. Close it."""

    def __init__(self, process: int | str) -> None:
        """``process``: its id, or ``self``. Raises: OSError, where it is gone or no more files may be opened."""
        self._statm = os.open(f"/proc/{process}/statm", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._stat = os.open(f"/proc/{process}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.close(self._statm)
            raise

    def close(self) -> None:
        for each in (self._statm, self._stat):
            os.close(each)

    def addresses(self) -> int:
        """Bytes of address space."""
        return self._pages()[0] * PAGE

    def own_memory(self) -> int:
        """Bytes of resident memory that belong to no file; 0 for a process that is gone."""
        try:
            _, resident, shared = self._pages()
        except (OSError, ValueError):
            return 0
        return (resident - shared) * PAGE

    def faults_and_cpu_seconds(self) -> tuple[int, float]:
        """Page faults that needed no file, and seconds of CPU time. Source: proc_pid_stat(5)."""
        try:
            fields = os.pread(self._stat, _LONGEST, 0).rpartition(b")")[2].split()
        except OSError:
            return 0, 0.0
        return int(fields[7]), (int(fields[11]) + int(fields[12])) / _TICKS

    def _pages(self) -> tuple[int, int, int]:
        """Pages of address space, resident ones, and resident ones of files. Source: proc_pid_statm(5)."""
        size, resident, shared, *_ = (int(field) for field in os.pread(self._statm, _LONGEST, 0).split())
        return size, resident, shared
