"""`make demo` is what people see first, and the one place where a schedule's own minute passes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.kubernetes.provider import Cluster, Provider


@pytest.mark.timeout(240)
def test_the_demo_rotates_four_times_without_a_failed_login(cluster: Cluster, tmp_path: Path) -> None:
    if cluster.provider is Provider.CONTEXT:
        pytest.skip("a named cluster keeps what the demo leaves in it")
    done = subprocess.run(
        [sys.executable, "-m", "sandbox.demo", "--folder", str(tmp_path)],
        env=os.environ | {"KUBERNETES": cluster.provider, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"demo: 4 rotations, [1-9][0-9]* logins, 0 failed", last)
    assert "\x1b" not in done.stdout
    for step in ("createSecret", "setSecret", "testSecret", "finishSecret", "delivered"):
        assert done.stdout.count(f"✓ {step}") == 4
