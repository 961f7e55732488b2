"""`make demo` is what people see first, and the one place where a schedule's own minute passes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.applications.engines import ENGINES
from sandbox.demo_engines import DEMO_ENGINES
from sandbox.kubernetes.provider import Cluster, Provider
from tests.e2e.conftest import DATABASE, MakeApplication, StackOn


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
    assert "$ helm install rotated-secrets charts/rotated-secrets --namespace rotated-secrets " in done.stdout
    assert "with ServiceAccount rotated-secrets/rotated-secrets, its log is" in done.stdout
    for step in ("createSecret", "setSecret", "testSecret", "finishSecret", "delivered"):
        assert done.stdout.count(f"✓ {step}") == 4


def test_every_engine_of_the_sandbox_has_its_demo() -> None:
    assert tuple(DEMO_ENGINES) == ENGINES


@pytest.mark.parametrize("engine", ENGINES)
def test_the_command_to_look_around_shows_the_users(
    engine: str, stack_on: StackOn, make_application: MakeApplication
) -> None:
    demo, stack = DEMO_ENGINES[engine], stack_on(engine)
    program, programs = demo.look.partition(" ")[0], Path(sys.executable).parent
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program} here")
    application = make_application(on=stack).application
    shown = subprocess.run(
        ["bash", "-c", demo.look],
        env=os.environ | demo.variables(stack, DATABASE) | {"PATH": f"{programs}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert shown.returncode == 0, shown.stderr
    assert application.user in shown.stdout


def test_a_server_that_is_not_there_is_told_in_a_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sandbox.demo", "--engine", "redis", "--folder", str(tmp_path)],
        env=os.environ | {"KUBERNETES": Provider.EMBEDDED, "NO_COLOR": "1", "PATH": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[-1].startswith("✗ there is no redis-server here; install ")
    assert not done.stderr
