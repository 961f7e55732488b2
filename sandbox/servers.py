"""What every database server of the sandbox needs: a port, an account, a directory, and an end.

Knows no kind of server. A server lives in a directory of its own, in whose folder ``data`` its process runs, and is
gone with the process that started it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sandbox import keeper

Account = pwd.struct_passwd


class ServerStartError(RuntimeError):
    """A server could not be found or started; the message says what to install or what the server said."""


def unprivileged_account(*names: str) -> Account | None:
    """Whose the servers' processes are: the first of these users where we are root, which servers refuse to run as."""
    if os.geteuid() != 0:
        return None
    for name in (*names, "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerStartError(f"running as root, and there is no user {', '.join(names)} or nobody to run the server as")


def as_account(account: Account | None) -> dict[str, Any]:
    """The arguments for :mod:`subprocess` that run a program as this user."""
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def reachable(folder: Path, account: Account | None) -> bool:
    """Whether the account can open what is in the folder, as far as it exists yet: root's own it often can't."""
    existing = [parent for parent in (folder, *folder.parents) if parent.exists()]
    return account is None or all(parent.stat().st_mode & 0o001 for parent in existing)


@contextlib.contextmanager
def server_directory(kind: str, account: Account | None) -> Iterator[Path]:
    """A temporary directory that belongs to the server's account, removed at the end."""
    for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):
        if reachable(Path(parent), account):
            break
    else:
        raise ServerStartError(f"user {account.pw_name if account else ''} can reach no temporary directory")
    directory = Path(tempfile.mkdtemp(prefix=f"sandbox-{kind}-", dir=parent))
    try:
        give(directory, account)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def kept(directory: Path, pid_file: str) -> Iterator[None]:
    """Whatever becomes of this process, the server in the directory ends with it.

    ``pid_file``, inside the directory, has the server's process id in its first line; the server's working directory
    is the folder ``data``.
    """
    command = [sys.executable, "-I", "-S", keeper.__file__, str(directory), pid_file]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd="/", start_new_session=True):
        yield


def write_file(path: Path, text: str, account: Account | None) -> None:
    """A file that only the server's account can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        if account is not None:
            os.fchown(descriptor, account.pw_uid, account.pw_gid)
        file.write(text)


def give(path: Path, account: Account | None) -> None:
    """Make a file, or a folder with all that is in it, the account's."""
    if account is None:
        return
    for each in (path, *path.rglob("*")):
        os.chown(each, account.pw_uid, account.pw_gid, follow_symlinks=False)


def free_port() -> int:
    """A loopback port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cache_directory(account: Account | None = None) -> Path:
    """Where things that take long to make outlive a run, out of the source tree and within the account's reach."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for parent in (home, Path("/var/cache")):
        if reachable(parent / "rotated-secrets", account):
            return parent / "rotated-secrets"
    raise ServerStartError(f"user {account.pw_name if account else ''} can reach neither {home} nor /var/cache")


def made_once(path: Path, make: Callable[[Path], None]) -> Path:
    """``path``, made by ``make`` unless it is there: by one process at a time, and never seen half made.

    ``make`` is given another place on the same file system to put it; what a failed attempt leaves there is removed.
    What is made, servers' accounts can read, whatever this process' umask is.
    """
    mask = os.umask(0o022)
    try:
        return _made_once(path, make)
    finally:
        os.umask(mask)


def _made_once(path: Path, make: Callable[[Path], None]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            partial = path.with_name(f"{path.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            try:
                make(partial)
                partial.rename(path)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return path
