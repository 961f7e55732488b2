"""What tests send into cells: each method does one thing that a cell must survive, or must not be able to do."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from rotated_secrets.values import SecretText

_warmed_up_in: list[int] = []


def warm_up() -> None:
    _warmed_up_in.append(os.getpid())


class Declared(Exception):
    """An error that the operator knows."""


class Special(Declared):
    """A kind of it, that the operator does not know."""


class Work:
    """Sent into a cell."""

    def __init__(self, secret: SecretText | None = None) -> None:
        self.secret = secret

    # ---- what works

    def echo(self, value: Any) -> Any:
        return value

    def warmed_up_in(self) -> list[int]:
        return _warmed_up_in

    def length(self) -> int:
        return len(self.secret.reveal()) if self.secret is not None else 0

    def limits(self) -> dict[str, list[int]]:
        kinds = ("CORE", "AS", "CPU", "NOFILE", "FSIZE")
        return {kind: list(resource.getrlimit(getattr(resource, f"RLIMIT_{kind}"))) for kind in kinds}

    def status(self) -> dict[str, str]:
        """What the kernel says of this process; read before it was confined."""
        prctl = ctypes.CDLL(None).prctl
        return {"dumpable": str(prctl(3)), "no_new_privileges": str(prctl(39, 0, 0, 0, 0))}

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def capabilities(self) -> list[int]:
        """Effective, permitted and inheritable ones, as the kernel's two sets of 32 bits each."""
        number = {"x86_64": 125, "aarch64": 90}[os.uname().machine]
        found = (ctypes.c_uint32 * 6)()
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        if ctypes.CDLL(None).syscall(number, header, found) != 0:
            raise OSError("capget")
        return list(found)

    def thread_stack(self) -> int:
        return threading.stack_size()

    def pid(self) -> int:
        return os.getpid()

    def niceness(self) -> int:
        return os.getpriority(os.PRIO_PROCESS, 0)

    def open_files(self) -> list[int]:
        found = []
        for descriptor in range(64):
            try:
                os.fstat(descriptor)
            except OSError:
                continue
            found.append(descriptor)
        return found

    # ---- what fails

    def raises(self, name: str, message: str) -> None:
        raise {"Declared": Declared, "Special": Special, "KeyError": KeyError}[name](message)

    def large_answer(self, size: int) -> str:
        return "x" * size

    def write_raw(self, content: str) -> None:
        """Answer what is no answer, as a cell that was taken over could."""
        wire = socket.socket(fileno=os.dup(3))
        payload = content.encode()
        wire.sendall(len(payload).to_bytes(4, "big") + payload)
        time.sleep(60)

    def announce(self, size: int) -> None:
        wire = socket.socket(fileno=os.dup(3))
        wire.sendall(size.to_bytes(4, "big"))
        time.sleep(60)

    def allocate(self, mebibytes: int) -> int:
        kept = [bytearray(1024 * 1024) for _ in range(mebibytes)]
        return len(kept)

    def hold(self, mebibytes: int) -> None:
        """Fill memory, and keep it until the end."""
        kept = bytearray(mebibytes * 1024 * 1024)
        for at in range(0, len(kept), 4096):
            kept[at] = 1
        time.sleep(60)

    def loop(self) -> None:
        while True:
            pass

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def die(self, signal: int) -> None:
        os.kill(os.getpid(), signal)
        time.sleep(60)

    def exit(self, code: int) -> None:
        os._exit(code)

    def print(self, text: str, times: int) -> None:
        for _ in range(times):
            os.write(1, text.encode())
            os.write(2, text.encode())

    def recurse(self) -> None:
        sys.setrecursionlimit(10**9)
        json.loads("[" * 10**6)

    # ---- what it must not be able to do; returns what it got

    def read(self, path: str) -> str:
        return Path(path).read_text(errors="replace")[:100]

    def names(self, path: str) -> list[str]:
        return [each.name for each in Path(path).iterdir()]

    def write(self, path: str) -> None:
        Path(path).write_text("x")

    def memory_of(self, pid: int) -> None:
        """Attach to another process, as reading its memory needs."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.ptrace(16, pid, None, None) != 0:  # PTRACE_ATTACH
            raise OSError(ctypes.get_errno(), "ptrace")

    def read_memory_of(self, pid: int) -> None:
        """Read a byte of another process's memory by the system call that needs no file."""
        libc = ctypes.CDLL(None, use_errno=True)
        buffer = ctypes.create_string_buffer(1)

        class Part(ctypes.Structure):
            _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

        here, there = Part(ctypes.addressof(buffer), 1), Part(ctypes.addressof(buffer), 1)
        if libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) < 0:
            raise OSError(ctypes.get_errno(), "process_vm_readv")

    def fork(self) -> int:
        if (pid := os.fork()) == 0:
            os._exit(0)
        return pid

    def limit(self, pid: int) -> tuple[int, int]:
        return resource.prlimit(pid, resource.RLIMIT_NOFILE, (64, 64))

    def renice(self, pid: int) -> None:
        os.setpriority(os.PRIO_PROCESS, pid, 19)

    def move_to_one_processor(self, pid: int) -> None:
        os.sched_setaffinity(pid, {min(os.sched_getaffinity(0))})

    def socket(self, family: int, kind: int, protocol: int) -> None:
        socket.socket(family, kind, protocol).close()

    def send_at_once(self, port: int, by_message: bool) -> None:
        """Connect by TCP Fast Open: with the first bytes, and without a call of connect."""
        with socket.socket() as wire:
            if by_message:
                wire.sendmsg([b"x"], [], socket.MSG_FASTOPEN, ("127.0.0.1", port))
            else:
                wire.sendto(b"x", socket.MSG_FASTOPEN, ("127.0.0.1", port))

    def ask_dns(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
            wire.sendto(b"x", ("127.0.0.1", 53))

    def resolve(self, address: str) -> list[str]:
        return [str(found[4][0]) for found in socket.getaddrinfo(address, 5432, type=socket.SOCK_STREAM)]

    def system_call(self, number: int, *arguments: int) -> int:
        """Make it, with 0 for every further argument; returns the number of the error."""
        libc = ctypes.CDLL(None, use_errno=True)
        return ctypes.get_errno() if libc.syscall(number, *(*arguments, 0, 0, 0, 0, 0, 0)[:6]) < 0 else 0

    def thread(self) -> bool:
        done = threading.Event()
        threading.Thread(target=done.set).start()
        return done.wait(10)

    def signal(self, pid: int, number: int) -> None:
        os.kill(pid, number)

    def connect(self, port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            pass

    def listen(self) -> int:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port: int = server.getsockname()[1]
            return port

    def connect_abstract(self, name: str) -> None:
        with socket.socket(socket.AF_UNIX) as wire:
            wire.connect("\0" + name)

    def run(self, program: str) -> None:
        os.execv(program, [program])
