"""What of pip's settings a build is given."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from sandbox.image import CannotBuild, PipSettings, Tool, build, pip_settings, settings_in, tool_named


def test_an_index_is_passed_on_and_folders_of_this_machine_are_not() -> None:
    listed = (
        "global.constraint='/etc/constraints.txt'\n"
        "global.extra-index-url='file:///opt/simple\\nhttps://more.invalid/simple'\n"
        "global.find-links='/opt/wheels'\n"
        "global.index-url='https://index.invalid/simple'\n"
    )
    assert settings_in(listed, {}).text.splitlines() == [
        "[global]",
        "index-url = https://index.invalid/simple",
        "extra-index-url = https://more.invalid/simple",
    ]


def test_variables_win_over_files() -> None:
    listed = (
        ":env:.index-url='https://variable.invalid/simple'\n"
        "global.index-url='https://index.invalid/simple'\n"
        "install.index-url='https://install.invalid/simple'\n"
    )
    assert settings_in(listed, {}).text == "[global]\nindex-url = https://variable.invalid/simple\n"


@pytest.mark.parametrize("by", ["setting", "variable"])
def test_certificates_are_named_as_the_build_sees_them(tmp_path: Path, by: str) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("")
    found = (
        settings_in(f"global.cert={str(bundle)!r}", {})
        if by == "setting"
        else settings_in("", {"REQUESTS_CA_BUNDLE": str(bundle)})
    )
    assert found == PipSettings("[global]\ncert = /run/secrets/ca.pem\n", bundle)


def test_certificates_that_are_not_there_are_not_named() -> None:
    assert settings_in("global.cert='/nowhere.pem'", {}) == PipSettings("[global]\n", None)


def test_a_python_without_pip_has_no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    python.chmod(0o755)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    assert pip_settings(str(python)) == PipSettings("[global]\n", None)


def test_the_builder_is_given_settings_in_a_file_that_others_cannot_read_and_that_goes(tmp_path: Path) -> None:
    program = tmp_path / "builder"
    program.write_text(
        "#!/bin/sh\n"
        f'printf "%s\\n" "$@" >{tmp_path}/arguments\n'
        f'for each; do case $each in id=pip.conf,*) cp -p "${{each#*src=}}" {tmp_path}/pip.conf;; esac; done\n'
    )
    program.chmod(0o755)
    settings = PipSettings("[global]\n", None)
    build(Tool((str(program),)), "registry.invalid/image:1", {"BASE_IMAGE": "base@sha256:0"}, settings=settings)
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert "BASE_IMAGE=base@sha256:0" in arguments
    assert arguments[arguments.index("--tag") + 1] == "registry.invalid/image:1"
    assert stat.S_IMODE((tmp_path / "pip.conf").stat().st_mode) == 0o600
    (given,) = (each.partition("src=")[2] for each in arguments if each.startswith("id=pip.conf,"))
    assert not Path(given).exists()


def test_the_first_tool_that_works_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, status in {"docker": 1, "podman": 0, "buildah": 0}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {status}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tool_named().name == "podman"
    assert tool_named("buildah").name == "buildah"
    with pytest.raises(CannotBuild, match="`docker info` fails"):
        tool_named("docker")
    (tmp_path / "podman").unlink()
    (tmp_path / "buildah").unlink()
    with pytest.raises(CannotBuild, match="none of them works here"):
        tool_named()
