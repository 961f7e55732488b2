"""A real MySQL server on a free loopback port, for the demo and the tests.

It is set up as Debian's package does: the server's own `--initialize-insecure`, and a root that logs in by the Unix
socket.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from sandbox.mysqld import MysqldServer, Program, environment, running
from sandbox.packages import system_mysqld, unpacked_mysql
from sandbox.servers import Account, ServerStartError, as_account, give
from sandbox.tls import CertificateAuthority

SETTINGS: Mapping[str, str] = {
    # All servers of this machine would have the same port for it.
    "mysqlx": "OFF",
    "innodb-redo-log-capacity": "16M",
    "innodb-undo-log-truncate": "OFF",
}


@contextlib.contextmanager
def mysql_server(
    *,
    authority: CertificateAuthority | None = None,
    tls: bool = True,
    settings: Mapping[str, str] | None = None,
) -> Iterator[MysqldServer]:
    """A fresh server of the MySQL that is installed here; see :func:`sandbox.mysqld.running`."""
    with running(mysql_program(), authority=authority, tls=tls, settings=settings) as server:
        yield server


@lru_cache(maxsize=1)
def mysql_program() -> Program:
    """MySQL's server on this machine: the system's, else the unpacked one. Raises ServerStartError."""
    system, folder = system_mysqld(), unpacked_mysql()
    command: tuple[str, ...]
    places: dict[str, str] = {}
    if system:
        command = (str(system),)
    elif folder:
        command, places = _unpacked_command(folder), _unpacked_places(folder)
    else:
        raise ServerStartError(
            "no MySQL here: put its `mysqld` on the PATH, or call sandbox.packages.ensure_mysql to unpack Debian's"
        )
    said = subprocess.run([*command, "--no-defaults", "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"\d+\.\d+\.\d+", said.stdout)
    if version is None:
        raise ServerStartError(f"{command[-1]} doesn't run: {said.stderr.strip()[-2000:]}")
    return Program(
        kind="MySQL",
        version=version.group(),
        command=command,
        settings={**SETTINGS, **places},
        initialise=_initialise,
        first_statements=_first_statements,
        without_tls={"tls-version": ""},
    )


def _unpacked_command(folder: Path) -> tuple[str, ...]:
    """By its own loader and libraries, which are newer than the system's."""
    loader = next(folder.glob("usr/lib*/ld-linux*.so.*"))
    libraries = next(folder.glob("usr/lib/*/libc.so.6")).parent
    return (str(loader), "--library-path", str(libraries), str(folder / "usr/sbin/mysqld"))


def _unpacked_places(folder: Path) -> dict[str, str]:
    return {
        "basedir": f"{folder}/usr",
        "plugin-dir": f"{folder}/usr/lib/mysql/plugin",
        "lc-messages-dir": f"{folder}/usr/share/mysql",
        "character-sets-dir": f"{folder}/usr/share/mysql/charsets",
    }


def _initialise(program: Program, data: Path, account: Account | None) -> None:
    data.mkdir(mode=0o755)
    give(data, account)
    settings = (f"--{name}={value}" for name, value in program.settings.items())
    command = [*program.command, "--no-defaults", "--initialize-insecure", f"--datadir={data}", *settings]
    command += ["--skip-log-bin", "--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", env=environment(), **as_account(account)
    )
    if done.returncode:
        raise ServerStartError(f"the data directory of {program} could not be made: {done.stderr.strip()[-2000:]}")
    # Each server is to be another one.
    (data / "auto.cnf").unlink()


def _first_statements(user: str, password: str) -> tuple[str, ...]:
    # MySQL rewrites such statements before it logs them.
    return (
        f"CREATE USER `{user}`@`%` IDENTIFIED BY '{password}'",
        f"GRANT PROXY ON ''@'' TO `{user}`@`%` WITH GRANT OPTION",
        "INSTALL PLUGIN auth_socket SONAME 'auth_socket.so'",
        "ALTER USER root@localhost IDENTIFIED WITH auth_socket",
    )
