"""A real MariaDB server on a free loopback port, for the demo and the tests."""

from __future__ import annotations

import contextlib
import hashlib
import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from sandbox.mysqld import MysqldServer, Program, environment, running
from sandbox.packages import program_path
from sandbox.servers import Account, ServerStartError, as_account, give
from sandbox.tls import CertificateAuthority

SETTINGS: Mapping[str, str] = {
    "aria-pagecache-buffer-size": "8M",
    "key-buffer-size": "1M",
    "innodb-log-file-size": "4M",
}


@contextlib.contextmanager
def mariadb_server(
    *,
    authority: CertificateAuthority | None = None,
    tls: bool = True,
    settings: Mapping[str, str] | None = None,
) -> Iterator[MysqldServer]:
    """A fresh server of the MariaDB that is installed here; see :func:`sandbox.mysqld.running`."""
    with running(mariadb_program(), authority=authority, tls=tls, settings=settings) as server:
        yield server


@lru_cache(maxsize=1)
def mariadb_program() -> Program:
    """MariaDB's server on this machine. Raises ServerStartError."""
    found = program_path("mariadbd")
    if found is None:
        raise ServerStartError("no MariaDB here: install the system's `mariadb-server`")
    said = subprocess.run([found, "--no-defaults", "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"\d+\.\d+\.\d+", said)
    return Program(
        kind="MariaDB",
        version=version.group() if version else "unknown",
        command=(str(found),),
        settings=SETTINGS,
        initialise=_initialise,
        first_statements=_first_statements,
        without_tls={"ssl": "OFF"},
    )


def _initialise(program: Program, data: Path, account: Account | None) -> None:
    data.mkdir(mode=0o755)
    give(data, account)
    command = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"]
    command += ["--skip-test-db", "--skip-name-resolve", *(f"--{name}={value}" for name, value in SETTINGS.items())]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", env=environment(), **as_account(account)
    )
    if done.returncode:
        raise ServerStartError(f"mariadb-install-db of {program} failed: {done.stderr.strip()[-2000:]}")


def _first_statements(user: str, password: str) -> tuple[str, ...]:
    # MariaDB logs statements as they come: the hash alone is sent.
    digest = hashlib.sha1(hashlib.sha1(password.encode()).digest()).hexdigest().upper()
    return (
        f"CREATE USER `{user}`@`%` IDENTIFIED VIA mysql_native_password USING '*{digest}'",
        # What GRANT PROXY would do, which nobody may at this point.
        "INSERT INTO mysql.proxies_priv (Host, User, Proxied_host, Proxied_user, With_grant) "
        f"VALUES ('%', '{user}', '%', '', 1)",
        # One for each name that the machine has.
        "DELETE FROM mysql.global_priv WHERE User = 'root'",
        "FLUSH PRIVILEGES",
    )
