"""What is in the image, and what is not."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.image import PipSettings, version
from tests.image.conftest import BASE
from tests.support.containers import Image

LARGEST = 420_000_000
"""Bytes, unpacked; about 115 MB to pull. Debian with Python takes 169 MB here, the operator and the packages that it
needs 214. A tenth is left for newer ones; a compiler would take more."""
WRITABLE = {"/tmp", "/var/tmp", "/run/lock"}
BUILDS = re.compile(
    r"(.*-)?(cc|c\+\+|gcc|g\+\+|cpp|clang|ld|as|make|cargo|rustc)(-\d+)?|(pip|easy_install|wheel|uv)[\d.]*"
)
TOOLS = re.compile(r"/(pip|setuptools|pkg_resources|wheel|ensurepip)(-[\d.]+\.dist-info)?$")
PROGRAMS = ("usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin", "opt/rotated-secrets/bin")


def entries(image: Image) -> Iterator[tuple[str, os.stat_result]]:
    """Everything in its filesystem, by the path inside."""
    for folder, folders, files in os.walk(image.root):
        for name in (*folders, *files):
            path = Path(folder, name)
            yield f"/{path.relative_to(image.root)}", path.lstat()


def test_it_says_what_it_is(image: Image, base_digest: str) -> None:
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in image.config["Labels"].items()}
    assert labels["title"] == "rotated-secrets"
    assert labels["version"] == version()
    assert labels["licenses"] == "Apache-2.0"
    assert (labels["base.name"], labels["base.digest"]) == (BASE, base_digest)
    assert "Kubernetes operator" in labels["description"]
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", labels["revision"])


def test_it_runs_the_operator_as_a_user_that_is_a_number_and_not_root(image: Image) -> None:
    config = image.config
    assert config["User"] == "65532:65532"
    assert (config["Entrypoint"], config["Cmd"]) == (["rotated-secrets"], ["run"])
    assert (list(config["ExposedPorts"]), config["StopSignal"]) == (["8080/tcp"], "SIGTERM")


def test_its_user_can_change_no_file_and_no_file_lends_rights(image: Image) -> None:
    user, group = image.user
    changeable = set()
    for path, found in entries(image):
        if stat.S_ISLNK(found.st_mode) or path.startswith(("/dev/", "/proc/", "/sys/")):
            continue
        assert not found.st_mode & (stat.S_ISUID | stat.S_ISGID) or stat.S_ISDIR(found.st_mode), path
        if found.st_mode & stat.S_IWOTH or found.st_uid == user or found.st_gid == group:
            changeable.add(path)
    assert changeable <= WRITABLE


def test_nothing_in_it_builds_or_installs(image: Image) -> None:
    programs = {path.name for folder in PROGRAMS for path in (image.root / folder).glob("*")}
    assert {"rotated-secrets", "python3"} <= programs
    assert not [name for name in programs if BUILDS.fullmatch(name)]
    assert not [path for path, _ in entries(image) if TOOLS.search(path)]
    for folder in ("var/lib/apt/lists", "var/cache/apt"):
        assert not [path for path in (image.root / folder).rglob("*") if path.is_file()], folder
    for module in ("pip", "ensurepip", "setuptools"):
        assert f"No module named '{module}'" in image.python(f"import {module}").stderr


def test_it_is_no_larger_than_what_it_needs(image: Image) -> None:
    size = sum(found.st_size for _, found in entries(image) if stat.S_ISREG(found.st_mode))
    assert size < LARGEST, f"{size / 1e6:.0f} MB"


def test_nothing_that_pip_was_told_is_in_a_layer_or_in_the_history(
    image: Image, settings: PipSettings, authority: str
) -> None:
    hidden = [*re.findall(r"https?://([^/\s]+)", settings.text), authority.splitlines()[2]]
    searched = ["grep", "--recursive", "--fixed-strings", "--files-with-matches", "--devices=skip"]
    patterns = [f"--regexp={text}" for text in hidden]
    control = subprocess.run(
        [*searched, *patterns, "--regexp=65532:65532", str(image.storage)], capture_output=True, text=True, check=False
    )
    assert "vfs-images" in control.stdout, "configuration and history are searched, too"
    found = subprocess.run([*searched, *patterns, str(image.storage)], capture_output=True, text=True, check=False)
    assert found.stdout == ""


def test_the_operator_and_its_python_need_not_be_compiled_at_each_start(image: Image) -> None:
    code = (
        "import importlib.util, os, sys, rotated_secrets.controller.process.main\n"
        "files = [module.__file__ for module in sys.modules.values() if getattr(module, '__file__', None)]\n"
        "sources = [file for file in files if file.endswith('.py') and '/kubernetes/client/' not in file]\n"
        "print(len(sources), [file for file in sources if not os.path.exists(importlib.util.cache_from_source(file))])"
    )
    count, _, without = image.python(code).stdout.strip().partition(" ")
    assert int(count) > 300
    assert without == "[]"


@pytest.mark.parametrize("arguments", [("--version",), ("run", "--help")])
def test_it_answers_without_a_cluster(image: Image, arguments: tuple[str, ...]) -> None:
    done = image.run(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"rotated-secrets {version()}") or "Run the operator" in done.stdout


def test_every_engine_and_its_driver_can_be_loaded(image: Image) -> None:
    code = (
        "from rotated_secrets.databases.registry import known_engines, engine_named\n"
        "print(len([engine_named(name) for name in known_engines()]))"
    )
    done = image.python(code)
    assert int(done.stdout) >= 12, done.stderr


def test_certificates_of_public_authorities_are_found(image: Image) -> None:
    code = "import ssl\nprint(ssl.get_default_verify_paths().cafile, len(ssl.create_default_context().get_ca_certs()))"
    file, count = image.python(code).stdout.split()
    assert file == "/etc/ssl/certs/ca-certificates.crt"
    assert int(count) > 100
