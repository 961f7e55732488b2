"""Hosts that a tenant may not have the operator connect to."""

from __future__ import annotations

import pytest

from rotated_secrets.databases.base import Refused, Unavailable
from rotated_secrets.databases.hosts import HostRules, resolve

NONE = HostRules()


@pytest.mark.parametrize("host", ["db.shop.example", "db", "my_db.internal", "db.example.", "xn--bcher-kva.example"])
def test_a_name_becomes_its_addresses(host: str) -> None:
    assert resolve(host, NONE, lambda name: ("10.1.2.3", "2001:db8::7")) == ("10.1.2.3", "2001:db8::7")


@pytest.mark.parametrize("host", ["10.1.2.3", "172.16.0.9", "192.168.1.1", "100.64.0.1", "8.8.8.8", "fd12:3456::1"])
def test_an_address_is_itself_and_asks_no_resolver(host: str) -> None:
    def fail(name: str) -> tuple[str, ...]:
        raise AssertionError(name)

    assert resolve(host, NONE, fail) == (host,)


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
        resolve(host, NONE, fail)


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
    ("2002:7f00:1::", "loopback"),
    ("2002:a9fe:a9fe::1", "link-local"),
]


@pytest.mark.parametrize(("address", "kind"), FORBIDDEN)
def test_local_and_metadata_addresses_are_refused_in_every_spelling(address: str, kind: str) -> None:
    with pytest.raises(Refused, match=kind):
        resolve(address, NONE)
    with pytest.raises(Refused, match=kind):
        resolve("db.example", NONE, lambda name: (address,))


def test_one_forbidden_address_among_others_is_enough() -> None:
    with pytest.raises(Refused, match="loopback"):
        resolve("db.example", NONE, lambda name: ("10.0.0.1", "127.0.0.1"))


@pytest.mark.parametrize("spelling", ["127.1", "2130706433", "0x7f000001", "017700000001", "localhost"])
def test_what_the_resolver_makes_of_odd_spellings_is_looked_at(spelling: str) -> None:
    with pytest.raises(Refused, match="loopback"):
        resolve(spelling, NONE)


def test_an_allowed_network_lets_in_what_is_refused_otherwise() -> None:
    rules = HostRules.of(allowed=("127.0.0.0/8",))
    assert resolve("127.0.0.1", rules) == ("127.0.0.1",)
    assert resolve("::ffff:127.0.0.1", rules) == ("::ffff:7f00:1",)
    with pytest.raises(Refused, match="link-local"):
        resolve("169.254.169.254", rules)


def test_a_denied_network_is_refused_even_where_it_is_allowed() -> None:
    rules = HostRules.of(allowed=("10.0.0.0/8",), denied=("10.96.0.1/32",))
    assert resolve("10.96.0.2", rules) == ("10.96.0.2",)
    for spelling in ("10.96.0.1", "::ffff:10.96.0.1", "64:ff9b::10.96.0.1"):
        with pytest.raises(Refused, match="deny"):
            resolve(spelling, rules)


def test_a_name_without_address_is_unavailable() -> None:
    def unknown(name: str) -> tuple[str, ...]:
        raise OSError(name)

    with pytest.raises(Unavailable, match="does not resolve"):
        resolve("db.example", NONE, unknown)
    with pytest.raises(Unavailable, match="does not resolve"):
        resolve("db.example", NONE, lambda name: ())


def test_the_refusal_does_not_tell_what_a_name_resolves_to() -> None:
    with pytest.raises(Refused) as refused:
        resolve("db.example", HostRules.of(denied=("10.96.0.1/32",)), lambda name: ("10.96.0.1",))
    assert "10.96" not in str(refused.value)
