"""What one cell may use. Travels from the operator to the zygote as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

MIB: Final = 1024 * 1024
MEMORY: Final = "memory"
CROWDED: Final = "crowded"
"""All cells together used too much memory, and its tenant's the most."""
CPU: Final = "cpu"
TIME: Final = "time"
OUTPUT: Final = "output"
LET_GO: Final = "let go"
UNCONFINED: Final = "unconfined"
"""Why a cell was ended."""


@dataclass(frozen=True)
class CellLimits:
    """Hard limits of one cell; the kernel or the zygote ends what goes over them."""

    memory: int = 64 * MIB
    """Bytes of address space beyond what the zygote has."""
    cpu_seconds: int = 10
    wall_seconds: float = 300.0
    """From the fork to the end, whatever it waits for."""
    files: int = 64
    """Open files and sockets at a time."""
    output: int = MIB
    """Bytes written to standard output and error, which go nowhere."""
    ports: tuple[int, ...] = ()
    """TCP ports that it may connect to, where the kernel can restrict that."""
    niceness: int = 0
    """Of 0 to 19, when it starts; what uses much CPU time gets 19 later."""
    tenant: int = 0
    """Stands for the tenant that it works for, and is not its name: cells share the zygote's memory."""

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> CellLimits:
        fields = json.loads(text)
        return cls(**{**fields, "ports": tuple(fields["ports"])})
