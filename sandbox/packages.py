"""Database servers from Debian's packages, for the demo and the tests.

Runs before anything is installed, so it knows the standard library alone. Prints nothing: each function returns what
there is now, for the one who asked to tell.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sandbox.servers import ServerStartError, cache_directory, made_once, unprivileged_account

MYSQL_SUITE = "sid"
MYSQL_PACKAGE = "mysql-server-core"
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/usr/libexec", "/sbin")
LAST_LINES = 20
SERVICES = {
    "mariadb-server": "mariadb",
    "pgbouncer": "pgbouncer",
    "postgresql": "postgresql",
    "redis-server": "redis-server",
}
"""What the packages would start now and at each boot. The sandbox has servers of its own."""
INSTALL = """
set -e
policy=$1 services=$2
shift 2
if [ ! -e "$policy" ] && [ ! -L "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\\nexit 101\\n' >"$policy"
    chmod 755 "$policy"
fi
apt-get install --yes --no-install-recommends "$@"
for service in $services; do
    update-rc.d "$service" disable
done
"""
"""Installs packages whose services neither start now, by Debian's `policy-rc.d`, nor at the next boot."""
POLICY = "/usr/sbin/policy-rc.d"
LOCALES = Path("/usr/share/i18n/locales")


class NotInstalled(Exception):
    """A server can't be had here; the message says why, and what a person has to bring."""


def ensure_mariadb() -> str:
    """MariaDB's server; not its core alone, which brings no plug-ins. Raises: NotInstalled."""
    return f"MariaDB: {_packaged('mariadbd', 'mariadb-server')}"


def ensure_redis() -> str:
    """Redis' server. Raises: NotInstalled."""
    return f"Redis: {_packaged('redis-server', 'redis-server')}"


def ensure_pgbouncer() -> str:
    """Raises: NotInstalled."""
    return f"PgBouncer: {_packaged('pgbouncer', 'pgbouncer')}"


def _packaged(program: str, package: str) -> Path | None:
    """A program, by the system's package manager where it isn't there yet."""
    if program_path(program) is None:
        apt_install(package)
    return program_path(program)


def ensure_locales() -> str:
    """What languages of servers are made from, by the system's package manager where it isn't there yet.

    Raises:
        NotInstalled
    """
    if not LOCALES.exists():
        apt_install("locales")
    return f"locales: {LOCALES}"


def ensure_mysql() -> str:
    """MySQL's server: the one on the PATH, else Debian unstable's, unpacked in a cache folder of its own.

    Nothing of it is installed in the system, and no script of its packages is run.

    Raises:
        NotInstalled
    """
    found = system_mysqld() or unpacked_mysql()
    if found is None:
        try:
            made_once(mysql_directory(), _unpack_mysql)
        except (OSError, ServerStartError) as error:
            raise NotInstalled(f"MySQL: {error}") from None
        found = unpacked_mysql()
    return f"MySQL: {found}"


def system_mysqld() -> Path | None:
    """A `mysqld` of the system's, where that is MySQL: MariaDB has a program of this name as well."""
    found = program_path("mysqld")
    if found is None:
        return None
    said = subprocess.run([found, "--no-defaults", "--version"], capture_output=True, text=True, check=False).stdout
    return None if "MariaDB" in said or not said else found


def unpacked_mysql() -> Path | None:
    """The folder that :func:`ensure_mysql` has filled."""
    folder = mysql_directory()
    return folder if folder.exists() else None


def mysql_directory() -> Path:
    """Where MySQL is unpacked, within reach of the user that the server runs as."""
    return cache_directory(unprivileged_account("mysql")) / f"mysql-{MYSQL_SUITE}"


def program_path(name: str) -> Path | None:
    """A program on the PATH or in the folders of the system's servers, which are seldom on a user's PATH."""
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS)))
    return Path(found) if found else None


def _unpack_mysql(folder: Path) -> None:
    # debootstrap verifies the signatures: what the keyring doesn't vouch for is refused.
    if program_path("debootstrap") is None or not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
        apt_install("debootstrap", "debian-archive-keyring")
    downloaded = Path(tempfile.mkdtemp(prefix="mysql-packages-", dir="/var/tmp"))
    try:
        as_root(
            *("debootstrap", "--download-only", "--force-check-gpg", "--variant=minbase"),
            *(f"--include={MYSQL_PACKAGE}", MYSQL_SUITE, str(downloaded)),
        )
        folder.mkdir(mode=0o755)
        for package in sorted(downloaded.glob("var/cache/apt/archives/*.deb")):
            # The server and the libraries that it may load; the rest belongs to a system, which this is none.
            if package.name.startswith(("lib", f"{MYSQL_PACKAGE}_", "zlib1g_")):
                run(["dpkg-deb", "--extract", str(package), str(folder)])
    finally:
        as_root("rm", "-rf", "--one-file-system", str(downloaded))


def apt_install(*packages: str) -> None:
    """Install packages of the system's, without starting what is in them.

    Raises:
        NotInstalled
    """
    if shutil.which("apt-get") is None:
        raise NotInstalled(f"{' and '.join(packages)}: there is no apt-get here; install what your system calls them")
    as_root("apt-get", "update")
    services = " ".join(SERVICES[package] for package in packages if package in SERVICES)
    as_root("sh", "-c", INSTALL, "install", POLICY, services, *packages)


def may_install() -> bool:
    """Whether there is a package manager, and root or a sudo that asks for no password."""
    if shutil.which("apt-get") is None:
        return False
    return os.geteuid() == 0 or (
        shutil.which("sudo") is not None
        and subprocess.run(["sudo", "--non-interactive", "true"], capture_output=True, check=False).returncode == 0
    )


def as_root(*command: str) -> None:
    """Run a command as root, by sudo where we are not.

    Raises:
        NotInstalled: with the last lines of what it printed.
    """
    if os.geteuid() == 0:
        prefix: tuple[str, ...] = ()
    elif shutil.which("sudo"):
        prefix = ("sudo", "--non-interactive")
    else:
        raise NotInstalled(f"`{' '.join(command)}` takes root: run it as root, or have sudo")
    # `env`, for sudo keeps few variables.
    run([*prefix, "env", "DEBIAN_FRONTEND=noninteractive", f"PATH={os.defpath}:/usr/sbin:/sbin", *command])


def run(command: Sequence[str]) -> None:
    """Run a command, and print nothing of it.

    Raises:
        NotInstalled: with the last lines of what it printed.
    """
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        told = "\n  ".join(done.stdout.splitlines()[-LAST_LINES:])
        shown = " ".join(word for word in command if "\n" not in word)
        raise NotInstalled(f"`{shown}` failed:\n  {told}")
