"""What the README says to type, typed: from nothing to Ready, with the sandbox where AWS and the database are.

Only two things differ from a reader's machine: ``aws`` is the part of it that the README uses, over boto3, and Helm is
given values that say where the sandbox is. The pods that nobody starts here are run as their Deployments say.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
import yaml

from sandbox.helm_packages import helm_program
from sandbox.installation import Installation, sandbox_values
from sandbox.kubernetes.provider import Choice, Provider, running_cluster
from sandbox.stack import CRD_NAME, ROOT, Stack, running_stack
from sandbox.waiting import eventually
from tests.support.documents import blocks

README = ROOT / "README.md"
NOT_RUN = "# not run by the tests"
NAMESPACE, RELEASE, RESOURCE = "rotated-secrets", "rotated-secrets", "orders-db"
BIN = Path(sys.executable).parent


def shell(*, after: str, before: str) -> list[str]:
    """The README's commands between two headings that the tests are to run."""
    text = README.read_text()
    section = text[text.index(after) : text.index(before)]
    found = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return [each for each in found if not each.startswith(NOT_RUN)]


@contextmanager
def empty_cluster(choice: Choice) -> Iterator[Stack]:
    """The sandbox beside a cluster that has never heard of us."""
    with running_cluster(choice) as cluster, running_stack(cluster) as stack:
        cluster.kubectl("delete", "crd", CRD_NAME)
        yield stack


class Reader:
    """Somebody who types what they read, in a folder of their own."""

    def __init__(self, stack: Stack, folder: Path, values: object) -> None:
        self.folder, self._stack = folder, stack
        self._tools = folder / "tools"
        self._tools.mkdir()
        (self._tools / "values.yaml").write_text(yaml.safe_dump(values))
        self._tool("aws", f'exec {sys.executable} {ROOT / "tests" / "support" / "awscli.py"} "$@"')
        self._tool("helm", f'exec {helm_program()} "$@" --values {self._tools / "values.yaml"}')
        for name in ("charts", "examples"):
            (folder / name).symlink_to(ROOT / name)

    def _tool(self, name: str, line: str) -> None:
        (self._tools / name).write_text(f"#!/bin/sh\n{line}\n")
        (self._tools / name).chmod(0o755)

    def types(self, *commands: str, answers: str = "") -> str:
        """One after the other in one shell, until one fails, which is an error; returns what they print."""
        at_sandbox = self._stack.store.environment() | self._stack.cluster.environment()
        at_sandbox |= {f"HELM_{kind}_HOME": str(self._tools / kind) for kind in ("CACHE", "CONFIG", "DATA")}
        path = f"{self._tools}:{BIN}:{os.environ['PATH']}"
        typed = "set -euo pipefail\n" + "\n".join(commands)
        done = subprocess.run(
            ["bash", "-c", typed],
            cwd=self.folder,
            env=os.environ | at_sandbox | {"PATH": path},
            input=answers,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout


@contextmanager
def pods_of_the_operator(stack: Stack, folder: Path) -> Iterator[None]:
    with Installation(stack, RELEASE, NAMESPACE, "").operator(folder / "operator.log") as operator:
        operator.wait_until_it_leads()
        yield


def test_the_readme_leads_from_nothing_to_ready(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    choice = Choice.make(pytestconfig.getoption("--kubernetes"))
    with empty_cluster(choice) as stack:
        reader = Reader(stack, tmp_path, sandbox_values(stack))
        (tmp_path / "ca.pem").write_text(stack.authority.certificate)
        store = stack.store
        keys = f"AWS_ACCESS_KEY_ID={store.access_key_id}\nAWS_SECRET_ACCESS_KEY={store.secret_access_key}\n"
        (tmp_path / "aws.env").write_text(keys)
        (resource, pod) = blocks(README, "yaml")
        (tmp_path / "orders-db.yaml").write_text(resource)
        mine, *secrets_and_operator, apply, rotate, annotate = shell(after="## From nothing", before="### To try it")
        assert "DB_HOST=db.example.com DB_PORT=5432 DB_NAME=shop" in mine
        mine = mine.replace("db.example.com", "127.0.0.1").replace("5432", str(stack.database_proxy.port))

        superuser = stack.database
        superuser.sql("CREATE ROLE orders LOGIN PASSWORD 'first'", "CREATE DATABASE shop OWNER orders")
        (statements,) = blocks(README, "sql")
        superuser.sql(*re.sub(r"--.*", "", statements.partition("\\password")[0]).split(";")[:-1])
        superuser.sql("ALTER ROLE rotator PASSWORD 'second'")  # what \password does

        reader.types(mine, *secrets_and_operator, answers="first\nsecond\n")
        with pods_of_the_operator(stack, tmp_path):
            said = reader.types(apply)
            assert re.search(r"^orders-db +True +OK +AlternatingUsers +postgres +orders ", said, re.MULTILINE), said
            said = reader.types(rotate)
            assert "orders_clone" in said
            (mounted,) = yaml.safe_load(pod)["spec"]["volumes"]
            assert logs_in(stack, mounted["secret"]["secretName"]) == "orders_clone"
            reader.types(annotate)
            eventually(lambda: logs_in(stack, mounted["secret"]["secretName"]) == "orders", "the Secret has moved on")


def test_the_example_for_kind_becomes_ready_and_rotates(tmp_path: Path) -> None:
    with empty_cluster(Choice.make(Provider.EMBEDDED)) as stack:
        aws = {"endpointUrl": stack.store_proxy.endpoint_url, "stsEndpointUrl": stack.store_proxy.endpoint_url}
        reader = Reader(stack, tmp_path, {"aws": aws, "databases": {"allowedNetworks": ["127.0.0.0/8"]}})
        written = {
            (each["kind"], each["metadata"]["name"]): each
            for each in yaml.safe_load_all((ROOT / "examples" / "kind" / "stand-ins.yaml").read_text())
        }
        stand_ins, rest = shell(after="### To try it", before="## Engines")
        helm, resource, *wait_and_rotate = rest.splitlines(keepends=True)
        reader.types(stand_ins)

        users = written["ConfigMap", "postgres-users"]["data"]["users.sql"]
        stack.database.sql(*(each for each in users.split(";") if each.strip()))
        database = f'"127.0.0.1", "port": {stack.database_proxy.port},'
        for name, text in written["ConfigMap", "secrets-at-first"]["data"].items():
            moved = text.replace('"postgres.shop.svc", "port": 5432,', database)
            assert moved != text
            (tmp_path / name).write_text(moved)
        (container,) = written["Pod", "create-secrets"]["spec"]["containers"]
        (script,) = container["args"]
        reader.types(script.replace("file:///secrets/", f"file://{tmp_path}/"))

        reader.types(helm)
        with pods_of_the_operator(stack, tmp_path):
            reader.types(resource, *wait_and_rotate)
        assert logs_in(stack, RESOURCE) == "orders_clone"


def logs_in(stack: Stack, secret: str) -> str:
    """Who a pod is that mounts this Secret and logs in with it."""
    held = stack.cluster.kubectl("-n", "shop", "get", "secret", secret, "-o", "json").stdout
    data = {key: base64.b64decode(each).decode() for key, each in json.loads(held)["data"].items()}
    with psycopg2.connect(data["DATABASE_URL"]) as session, session.cursor() as cursor:
        cursor.execute("SELECT session_user")
        (found,) = cursor.fetchone() or ("",)
    session.close()
    return str(found)


def test_every_command_is_run_or_says_why_not() -> None:
    run = {*shell(after="## From nothing", before="### To try it"), *shell(after="### To try it", before="## Engines")}
    for command in blocks(README, "sh"):
        targets = re.findall(r"^make ([a-z-]+)", command, re.MULTILINE)
        known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert command in run or command.startswith(NOT_RUN) or (targets and set(targets) <= known), command
