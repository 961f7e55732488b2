"""A person at a terminal, with a kubeconfig and no other right than to look at RotatedSecrets and to change them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from psycopg2.sql import SQL, Identifier, Literal
from typer.testing import CliRunner, Result

from rotated_secrets.cli import main
from sandbox.kubernetes.client import Json
from sandbox.kubernetes.provider import Cluster
from sandbox.waiting import eventually
from tests.e2e.conftest import MakeApplication
from tests.support.applied import Applied

pytestmark = pytest.mark.usefixtures("operator")
RIGHTS = [
    {"apiGroups": ["rotatedsecrets.io"], "resources": ["rotatedsecrets"], "verbs": ["get", "list", "watch", "patch"]}
]
BIN = Path(sys.executable).parent
Tool = Callable[..., Result]


@pytest.fixture(scope="module")
def persons_kubeconfig(cluster: Cluster, home: str) -> Path:
    return cluster.operator_kubeconfig(RIGHTS, home, name="person", cluster_wide=False)


@pytest.fixture
def environment(persons_kubeconfig: Path) -> dict[str, str]:
    return os.environ | {"KUBECONFIG": str(persons_kubeconfig), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture
def tool(home: str, persons_kubeconfig: Path) -> Tool:
    """``rotated-secrets`` in this process, whose imports are paid for already."""

    def run(*arguments: str, namespace: str = home) -> Result:
        return CliRunner().invoke(
            main.app,
            [*arguments, "-n", namespace, "--kubeconfig", str(persons_kubeconfig)],
            prog_name="rotated-secrets",
        )

    return run


def items(result: Result) -> list[Json]:
    found: list[Json] = json.loads(result.stdout)["items"]
    return found


def test_a_rotation_is_asked_for_followed_and_told(orders: Applied, tool: Tool) -> None:
    name, application = orders.application.name, orders.application
    orders.apply(schedule="rate(7 days)").until_ready()

    result = tool("rotate", name, "--wait", "-o", "json")
    assert result.exit_code == 0, result.output
    (answer,) = items(result)
    assert answer["outcome"] == "Succeeded"
    assert answer["rotation"]["user"] == application.clone
    assert [answer["rotation"]["versionId"]] == application.stages()["AWSCURRENT"]
    steps = re.findall(rf"^{re.escape(str(application.namespace))}/{name} (\w+Secret)$", result.stderr, re.MULTILINE)
    assert steps == sorted(steps, key=["CreateSecret", "SetSecret", "TestSecret", "FinishSecret"].index)
    assert "SetSecret" in steps

    (told,) = items(tool("list", name, "-o", "json"))
    assert (told["ready"], told["activeUser"], told["engine"]) == ("True", application.clone, "postgres")
    (full,) = yaml.safe_load(tool("describe", name, "-o", "yaml").stdout)["items"]
    assert full["currentVersionId"] == full["syncedVersionId"] == answer["rotation"]["versionId"]
    assert len(full["nextRotations"]) == 3
    (past,) = items(tool("history", name, "-o", "json"))
    assert past["history"] == full["history"] == [answer["rotation"]]

    described = tool("describe", f"rotatedsecret/{name}").stdout
    assert f"Active user      {application.clone}" in described
    assert "✓ holds the current version" in described
    secrets = [application.value(stage)["password"] for stage in ("AWSCURRENT", "AWSPREVIOUS")]
    assert not any(secret in described for secret in secrets)


def test_what_is_suspended_is_not_asked_for_until_it_is_resumed(orders: Applied, tool: Tool) -> None:
    name = orders.application.name
    orders.apply().until_ready()
    assert "suspended" in tool("suspend", name).stdout
    assert "was already suspended" in tool("suspend", name).stdout
    result = tool("rotate", name, "--wait", "--timeout", "1h")
    assert result.exit_code == 2
    resume = f"rotated-secrets resume -n {orders.application.namespace} {name}"
    assert f"is suspended, so no rotation was requested; run {resume} first" in result.stderr
    assert not orders.read()["metadata"].get("annotations")
    assert items(tool("resume", name, "-o", "json")) == [
        {"namespace": orders.application.namespace, "name": name, "suspended": False}
    ]
    assert tool("rotate", name, "--wait").exit_code == 0


def test_what_is_held_is_told_with_its_reason(orders: Applied, tool: Tool) -> None:
    orders.apply(adminSecretId="somebody/elses").until("Ready", "False", "AccessDenied")
    result = tool("rotate", orders.application.name, "--wait", "-o", "json")
    assert result.exit_code == 2
    (answer,) = items(result)
    assert answer["outcome"] == "Held"
    assert "AccessDenied" in answer["message"]
    assert " AccessDenied\n" in tool("list", orders.application.name).stdout


def test_an_attempt_that_fails_is_told_and_waited_for_no_longer_than_asked(orders: Applied, tool: Tool) -> None:
    application = orders.application
    client = application.store.client()
    admin = json.loads(client.get_secret_value(SecretId=application.admin_secret_id)["SecretString"])
    client.put_secret_value(SecretId=application.admin_secret_id, SecretString=json.dumps(admin | {"port": 1}))
    orders.apply().until_ready()
    result = tool("rotate", application.name, "--wait", "--timeout", "1s", "-o", "json")
    assert result.exit_code == 1
    assert items(result)[0]["outcome"] == "TimedOut"
    orders.until("Rotated", "False", "CreateFailed")
    (past,) = items(tool("history", application.name, "-o", "json"))
    (attempt,) = past["history"]
    assert (attempt["outcome"], attempt["step"]) == ("Failed", "CreateSecret")
    assert attempt["message"].startswith("the admin secret is for")
    assert "retries (2/3)" in tool("list", application.name).stdout


def test_a_look_finds_at_once_what_would_be_found_in_minutes(orders: Applied, tool: Tool) -> None:
    """A database user that was mended by hand moves nothing in the store, so nothing else tells of it."""
    application, name = orders.application, orders.application.name
    application.put_value(password="no-password-of-anybody")
    orders.apply().until("Ready", "False", "LoginFailed")
    result = tool("resync", name, "--wait")
    assert result.exit_code == 1
    assert "is not Ready, LoginFailed" in result.stderr
    password = SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(application.user), Literal("no-password-of-anybody"))
    orders.stack.database.sql(password, logged=False)
    result = tool("resync", name, "--wait")
    assert result.exit_code == 0, result.output
    assert "was checked and is Ready" in result.stdout
    assert orders.condition("Ready")["status"] == "True"
    assert orders.secret() is not None


def test_a_version_that_somebody_moved_is_delivered_when_the_look_has_ended(orders: Applied, tool: Tool) -> None:
    application, name = orders.application, orders.application.name
    orders.apply().until_ready()
    application.put_value(team="of another name")
    assert tool("resync", name, "--wait").exit_code == 0
    held = orders.secret()
    assert held is not None
    assert held["team"] == "of another name"
    assert not orders.status.get("history")


def test_kubectl_runs_and_completes_the_plugin(orders: Applied, environment: dict[str, str], home: str) -> None:
    name = orders.application.name
    orders.apply().until_ready()

    def kubectl(*arguments: str) -> str:
        command = [str(BIN / "kubectl"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout

    listed = kubectl("rotatedsecret", "list", name, "-n", home)
    assert " ".join(listed.splitlines()[0].split()) == "NAME READY STRATEGY ENGINE ACTIVE USER LAST NEXT STATE"
    assert "\x1b" not in listed
    offered = kubectl("__complete", "rotatedsecret", "describe", "-n", home, name[:-1])
    assert offered.splitlines() == [f"{name}\tAlternatingUsers", ":4"]


def test_waiting_in_vain_ends_by_time_by_the_person_and_by_deletion(
    make_application: MakeApplication, cluster: Cluster, namespace: str
) -> None:
    """In a namespace that no operator serves."""
    applied = make_application()
    path = f"/apis/rotatedsecrets.io/v1alpha1/namespaces/{namespace}/rotatedsecrets"
    manifest = applied.application.manifest()
    manifest["metadata"]["namespace"] = namespace
    applied.api.create(path, manifest)
    name = applied.application.name

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main.app, [*arguments, "-n", namespace, "--kubeconfig", str(cluster.kubeconfig)])

    result = run("rotate", name, "--wait", "--timeout", "0.5")
    assert result.exit_code == 1
    assert "was not picked up in 0.5 s; is an operator running that serves namespace" in result.stderr

    whose = ["-n", namespace, "--kubeconfig", str(cluster.kubeconfig)]
    # A shell that starts the tests in the background has them ignore interrupts, and what they start too.
    by_a_person = ["env", "--default-signal=INT"]
    command = [*by_a_person, str(BIN / "rotated-secrets"), "rotate", name, "--wait", *whose]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert "rotation requested" in process.stderr.readline()
        eventually(lambda: interrupted(process), "the command ends when it is interrupted", seconds=60)
        assert "is no longer waited for; the request continues" in process.stderr.read()
    assert process.returncode == 130

    def delete_once_asked() -> None:
        first = applied.api.get(f"{path}/{name}")["metadata"]["annotations"]
        eventually(lambda: applied.api.get(f"{path}/{name}")["metadata"]["annotations"] != first, "it is asked again")
        applied.api.delete(f"{path}/{name}")

    deleting = threading.Thread(target=delete_once_asked)
    deleting.start()
    result = run("rotate", name, "--wait", "-o", "json")
    deleting.join()
    assert result.exit_code == 1
    assert items(result)[0]["outcome"] == "Deleted"


def interrupted(process: subprocess.Popen[str]) -> bool:
    """As by a person, who types it again: Python loses an interrupt that comes while it removes an object."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        return False
    return True


def test_what_is_not_there_or_not_allowed_is_told(orders: Applied, tool: Tool) -> None:
    name = orders.application.name
    orders.apply()
    result = tool("describe", name + "x")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert f"there is no RotatedSecret {name}x in namespace" in result.stderr
    assert f"did you mean {name}?" in result.stderr
    result = tool("list", namespace="default")
    assert result.exit_code == 1
    assert "you may not list rotatedsecrets in namespace default" in result.stderr
