"""An image of a team's own, made from the operator's: how docs/image.md brings an engine into it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.image import NAME, ROOT
from tests.image.conftest import output_of
from tests.support.containers import Image

PLUGIN = ROOT / "examples" / "plugin"


@pytest.fixture
def folder(image: Image) -> str:
    """Where the page says that packages go."""
    found = re.search(r"^COPY --from=plugin /plugin (\S+)$", (ROOT / "docs" / "image.md").read_text(), re.MULTILINE)
    assert found is not None
    assert (image.root / found[1].lstrip("/") / "rotated_secrets").is_dir()
    return found[1]


def test_an_engine_of_ones_own_is_copied_into_an_image_on_top(
    image: Image, buildah: tuple[str, ...], folder: str, tmp_path: Path
) -> None:
    installed = tmp_path / "plugin"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--target", str(installed)]
    source = tmp_path / "source"
    shutil.copytree(PLUGIN, source)
    subprocess.run([*pip, "--no-index", "--no-deps", "--no-build-isolation", str(source)], check=True)

    container = output_of(*buildah, "from", f"localhost/{NAME}")
    output_of(*buildah, "copy", container, str(installed), folder)
    theirs = replace(image, root=Path(output_of(*buildah, "mount", container)))

    code = (
        "from rotated_secrets.databases.registry import engine_named\nprint(*engine_named('sqlite-users').strategies)"
    )
    done = theirs.python(code)
    assert done.stdout.strip() == "SingleUser", done.stderr
    assert "is not one of" in image.python(code).stderr
