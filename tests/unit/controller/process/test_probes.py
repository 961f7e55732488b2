"""Probes over real HTTP, which are answered even when the event loop is blocked."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from rotated_secrets.controller.process.probes import LONGEST_LAG, CannotServe, Heartbeat, Probes


@pytest.fixture
def wrong() -> dict[str, str | None]:
    return {"loop": None, "watch": None, "ready": "not listed yet"}


@pytest.fixture(params=["127.0.0.1", "::1"])
def served(request: pytest.FixtureRequest, wrong: dict[str, str | None]) -> Iterator[str]:
    server = Probes(
        request.param,
        0,
        health={"event loop": lambda: wrong["loop"], "watch": lambda: wrong["watch"]},
        readiness={"start": lambda: wrong["ready"]},
        facts={"leads": lambda: "yes"},
        metrics=CollectorRegistry(),
    )
    server.start()
    host = f"[{request.param}]" if ":" in request.param else request.param
    yield f"http://{host}:{server.port}"
    server.stop()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_health_shows_what_is_wrong(served: str, wrong: dict[str, str | None]) -> None:
    assert get(f"{served}/healthz") == (200, "event loop: ok\nwatch: ok\n(leads: yes)\n")
    wrong["watch"] = "has ended"
    assert get(f"{served}/healthz") == (503, "event loop: ok\nwatch: has ended\n(leads: yes)\n")


def test_readiness_and_health_are_checked_separately(served: str, wrong: dict[str, str | None]) -> None:
    assert get(f"{served}/readyz")[0] == 503
    wrong["ready"] = None
    assert get(f"{served}/readyz")[0] == 200


def test_blocked_event_loop_is_reported() -> None:
    now = 100.0
    heartbeat = Heartbeat(lambda: now)
    now += LONGEST_LAG
    assert heartbeat.check() is None
    now += 2
    assert heartbeat.check() == "the event loop has been blocked for 31 s"


def test_port_is_taken_until_the_probes_stop_and_free_then() -> None:
    def make(port: int) -> Probes:
        nothing = CollectorRegistry()
        return Probes("127.0.0.1", port, health={}, readiness={}, facts={}, metrics=nothing)

    first = make(0)
    first.start()
    port = first.port
    with pytest.raises(CannotServe, match="set --probe-port"):
        make(port)
    first.stop()
    second = make(port)
    assert second.port == port
    second.start()
    second.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_probes_are_served_at_once_after_a_restart_in_the_same_pod(host: str) -> None:
    """The process before has answered requests: the kernel keeps its ends of their connections for a minute."""

    def make(port: int) -> Probes:
        return Probes(host, port, health={}, readiness={}, facts={}, metrics=CollectorRegistry())

    first = make(0)
    first.start()
    with socket.create_connection((host, first.port), timeout=5) as client:
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        while client.recv(4096):
            pass  # until the server has closed its end, which is then in TIME_WAIT
    first.stop()
    second = make(first.port)
    second.start()
    second.stop()


def test_path_that_is_not_served_is_answered_with_those_that_are(served: str) -> None:
    status, text = get(f"{served}/nothing")
    assert status == 404
    assert "/healthz" in text
    assert "/metrics" in text
