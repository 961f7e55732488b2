"""A real MariaDB server on a free loopback port, for the demo and the tests.

It is set up as MariaDB's own installer does: with database `test` and what PUBLIC may do there, anonymous users, and a
root that logs in by the Unix socket.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from sandbox.debian_releases import Release, release_directory
from sandbox.mysqld import MysqldServer, Program, environment, running
from sandbox.packages import program_path
from sandbox.servers import Account, ServerStartError, as_account, give
from sandbox.tls import CertificateAuthority

SETTINGS: Mapping[str, str] = {
    # As its package configures it.
    "character-set-server": "utf8mb4",
    "aria-pagecache-buffer-size": "8M",
    "key-buffer-size": "1M",
    "innodb-log-file-size": "4M",
}


@contextlib.contextmanager
def mariadb_server(
    program: Program | None = None,
    *,
    authority: CertificateAuthority | None = None,
    tls: bool = True,
    settings: Mapping[str, str] | None = None,
) -> Iterator[MysqldServer]:
    """A fresh server, of ``program`` or else what is installed here; see :func:`sandbox.mysqld.running`."""
    with running(program or mariadb_program(), authority=authority, tls=tls, settings=settings) as server:
        yield server


@lru_cache
def mariadb_program(release: Release | None = None) -> Program:
    """MariaDB's server on this machine: the system's, or the one of a Debian release. Raises ServerStartError."""
    found = program_path("mariadbd")
    places: dict[str, str] = {}
    if release is not None:
        usr = release_directory(release) / "usr"
        found = usr / "sbin" / "mariadbd"
        places = {"basedir": f"{usr}", "plugin-dir": f"{usr}/lib/mysql/plugin"}
        places |= {"lc-messages-dir": f"{usr}/share/mariadb", "character-sets-dir": f"{usr}/share/mariadb/charsets"}
    if found is None or not found.exists():
        raise ServerStartError("no MariaDB here: install the system's `mariadb-server`")
    said = subprocess.run([found, "--no-defaults", "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"\d+\.\d+\.\d+", said)
    return Program(
        kind="MariaDB",
        version=version.group() if version else "unknown",
        command=(str(found),),
        settings={**SETTINGS, **places},
        initialise=_initialise,
        first_statements=_first_statements,
        without_tls={"ssl": "OFF"},
    )


def _initialise(program: Program, data: Path, account: Account | None) -> None:
    data.mkdir(mode=0o755)
    give(data, account)
    installer = "mariadb-install-db"
    if basedir := program.settings.get("basedir"):
        installer = f"{basedir}/bin/{installer}"
    # By whom root may be, beside root itself: as when it is run with `--user=mysql`.
    command = [installer, "--no-defaults", f"--datadir={data}", "--auth-root-socket-user=mysql", "--skip-name-resolve"]
    command += [f"--{name}={value}" for name, value in program.settings.items()]
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
        "FLUSH PRIVILEGES",
    )
