"""Hosts that a tenant may not have the operator connect to."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from rotated_secrets.databases.base import Refused, Unavailable
from rotated_secrets.databases.hosts import (
    LOOKUP_SECONDS,
    MOST_ADDRESSES,
    ApiServer,
    HostRules,
    Lookups,
    api_servers,
    look_up,
    resolve,
)

NONE = HostRules()


@pytest.mark.parametrize("host", ["db.shop.example", "db", "my_db.internal", "db.example.", "xn--bcher-kva.example"])
def test_a_name_becomes_its_addresses(host: str) -> None:
    assert resolve(host, 5432, NONE, lambda name: ("10.1.2.3", "2001:db8::7")) == ("10.1.2.3", "2001:db8::7")


@pytest.mark.parametrize(
    "host", ["10.1.2.3", "172.16.0.9", "192.168.1.1", "100.64.0.1", "8.8.8.8", "fd12:3456::1", "64:ff9b:1::a01:203"]
)
def test_an_address_is_itself_and_asks_no_resolver(host: str) -> None:
    def fail(name: str) -> tuple[str, ...]:
        raise AssertionError(name)

    assert resolve(host, 5432, NONE, fail) == (host,)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a,b",
        "db.example:5432",
        "postgresql://db.example",
        "/var/run/postgresql",
        "@abstract",
        "db example",
        "db\n.example",
        "db.example\n",
        "[::1]",
        "user@db.example",
        "db..example",
        "-db.example",
        "é.example",
        "a" * 64 + ".example",
        "a." * 127 + "example",
        "host=db",
        "db.example hostaddr=127.0.0.1",
    ],
)
def test_what_is_not_one_name_or_address_is_refused_without_asking(host: str) -> None:
    def fail(name: str) -> tuple[str, ...]:
        raise AssertionError(name)

    with pytest.raises(Refused, match="one DNS name or one address"):
        resolve(host, 5432, NONE, fail)


FORBIDDEN = [
    ("127.0.0.1", "loopback"),
    ("127.255.0.9", "loopback"),
    ("::1", "loopback"),
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "unspecified"),
    ("::", "unspecified"),
    ("169.254.169.254", "link-local"),
    ("169.254.170.2", "link-local"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "link-local"),
    ("fd00:ec2::254", "metadata"),
    ("fd00:ec2::23", "metadata"),
    ("fd20:ce::254", "metadata"),
    ("168.63.129.16", "metadata"),
    ("100.100.100.200", "metadata"),
    ("192.0.0.192", "metadata"),
    ("224.0.0.1", "multicast"),
    ("ff02::1", "multicast"),
    ("255.255.255.255", "reserved"),
    ("250.1.1.1", "reserved"),
    ("fec0::1", "site-local"),
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:169.254.169.254", "link-local"),
    ("::ffff:7f00:1", "loopback"),
    ("::127.0.0.1", "loopback"),
    ("64:ff9b::169.254.169.254", "link-local"),
    ("64:ff9b::7f00:1", "loopback"),
    ("64:ff9b:1::a9fe:a9fe", "link-local"),
    ("64:ff9b:1:7f00:0:100::", "loopback"),
    ("::ffff:0:169.254.169.254", "link-local"),
    ("2002:7f00:1::", "loopback"),
    ("2002:a9fe:a9fe::1", "link-local"),
]


@pytest.mark.parametrize(("address", "kind"), FORBIDDEN)
def test_local_and_metadata_addresses_are_refused_in_every_spelling(address: str, kind: str) -> None:
    with pytest.raises(Refused, match=kind):
        resolve(address, 5432, NONE)
    with pytest.raises(Refused, match=kind):
        resolve("db.example", 5432, NONE, lambda name: (address,))


def test_one_forbidden_address_among_others_is_enough() -> None:
    with pytest.raises(Refused, match="loopback"):
        resolve("db.example", 5432, NONE, lambda name: ("10.0.0.1", "127.0.0.1"))


@pytest.mark.parametrize("spelling", ["127.1", "2130706433", "0x7f000001", "017700000001", "localhost"])
def test_what_the_resolver_makes_of_odd_spellings_is_looked_at(spelling: str) -> None:
    with pytest.raises(Refused, match="loopback"):
        resolve(spelling, 5432, NONE)


@pytest.mark.parametrize(
    "spelling", ["169.254.43518", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "0xa9.254.0xa9.0376"]
)
def test_the_metadata_address_is_refused_in_numbers_too(spelling: str) -> None:
    with pytest.raises(Refused, match="link-local"):
        resolve(spelling, 80, NONE)


@pytest.mark.parametrize("host", [" db.example", "db.example\n", "é.example", "db.example:5432"])
def test_refusal_of_a_host_says_how_it_is_written(host: str) -> None:
    with pytest.raises(Refused, match=r"without port, scheme, comma, space or line break, and in ASCII: .*, xn--…"):
        resolve(host, 5432, NONE)


def test_final_dot_of_a_name_is_kept_for_the_resolver_which_then_adds_no_domain() -> None:
    asked: list[str] = []

    def look_up(name: str) -> tuple[str, ...]:
        asked.append(name)
        return ("10.1.2.3",)

    resolve("db.example.", 5432, NONE, look_up)
    assert asked == ["db.example."]


def test_of_a_name_with_thousands_of_addresses_the_first_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes memory in the operator and in the cell, for each of a hundred hosts that a value may name."""

    def getaddrinfo(*_: object, **__: object) -> list[Any]:
        addresses = [f"10.0.{number // 250}.{number % 250}" for number in range(4000)]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses for _ in range(2)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert look_up("many.example") == tuple(f"10.0.0.{number}" for number in range(MOST_ADDRESSES))
    assert len(resolve("many.example", 5432, NONE)) == MOST_ADDRESSES


class SlowDns:
    """Takes its time for each name, by a clock of its own."""

    def __init__(self, seconds: float) -> None:
        self.now, self.asked = 0.0, list[str]()
        self._seconds = seconds

    def look_up(self, name: str) -> tuple[str, ...]:
        self.asked.append(name)
        self.now += self._seconds
        return ("10.1.2.3",)


def test_slow_dns_holds_a_run_for_a_limited_time() -> None:
    dns = SlowDns(LOOKUP_SECONDS / 2.5)
    lookups = Lookups(dns.look_up, lambda: dns.now)
    for number in range(3):
        assert lookups.resolve(f"db-{number}.example", 6379, NONE) == ("10.1.2.3",)
    with pytest.raises(Unavailable, match="DNS takes longer than 20 s for the hosts in the secret value; check"):
        lookups.resolve("db-3.example", 6379, NONE)
    assert len(dns.asked) == 3


def test_each_name_of_a_run_is_looked_up_once() -> None:
    dns = SlowDns(0.1)
    lookups = Lookups(dns.look_up, lambda: dns.now)
    assert [lookups.resolve("db.example", port, NONE) for port in (1, 2)] == [("10.1.2.3",)] * 2
    assert dns.asked == ["db.example"]


def test_an_allowed_network_lets_in_what_is_refused_otherwise() -> None:
    rules = HostRules.of(allowed=("127.0.0.0/8",))
    assert resolve("127.0.0.1", 5432, rules) == ("127.0.0.1",)
    assert resolve("::ffff:127.0.0.1", 5432, rules) == ("::ffff:7f00:1",)
    with pytest.raises(Refused, match="link-local"):
        resolve("169.254.169.254", 5432, rules)


def test_a_denied_network_is_refused_even_where_it_is_allowed() -> None:
    rules = HostRules.of(allowed=("10.0.0.0/8",), denied=("10.96.0.1/32",))
    assert resolve("10.96.0.2", 5432, rules) == ("10.96.0.2",)
    for spelling in ("10.96.0.1", "::ffff:10.96.0.1", "64:ff9b::10.96.0.1"):
        with pytest.raises(Refused, match="deny"):
            resolve(spelling, 5432, rules)


def test_a_name_without_address_is_unavailable() -> None:
    def unknown(name: str) -> tuple[str, ...]:
        raise OSError(name)

    with pytest.raises(Unavailable, match="does not resolve"):
        resolve("db.example", 5432, NONE, unknown)
    with pytest.raises(Unavailable, match="does not resolve"):
        resolve("db.example", 5432, NONE, lambda name: ())


def test_the_refusal_does_not_tell_what_a_name_resolves_to() -> None:
    with pytest.raises(Refused) as refused:
        resolve("db.example", 5432, HostRules.of(denied=("10.96.0.1/32",)), lambda name: ("10.96.0.1",))
    assert "10.96" not in str(refused.value)


API = ApiServer("10.96.0.1", 443)


def lookup(name: str) -> tuple[str, ...]:
    return {"api.example": ("10.0.0.7", "10.0.0.8"), "db.example": ("10.0.0.9", "10.0.0.8")}[name]


@pytest.mark.parametrize("host", ["10.96.0.1", "::ffff:10.96.0.1", "64:ff9b::10.96.0.1", "0x0a600001"])
@pytest.mark.parametrize("port", [443, 5432])
def test_the_api_server_is_refused_at_every_port_in_every_spelling(host: str, port: int) -> None:
    with pytest.raises(Refused, match="the Kubernetes API server"):
        resolve(host, port, HostRules(api_servers=(API,)))


@pytest.mark.parametrize(
    "host",
    [
        "kubernetes.default",
        "kubernetes.default.svc",
        "Kubernetes.Default.SVC.",
        "kubernetes.default.svc.cluster.local",
        "kubernetes.default.svc.eu.example",
    ],
)
def test_the_api_server_is_known_by_its_names_too(host: str) -> None:
    with pytest.raises(Refused, match="the Kubernetes API server"):
        resolve(host, 443, HostRules.of(allowed=("0.0.0.0/0",)), lambda name: ("10.96.0.1",))


def test_a_service_that_is_only_called_alike_is_not_the_api_server() -> None:
    assert resolve("kubernetes.defaults.svc", 5432, NONE, lambda name: ("10.1.2.3",)) == ("10.1.2.3",)
    assert resolve("db.kubernetes.default", 5432, NONE, lambda name: ("10.1.2.3",)) == ("10.1.2.3",)


def test_every_address_of_the_api_server_is_refused_and_one_among_others_is_enough() -> None:
    rules = HostRules(api_servers=(ApiServer("api.example", 6443),))
    for host in ("api.example", "10.0.0.7", "10.0.0.8", "db.example"):
        with pytest.raises(Refused, match="the Kubernetes API server"):
            resolve(host, 5432, rules, lookup)
    assert resolve("10.0.0.9", 5432, rules, lookup) == ("10.0.0.9",)


def test_an_allowed_network_lets_in_what_else_is_on_the_api_servers_machine_and_never_the_api_server() -> None:
    rules = HostRules.of(allowed=("127.0.0.0/8",), api_servers=(ApiServer("127.0.0.1", 6443),))
    assert resolve("127.0.0.1", 5432, rules) == ("127.0.0.1",)
    for spelling in ("127.0.0.1", "::ffff:127.0.0.1", "localhost", "2130706433"):
        with pytest.raises(Refused, match="the Kubernetes API server"):
            resolve(spelling, 6443, rules)


@pytest.mark.parametrize(
    ("port", "rules", "remedy"),
    [
        (5432, HostRules(api_servers=(API,)), "that machine, have its network added to --allowed-networks"),
        (443, HostRules(api_servers=(API,)), "correct the host"),
        (5432, HostRules.of(denied=("10.96.0.0/16",), api_servers=(API,)), "removed from --denied-networks"),
    ],
)
def test_the_refusal_says_what_would_let_a_database_in(port: int, rules: HostRules, remedy: str) -> None:
    with pytest.raises(Refused) as refused:
        resolve("10.96.0.1", port, rules)
    assert str(refused.value).endswith(remedy)


def test_an_api_server_whose_name_does_not_resolve_stands_in_nobodys_way() -> None:
    rules = HostRules(api_servers=(ApiServer("gone.example", 6443),))

    def gone(name: str) -> tuple[str, ...]:
        raise OSError(name)

    assert resolve("10.0.0.9", 5432, rules, gone) == ("10.0.0.9",)


@pytest.mark.parametrize(
    ("url", "environment", "found"),
    [
        ("https://10.96.0.1:443", {}, [("10.96.0.1", 443)]),
        ("https://[fd00::1]:6443", {}, [("fd00::1", 6443)]),
        ("https://api.example/k8s/clusters/c-1", {}, [("api.example", 443)]),
        ("http://127.0.0.1:8001", {}, [("127.0.0.1", 8001)]),
        ("localhost:8080", {}, [("localhost", 8080)]),
        ("https://10.96.0.1:443", {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, [("10.96.0.1", 443)]),
        (
            "https://api.example:6443",
            {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6444"},
            [("api.example", 6443), ("fd00::1", 6444)],
        ),
    ],
)
def test_the_api_server_is_where_the_operator_and_the_pod_are_told(
    url: str, environment: dict[str, str], found: list[tuple[str, int]]
) -> None:
    assert [(each.host, each.port) for each in api_servers(url, environment)] == found


@pytest.mark.parametrize("number", ["3232235777", "0xc0a80101", "192.168.257", "db.3232235777"])
def test_number_that_a_resolver_takes_for_an_address_is_no_host_and_not_repeated(number: str) -> None:
    """It may be a password of digits."""
    with pytest.raises(Refused, match="one DNS name or one address") as refused:
        resolve(number, 5432, NONE, lambda name: ("192.168.1.1",))
    assert number not in str(refused.value)
    with pytest.raises(Refused, match="loopback") as refused:
        resolve(number, 5432, NONE, lambda name: ("127.0.0.1",))
    assert number not in str(refused.value)


def test_name_that_does_not_resolve_is_not_repeated() -> None:
    with pytest.raises(Unavailable) as raised:
        resolve("hunter2.example", 5432, NONE, lambda name: ())
    assert "hunter2" not in str(raised.value)
