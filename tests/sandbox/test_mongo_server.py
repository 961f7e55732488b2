"""The sandbox's MongoDB is a server to try rotations on: encrypted or not, logging everything, gone at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError, ServerSelectionTimeoutError

from sandbox.mongo import Document, MongoServer, mongo_server
from sandbox.mongo_packages import ensure_mongo
from sandbox.servers import ServerStartError
from sandbox.tls import CertificateAuthority

QUICK: dict[str, Any] = {"serverSelectionTimeoutMS": 300}
STARTER = """
import time
from sandbox.mongo import mongo_server
with mongo_server() as server:
    print(server.data, server.port, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[MongoServer]:
    with mongo_server(tls="preferTLS") as running:
        yield running


def answers(server: MongoServer) -> bool:
    with server.client(**QUICK) as client:
        try:
            client.admin.command("ping")
        except ServerSelectionTimeoutError:
            return False
        return True


def gone(path: Path, seconds: float = 15.0) -> bool:
    until = time.monotonic() + seconds
    while path.exists() and time.monotonic() < until:
        time.sleep(0.02)
    return not path.exists()


def test_installing_what_is_installed_is_quick_and_says_where_it_is() -> None:
    began = time.monotonic()
    assert ensure_mongo().startswith("MongoDB 6.")
    assert time.monotonic() - began < 2


def test_it_is_mongodb_and_takes_logins_with_and_without_tls(server: MongoServer) -> None:
    assert server.command({"buildInfo": 1})["version"].startswith("6.")
    with server.client(tls=False, tlsCAFile=None) as client:
        assert client.admin.command("ping")["ok"] == 1


def test_nobody_does_anything_without_a_login(server: MongoServer) -> None:
    stranger: MongoClient[Document] = MongoClient(server.host, server.port, directConnection=True)
    with stranger as client:
        with pytest.raises(OperationFailure, match="requires authentication"):
            client.admin.command({"usersInfo": 1})
        with pytest.raises(OperationFailure, match="requires authentication"):
            client.admin.command({"createUser": "intruder", "pwd": "x", "roles": ["root"]})
    with (
        pytest.raises(OperationFailure, match="Authentication failed"),
        server.client(server.admin_user, "wrong") as client,
    ):
        client.admin.command("ping")


def test_its_certificate_is_of_the_authority_that_was_asked_for(server: MongoServer) -> None:
    stranger = server.data.parent / "stranger.pem"
    stranger.write_text(CertificateAuthority.create().certificate)
    with (
        server.client(tlsCAFile=str(stranger), **QUICK) as client,
        pytest.raises(PyMongoError, match="certificate verify failed"),
    ):
        client.admin.command("ping")


def test_commands_are_in_its_log_and_the_admins_password_is_not(server: MongoServer) -> None:
    server.command({"find": "marked_by_a_test"})
    assert "marked_by_a_test" in server.log()
    assert server.admin_password not in server.log()


def test_it_comes_back_with_its_data_after_a_stop_and_after_a_crash(server: MongoServer) -> None:
    for number, outage in enumerate((server.stop, server.kill)):
        kept = {"insert": "kept", "documents": [{"_id": number}], "writeConcern": {"j": True}}
        server.command(kept, "shop")
        outage()
        assert not answers(server)
        server.start()
        assert server.command({"count": "kept", "query": {"_id": {"$gte": 0}}}, "shop")["n"] == number + 1


def test_it_can_have_no_tls_at_all_and_nothing_of_it_is_left_at_the_end() -> None:
    with mongo_server(tls="disabled") as running:
        assert running.ca_pem is None
        assert answers(running)
        directory = running.data.parent
        assert directory.exists()
    assert not directory.exists()
    assert not answers(running)


def test_an_argument_that_it_does_not_know_is_told_with_what_the_server_said() -> None:
    with pytest.raises(ServerStartError, match="noSuchArgument"), mongo_server(arguments=("--noSuchArgument",)):
        pass


def processes_in(folder: Path) -> list[str]:
    """Processes whose working directory is or was in there."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if str(place.readlink()).startswith(str(folder)):
                found.append(place.parent.name)
    return found


def test_a_killed_starter_leaves_no_server_and_no_directory() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTER],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as starter:
        assert starter.stdout is not None
        data, _ = starter.stdout.readline().split()
        assert processes_in(Path(data))
        starter.send_signal(signal.SIGKILL)
        starter.wait()
    assert gone(Path(data).parent)
    assert not processes_in(Path(data).parent)
