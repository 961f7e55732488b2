"""Builds the operator's image with what is there for it: Docker, Podman or Buildah.

Runs before anything is installed, so it knows the standard library alone. Knows nothing of what is in the image: the
Dockerfile does.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

ROOT = Path(__file__).resolve().parents[1]
NAME = "rotated-secrets"
TOOLS = ("docker", "podman", "buildah")
IMAGES = ("BASE_IMAGE", "BUILDER_IMAGE")
"""Arguments of the Dockerfile that name an image."""
CERTIFICATES = "/run/secrets/ca.pem"
"""Where the build finds the machine's certificates; the Dockerfile mounts them there."""
INDEXES = ("index-url", "extra-index-url", "find-links")
"""Settings of pip that are lists of places. Folders of this machine are none inside a build."""
OTHERS = ("trusted-host", "proxy", "timeout", "default-timeout", "retries")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class CannotBuild(Exception):
    """There is no image; the message says why, and what a person has to bring."""


@dataclass(frozen=True)
class Tool:
    """A program that builds images, and how it is told to."""

    program: tuple[str, ...]
    """With the options that stand before `build`."""
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return Path(self.program[0]).name


@dataclass(frozen=True)
class BaseImage:
    """An image that the build begins with, as `NAME[:TAG][@DIGEST]`."""

    name: str
    """With the tag, which may move to another image."""
    digest: str = ""
    """Empty if it is not known."""

    @classmethod
    def named(cls, text: str) -> Self:
        name, _, digest = text.partition("@")
        return cls(name, digest)

    @property
    def reference(self) -> str:
        """What the build fetches. Not all tools take a tag beside a digest."""
        return f"{re.sub(':[^:/]+$', '', self.name)}@{self.digest}" if self.digest else self.name

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else self.name


@dataclass(frozen=True)
class PipSettings:
    """How pip finds packages on this machine. A build gets it as a secret: an index's URL may hold a password."""

    text: str
    """A configuration file of pip's."""
    certificates: Path | None
    """What signs the index's certificate, where that is not pip's own to know."""


def tool_named(name: str = "") -> Tool:
    """The tool of this name, else the first that is there and works.

    Raises:
        CannotBuild
    """
    for each in (name,) if name else TOOLS:
        # Docker's client may be there without its daemon.
        if shutil.which(each) and not subprocess.run([each, "info"], capture_output=True, check=False).returncode:
            return Tool((each,))
    if name:
        raise CannotBuild(f"{name} is not installed, or `{name} info` fails: it says why")
    raise CannotBuild(f"an image is built by {', '.join(TOOLS[:-1])} or {TOOLS[-1]}, and none of them works here")


def pip_settings(python: str = sys.executable) -> PipSettings:
    """What pip is told here, by its files and by variables; nothing where there is no pip."""
    done = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    return settings_in("" if done.returncode else done.stdout, os.environ)


def settings_in(listed: str, environment: Mapping[str, str]) -> PipSettings:
    """What of pip's settings, as `pip config list` has them, concerns where packages come from."""
    told: dict[str, str] = {}
    # What is said of `install` wins over what is said of everything, and variables over both.
    for section in ("global.", "install.", ":env:."):
        for line in listed.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(section):
                told[key.removeprefix(section)] = str(ast.literal_eval(value))
    certificates = told.get("cert") or environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE")
    there = Path(certificates) if certificates and Path(certificates).is_file() else None
    return PipSettings("\n".join(["[global]", *_lines(told, there is not None), ""]), there)


def _lines(told: Mapping[str, str], certificates: bool) -> Iterator[str]:
    for name in INDEXES:
        places = [each for each in told.get(name, "").split() if "://" in each and not each.startswith("file:")]
        if places:
            yield f"{name} = {' '.join(places)}"
    for name in OTHERS:
        if name in told:
            yield f"{name} = {' '.join(told[name].split())}"
    if certificates:
        yield f"cert = {CERTIFICATES}"


def version() -> str:
    """The operator's."""
    found: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return found


def default_base() -> str:
    """The image that the Dockerfile begins with unless another one is named."""
    found: list[str] = re.findall(r"^ARG BASE_IMAGE=(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return found[0]


def by_digest(tool: Tool, image: str) -> BaseImage:
    """The image with the digest that its tag has now, unless it is named by digest already.

    Raises:
        CannotBuild
    """
    base = BaseImage.named(image)
    if not base.digest:
        inspect = ["image", "inspect", "--format", "{{range .RepoDigests}}{{println .}}{{end}}"]
        if tool.name == "buildah":
            inspect = ["inspect", "--type", "image", "--format", "{{.FromImageDigest}}"]
        _output(tool, "pull", "--quiet", image)
        found = DIGEST.search(_output(tool, *inspect, image))
        base = BaseImage(base.name, found[0] if found else "")
    if not DIGEST.fullmatch(base.digest):
        raise CannotBuild(
            f"a release is built by digest, and {tool.name} finds none of {image}: name it by digest, as "
            f"BASE_IMAGE={base.name}@sha256:…"
        )
    return base


def _output(tool: Tool, *arguments: str) -> str:
    done = subprocess.run([*tool.program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBuild(f"`{tool.name} {' '.join(arguments)}` failed: {done.stderr.strip()[-1000:]}")
    return done.stdout


def for_release(tool: Tool, arguments: Mapping[str, str]) -> dict[str, str]:
    """The Dockerfile's arguments with each image by digest.

    Raises:
        CannotBuild: also where the tree is not a commit, since a release must say what it was built from.
    """
    if not _git("rev-parse", "HEAD") or _git("status", "--porcelain"):
        raise CannotBuild("a release is built from a commit: commit all changes first, in a clone of the repository")
    images = {"BASE_IMAGE": default_base()} | {name: text for name, text in arguments.items() if name in IMAGES}
    return {**arguments, **{name: str(by_digest(tool, text)) for name, text in images.items()}}


def build(
    tool: Tool,
    image: str,
    arguments: Mapping[str, str],
    *,
    settings: PipSettings | None = None,
    output: IO[str] | None = None,
) -> None:
    """Build the image from the tree as it is now; ``arguments`` are the Dockerfile's, ``output`` is for what is told.

    Raises:
        CannotBuild
    """
    settings = settings or pip_settings()
    images = {name: BaseImage.named(text) for name, text in arguments.items() if name in IMAGES}
    values = {"VERSION": version(), **arguments, **{name: each.reference for name, each in images.items()}}
    if base := images.get("BASE_IMAGE"):
        values |= {"BASE_NAME": base.name, "BASE_DIGEST": base.digest}
    options = list(tool.options)
    if commit := _git("rev-parse", "HEAD"):
        values.setdefault("REVISION", f"{commit}-dirty" if _git("status", "--porcelain") else commit)
        # The same commit makes the same image.
        made = _git("show", "--no-patch", "--format=%ct", "HEAD")
        if tool.name == "docker":
            values["SOURCE_DATE_EPOCH"] = made
        else:
            options += ["--timestamp", made]
    with tempfile.TemporaryDirectory(prefix="image-secrets-") as folder:
        configuration = Path(folder, "pip.conf")
        configuration.touch(mode=0o600)
        configuration.write_text(settings.text)
        secrets = {"pip.conf": configuration}
        if settings.certificates:
            secrets["ca.pem"] = settings.certificates
        for name, path in secrets.items():
            options += ["--secret", f"id={name},src={path}"]
        for name, value in values.items():
            options += ["--build-arg", f"{name}={value}"]
        done = subprocess.run(
            [*tool.program, "build", *options, "--tag", image, str(ROOT)],
            # Secrets are given to BuildKit; the builder that Docker had before knows none.
            env=os.environ | {"DOCKER_BUILDKIT": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    if done.returncode:
        raise CannotBuild(f"{tool.name} could not build {image}; it says above why")


def _git(*arguments: str) -> str:
    """What git says; nothing where this is no work tree or there is no git."""
    if not shutil.which("git"):
        return ""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return "" if done.returncode else done.stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make image", description=__doc__)
    parser.add_argument("--image", default=f"{NAME}:{version()}", help="its name and tag")
    parser.add_argument("--tool", default="", help=f"{', '.join(TOOLS)}; the first that works, where none is named")
    parser.add_argument("--release", action="store_true", help="build from a commit on images by digest, or not at all")
    parser.add_argument("--print-base", action="store_true", help="print the base image by digest, and build nothing")
    parser.add_argument("arguments", nargs="*", metavar="NAME=VALUE", help="arguments of the Dockerfile")
    asked = parser.parse_args()
    try:
        tool = tool_named(asked.tool)
        arguments = dict(each.split("=", 1) for each in asked.arguments)
        if asked.print_base:
            print(by_digest(tool, arguments.get("BASE_IMAGE", default_base())))
            return 0
        if asked.release:
            arguments = for_release(tool, arguments)
        on = f" on {arguments['BASE_IMAGE']}" if asked.release else ""
        print(f"{tool.name} builds {asked.image}{on}", flush=True)
        build(tool, asked.image, arguments)
    except CannotBuild as error:
        print(error, file=sys.stderr)
        return 1
    print(f"✓ {asked.image}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
