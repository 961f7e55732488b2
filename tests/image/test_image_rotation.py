"""The operator as it is shipped: a whole rotation by a container that can write nowhere and gain nothing."""

from __future__ import annotations

import errno
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.application import create_application
from sandbox.installation import operator_rules
from sandbox.kubernetes.provider import Cluster
from sandbox.stack import Stack, running_stack
from sandbox.waiting import eventually
from tests.e2e.conftest import IMPATIENT
from tests.support.applied import Applied, as_delivered
from tests.support.containers import MOUNTED, Container, Image


@pytest.fixture
def stack(cluster: Cluster) -> Iterator[Stack]:
    with running_stack(cluster) as running:
        yield running


@pytest.fixture
def operator(image: Image, cluster: Cluster, stack: Stack, namespace: str, tmp_path: Path) -> Iterator[Container]:
    """With the rights that an operator has, where the cluster enforces any."""
    files = {
        "kubeconfig": cluster.operator_kubeconfig(operator_rules(), namespace).read_text(),
        "ca.pem": stack.ca_file.read_text(),
    }
    where = ["--kubeconfig", f"{MOUNTED}/kubeconfig", "--namespaces", namespace, "--lease-namespace", namespace]
    flags = [*stack.operator_flags(), "--database-ca-file", f"{MOUNTED}/ca.pem", *IMPATIENT]
    probes = ["--probe-host", "127.0.0.1", "--probe-port", "0", "--log-format", "text"]
    variables = {**stack.store.environment(), "AWS_ENDPOINT_URL_STS": stack.store_proxy.endpoint_url}
    log = tmp_path / "operator.log"
    with image.container(["run", *where, *flags, *probes], variables, files, log) as container:
        eventually(lambda: " leads" in container.log() or not container.runs, "it leads", seconds=60)
        assert container.runs, container.log()
        yield container


def test_the_image_rotates_and_ends_when_it_is_told_to(operator: Container, stack: Stack, namespace: str) -> None:
    orders = Applied(create_application(stack, namespace, "orders", database="shop"))
    before = orders.application.value()
    orders.apply().until_ready()
    orders.rotate("in a container", seconds=60)

    after = orders.application.value()
    assert after["username"] == orders.application.clone != before["username"]
    assert orders.secret() == as_delivered(after)
    stack.database.connect(after["username"], after["password"], after["dbname"]).close()
    assert [entry["outcome"] for entry in orders.status["history"]] == ["Succeeded"]

    port = re.search(r"served on port (\d+)", operator.log())
    assert port is not None
    with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/readyz", timeout=5) as answer:
        assert answer.status == 200
    assert operator.stop("TERM") == 0, operator.log()


def test_system_calls_that_a_pod_may_not_make_are_refused(image: Image) -> None:
    code = (
        "import ctypes\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "new_user_namespace = 0x10000000\n"
        "print(libc.unshare(new_user_namespace), ctypes.get_errno())\n"
    )
    assert image.python(code).stdout.split() == ["-1", str(errno.EPERM)]


def test_its_root_filesystem_is_read_only(image: Image) -> None:
    code = (
        "import pathlib\n"
        "for folder in ('/', '/var/tmp', '/opt/rotated-secrets', '/tmp'):\n"
        "    try:\n"
        "        pathlib.Path(folder, 'file').write_text('')\n"
        "    except OSError as error:\n"
        "        print(folder, error.errno)\n"
    )
    assert image.python(code).stdout.split("\n") == ["/ 30", "/var/tmp 30", "/opt/rotated-secrets 30", ""]
