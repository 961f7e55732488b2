"""A built image, and containers of it as a kubelet starts them for a "restricted" pod.

The root filesystem is read-only, no capability is left and none can be gained; only `/tmp` can be written to, and the
system calls are refused that `RuntimeDefault` refuses. The network is this machine's, as there is no other here.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sandbox.leash import leashed
from sandbox.packages import program_path
from sandbox.waiting import eventually

Json = dict[str, Any]
MOUNTED = "/mnt"
"""Where the files are that a container is given; every Debian has this folder."""
STOP_SECONDS = 30.0
NAMESPACES = 0x7E020000
"""The flags of clone that make a namespace."""
REFUSED = (
    *("add_key", "request_key", "keyctl", "bpf", "perf_event_open", "userfaultfd", "kcmp", "pidfd_getfd"),
    *("process_madvise", "io_uring_setup", "io_uring_enter", "io_uring_register", "unshare", "setns"),
    *("mount", "umount2", "pivot_root", "chroot", "fsopen", "fsmount", "move_mount", "open_tree", "mount_setattr"),
    *("open_by_handle_at", "name_to_handle_at", "get_mempolicy", "set_mempolicy", "mbind", "move_pages"),
    *("migrate_pages", "clock_settime", "settimeofday", "sethostname", "syslog", "quotactl", "swapon", "reboot"),
)
"""What containerd's profile does not allow a container without capabilities, as far as programs ask for it.
Source: contrib/seccomp/seccomp_default.go in containerd 1.7 and 2."""
SECCOMP = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [
        {"names": list(REFUSED), "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM},
        # Unlike the others, so that a C library falls back to clone.
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS},
        *(
            {
                "names": ["clone"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": errno.EPERM,
                "args": [{"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 1 << bit, "valueTwo": 1 << bit}],
            }
            for bit in range(32)
            if NAMESPACES & 1 << bit
        ),
    ],
}
"""The same in the form of the OCI's runtime specification."""


@dataclass(frozen=True)
class Image:
    """What was built, unpacked."""

    root: Path
    """Its filesystem. Containers share it, as none can write to it."""
    about: Json
    """Configuration and history, as the OCI's image specification has them."""
    storage: Path
    """Everything that the build has left behind, with all layers of the image."""

    @property
    def config(self) -> Json:
        found: Json = self.about["config"]
        return found

    @property
    def user(self) -> tuple[int, int]:
        """Its user's and group's number; names would be a kubelet's to look up, which `runAsNonRoot` forbids."""
        user, group = self.config["User"].split(":")
        return int(user), int(group)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A container with these arguments, until it ends."""
        return self._until_its_end([*self.config["Entrypoint"], *arguments])

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        """The same, with the Python of the operator in place of the operator."""
        return self._until_its_end(["/opt/rotated-secrets/bin/python", "-c", code])

    def _until_its_end(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        with self._bundle(command, {}, None) as (name, bundle):
            return subprocess.run(
                _runc(bundle, "run", "--bundle", str(bundle), name), capture_output=True, text=True, check=False
            )

    @contextmanager
    def container(
        self, arguments: Sequence[str], variables: Mapping[str, str], files: Mapping[str, str], log_file: Path
    ) -> Iterator[Container]:
        """A running container, gone at the end. ``files`` are below :data:`MOUNTED`, for nobody but its user."""
        with ExitStack() as parts:
            folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="image-files-")))
            for name, text in files.items():
                (folder / name).write_text(text)
            for path in (*folder.iterdir(), folder):
                os.chown(path, *self.user)
                path.chmod(0o500 if path == folder else 0o400)
            command = [*self.config["Entrypoint"], *(arguments or self.config["Cmd"])]
            name, bundle = parts.enter_context(self._bundle(command, variables, folder))
            yield parts.enter_context(Container(name, bundle, log_file))

    @contextmanager
    def _bundle(
        self, command: Sequence[str], variables: Mapping[str, str], files: Path | None
    ) -> Iterator[tuple[str, Path]]:
        """A name, and a folder of which the OCI's runtime specification makes a container."""
        with tempfile.TemporaryDirectory(prefix="image-bundle-") as folder:
            configuration = self._runtime_configuration(command, variables, files)
            Path(folder, "config.json").write_text(json.dumps(configuration))
            yield f"image-{secrets.token_hex(4)}", Path(folder)

    def _runtime_configuration(self, command: Sequence[str], variables: Mapping[str, str], files: Path | None) -> Json:
        user, group = self.user
        private = ["nosuid", "nodev", "noexec"]
        mounts: list[Json] = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": [*private, "mode=1777"]},
        ]
        if files is not None:
            options = ["bind", "ro", *private]
            mounts.append({"destination": MOUNTED, "type": "bind", "source": str(files), "options": options})
        return {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": user, "gid": group},
                "args": list(command),
                "env": [*self.config["Env"], *(f"{name}={value}" for name, value in variables.items())],
                "cwd": self.config["WorkingDir"],
                "capabilities": {},
                "noNewPrivileges": True,
            },
            "root": {"path": str(self.root), "readonly": True},
            "mounts": mounts,
            "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")], "seccomp": SECCOMP},
        }


class Container:
    """One that runs; it ends with this process at the latest."""

    def __init__(self, name: str, bundle: Path, log_file: Path) -> None:
        self._name, self._bundle, self.log_file = name, bundle, log_file
        self._parts = ExitStack()

    def __enter__(self) -> Self:
        pid_file = self._bundle / "pid"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._runc("run", "--bundle", str(self._bundle), "--pid-file", str(pid_file), self._name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            eventually(lambda: pid_file.exists() or not self.runs, "the container has begun")
            assert self.runs, f"the container has ended: {self.log()}"
            self._parts.enter_context(leashed(int(pid_file.read_text())))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(self._runc("delete", "--force", self._name), capture_output=True, check=False)
        self._process.wait(STOP_SECONDS)
        self._parts.close()

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def stop(self, signal: str) -> int:
        """Send the signal to its first process, as a kubelet does; returns the exit code."""
        subprocess.run(self._runc("kill", self._name, signal), check=True)
        return self._process.wait(STOP_SECONDS)

    def _runc(self, *arguments: str) -> list[str]:
        return _runc(self._bundle, *arguments)


def _runc(bundle: Path, *arguments: str) -> list[str]:
    # What it remembers of containers goes with them.
    return [str(program_path("runc")), "--root", str(bundle / "state"), *arguments]
