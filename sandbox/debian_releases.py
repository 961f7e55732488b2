"""Database servers of newer Debian releases, for `make test-versions`, in cache folders of their own.

Nothing of them is installed in the system, and no script of their packages is run: each program is started by the
loader and the libraries of its own release. Knows the standard library alone.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sandbox.mongo_packages import mirrors
from sandbox.packages import NotInstalled, apt_install, as_root, program_path, run
from sandbox.servers import ServerStartError, cache_directory, made_once, unprivileged_account

GERMAN = "de_DE.UTF-8"
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PROGRAMS = (
    "usr/lib/postgresql/*/bin/initdb",
    "usr/lib/postgresql/*/bin/postgres",
    "usr/sbin/mariadbd",
    "usr/bin/my_print_defaults",
    "usr/bin/resolveip",
    "usr/bin/valkey-server",
)
"""What is started, by us or by one another."""
LAUNCHER = """\
#!/bin/sh
# Starts the program by the loader and the libraries of its own release, which are newer than the system's.
root="${{0%/usr/*}}"
export LOCPATH="$root/usr/lib/locale"
exec "$root/{loader}" --library-path "$root/{libraries}" --argv0 "$0" "$root/{program}" "$@"
"""


@dataclass(frozen=True)
class Release:
    """A release of Debian, and what is taken from it."""

    suite: str
    packages: tuple[str, ...]


TRIXIE = Release("trixie", ("postgresql-17", "mariadb-server", "valkey-server", "locales"))
FORKY = Release("forky", ("postgresql-18",))
RELEASES = (TRIXIE, FORKY)


def ensure_release(release: Release) -> str:
    """A release's servers, downloaded and unpacked where they are not yet; returns where.

    Raises:
        NotInstalled
    """
    try:
        return str(made_once(release_directory(release), lambda folder: _unpack(release, folder)))
    except (OSError, ServerStartError) as error:
        raise NotInstalled(f"Debian {release.suite}: {error}") from None


def release_directory(release: Release) -> Path:
    """Where a release is unpacked, within reach of the users that servers run as."""
    chosen = hashlib.sha256(" ".join(release.packages).encode()).hexdigest()[:8]
    return cache_directory(unprivileged_account()) / f"debian-{release.suite}-{chosen}"


def _unpack(release: Release, folder: Path) -> None:
    if program_path("mmdebstrap") is None or not KEYS.exists():
        apt_install("mmdebstrap", "debian-archive-keyring")
    with tempfile.TemporaryDirectory(prefix="debian-release-", dir="/var/tmp") as name:
        tar = Path(name) / "release.tar"
        _download(release, tar)
        folder.mkdir(mode=0o755, parents=True)
        # By us, whose the folder is, and without what only a running system needs.
        left_out = [f"--exclude=./usr/share/{each}" for each in ("doc", "man", "perl")]
        unpack = ["tar", "--extract", "--no-same-owner", "--no-same-permissions", "--delay-directory-restore"]
        run([*unpack, *left_out, f"--file={tar}", f"--directory={folder}", "./usr"])
    loader = next(folder.glob("usr/lib*/ld-linux*.so.*"))
    libraries = next(folder.glob("usr/lib/*/libc.so.6")).parent
    for pattern in PROGRAMS:
        for program in folder.glob(pattern):
            _make_launcher(folder, program, loader, libraries)
    if "locales" in release.packages:
        _compile_locale(folder, loader, libraries)


def _download(release: Release, tar: Path) -> None:
    # It verifies the signatures, takes the packages that these depend on, and configures none.
    # A mirror may be a snapshot, whose lists expire; debootstrap takes them as well.
    mmdebstrap = ["mmdebstrap", "--variant=extract", "--mode=root", "--format=tar"]
    mmdebstrap.append('--aptopt=Acquire::Check-Valid-Until "false"')
    wanted = (f"--include={','.join(release.packages)}", release.suite, str(tar))
    # This machine's own mirrors, then the one that mmdebstrap knows: Ubuntu's have no releases of Debian.
    failures: list[NotInstalled] = []
    for mirror in (*mirrors(), None):
        tar.unlink(missing_ok=True)
        try:
            as_root(*mmdebstrap, *wanted, *([mirror] if mirror else []))
            return
        except NotInstalled as error:
            failures.append(error)
    raise NotInstalled("\n".join(map(str, failures)))


def _make_launcher(folder: Path, program: Path, loader: Path, libraries: Path) -> None:
    """In the program's place: it looks for its files beside itself, and starts others that are there."""
    if program.is_symlink():
        real = program.parent / program.readlink()
        program.unlink()
    else:
        real = program.rename(program.with_name(f"{program.name}.program"))
    places = {"loader": loader, "libraries": libraries, "program": real}
    program.write_text(LAUNCHER.format(**{name: place.relative_to(folder) for name, place in places.items()}))
    program.chmod(0o755)


def _compile_locale(folder: Path, loader: Path, libraries: Path) -> None:
    language, _, charmap = GERMAN.partition(".")
    made = subprocess.run(
        [
            *(loader, "--library-path", libraries, folder / "usr/bin/localedef"),
            *("--inputfile", language, "--charmap", charmap, folder / f"usr/lib/locale/{language}.utf8"),
        ],
        env=os.environ | {"I18NPATH": str(folder / "usr/share/i18n"), "LC_ALL": "C"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if made.returncode:
        raise NotInstalled(f"locale {GERMAN} could not be compiled: {made.stderr.strip()[-1000:]}")


def main() -> int:
    """Unpack all releases, or say which cannot be had and why."""
    for release in RELEASES:
        try:
            folder = ensure_release(release)
        except NotInstalled as error:
            print(
                f"✗ Debian {release.suite} with {', '.join(release.packages)} cannot be had, so nothing is tested: "
                f"{error}\n  A mirror in this machine's apt sources, or the one that mmdebstrap knows, has to be "
                f"reached, and to have this release",
                file=sys.stderr,
            )
            return 1
        print(f"✓ Debian {release.suite}: {folder}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
