"""A release is built from a commit, on images that are named by digest."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sandbox import image
from sandbox.image import (
    ROOT,
    BaseImage,
    CannotBuild,
    PipSettings,
    Tool,
    build,
    by_digest,
    default_base,
    for_release,
)

OLD, NEW = (f"sha256:{digit * 64}" for digit in "ab")
NAME = "registry.example.com:5000/python:3.11-slim"
WORKFLOW = ROOT / ".github" / "workflows" / "release.yml"


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """The arguments that the tool was given, one call a line."""
    return tmp_path / "calls"


def program(tmp_path: Path, name: str, answer: str) -> Tool:
    """A tool that knows one image, and pulls it first."""
    path = tmp_path / name
    path.write_text(
        "#!/bin/sh\n"
        f'printf "%s " "$@" >>{tmp_path}/calls; echo >>{tmp_path}/calls\n'
        f"case $1 in pull) touch {tmp_path}/pulled;; build) ;; *) test -e {tmp_path}/pulled && echo '{answer}';; esac\n"
    )
    path.chmod(0o755)
    return Tool((str(path),))


@pytest.fixture
def commit(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What git answers: a commit without changes, which tests may change."""
    answers = {"rev-parse": "0" * 40, "status": "", "show": "1"}
    monkeypatch.setattr(image, "_git", lambda verb, *_: answers[verb])
    yield answers


@pytest.mark.parametrize(
    ("text", "name", "reference"),
    [
        (NAME, NAME, NAME),
        (f"{NAME}@{OLD}", NAME, f"registry.example.com:5000/python@{OLD}"),
        (f"registry:5000/python@{OLD}", "registry:5000/python", f"registry:5000/python@{OLD}"),
    ],
)
def test_an_image_by_digest_is_fetched_by_that_alone(text: str, name: str, reference: str) -> None:
    base = BaseImage.named(text)
    assert (base.name, base.reference, str(base)) == (name, reference, text)


@pytest.mark.parametrize("name", ["docker", "podman", "buildah"])
def test_a_release_finds_the_digest_that_the_tag_has_now(tmp_path: Path, calls: Path, name: str) -> None:
    tool = program(tmp_path, name, f"registry.example.com:5000/python@{OLD}")
    assert str(by_digest(tool, NAME)) == f"{NAME}@{OLD}"
    pull, inspect = calls.read_text().splitlines()
    assert pull.split() == ["pull", "--quiet", NAME]
    assert inspect.split()[-1] == NAME


def test_an_image_that_is_named_by_digest_is_not_asked_for(tmp_path: Path, calls: Path) -> None:
    assert by_digest(program(tmp_path, "docker", f"python@{NEW}"), f"{NAME}@{OLD}").digest == OLD
    assert not calls.exists()


@pytest.mark.parametrize(("given", "answer"), [(NAME, ""), (NAME, "sha256:abc"), (f"{NAME}@sha256:abc", "")])
def test_a_release_without_a_digest_is_refused(tmp_path: Path, commit: dict[str, str], given: str, answer: str) -> None:
    for argument in ("BASE_IMAGE", "BUILDER_IMAGE"):
        pinned = {"BASE_IMAGE": f"{NAME}@{OLD}"}
        with pytest.raises(CannotBuild, match=r"a release is built by digest, and docker finds none of .*: name it"):
            for_release(program(tmp_path, "docker", answer), pinned | {argument: given})


def test_a_release_names_both_images_by_digest(tmp_path: Path, commit: dict[str, str]) -> None:
    tool = program(tmp_path, "docker", f"python@{OLD}")
    assert for_release(tool, {"BUILDER_IMAGE": NAME, "VERSION": "1"}) == {
        "BASE_IMAGE": f"{default_base()}@{OLD}",
        "BUILDER_IMAGE": f"{NAME}@{OLD}",
        "VERSION": "1",
    }


@pytest.mark.parametrize("answer", [{"status": " M Dockerfile"}, {"rev-parse": ""}])
def test_a_release_is_built_from_a_commit(tmp_path: Path, commit: dict[str, str], answer: dict[str, str]) -> None:
    commit |= answer
    with pytest.raises(CannotBuild, match="commit all changes first"):
        for_release(program(tmp_path, "docker", f"python@{OLD}"), {})


def test_a_base_image_that_cannot_be_pulled_is_told_with_the_tools_words(tmp_path: Path) -> None:
    path = tmp_path / "docker"
    path.write_text("#!/bin/sh\necho manifest unknown >&2\nexit 1\n")
    path.chmod(0o755)
    with pytest.raises(CannotBuild, match=r"`docker pull --quiet .*` failed: manifest unknown"):
        by_digest(Tool((str(path),)), NAME)


def test_name_and_digest_of_the_base_are_on_labels(tmp_path: Path, calls: Path) -> None:
    build(program(tmp_path, "docker", ""), "a:1", {"BASE_IMAGE": f"{NAME}@{OLD}"}, settings=PipSettings("", None))
    given = calls.read_text().split()
    assert {f"BASE_IMAGE=registry.example.com:5000/python@{OLD}", f"BASE_NAME={NAME}", f"BASE_DIGEST={OLD}"} <= {*given}
    dockerfile = (ROOT / "Dockerfile").read_text()
    for label in ("name", "digest"):
        assert f'org.opencontainers.image.base.{label}="${{BASE_{label.upper()}}}"' in dockerfile


def test_what_is_started_for_a_release_builds_nothing_without_a_digest(
    tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program(tmp_path, "docker", "")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(image, "_git", lambda verb, *_: "" if verb == "status" else "0" * 40)
    monkeypatch.setattr(sys, "argv", ["image", "--tool", "docker", "--release", f"BASE_IMAGE={NAME}"])
    (tmp_path / "pulled").touch()
    assert image.main() == 1
    assert "a release is built by digest" in capsys.readouterr().err
    assert not [line for line in calls.read_text().splitlines() if line.startswith("build")]


def test_the_workflow_of_a_release_builds_by_one_digest_for_all_architectures() -> None:
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    (resolve,) = (step["run"] for step in jobs["base"]["steps"] if "run" in step)
    assert "sandbox.image --tool docker --print-base" in resolve
    builds = [step for step in jobs["image"]["steps"] if "make image" in step.get("run", "")]
    (step,) = builds
    assert "RELEASE=1" in step["run"]
    assert step["env"] == {"BASE_IMAGE": "${{ needs.base.outputs.image }}"}
    assert jobs["image"]["strategy"]["matrix"]["runner"] == ["ubuntu-24.04", "ubuntu-24.04-arm"]


def test_make_passes_on_that_it_is_a_release() -> None:
    command = ["make", "--dry-run", "--no-print-directory", "image", "RELEASE=1"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.search(r"-m sandbox\.image --release", " ".join(printed.split()))
