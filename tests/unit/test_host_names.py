"""A host is one text, however a person writes it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotated_secrets.databases.base import Server, Tls
from rotated_secrets.databases.redis import RedisEngine
from rotated_secrets.host_names import host_name
from rotated_secrets.values import Credential, SecretValue

SPELLINGS = [
    ("DB.Example.COM", "db.example.com"),
    ("db.example.com.", "db.example.com."),
    ("xn--BCHER-KVA.example", "xn--bcher-kva.example"),
    ("10.1.2.3", "10.1.2.3"),
    ("2001:DB8:0:0::1", "2001:db8::1"),
    ("[2001:db8::1]", "2001:db8::1"),
]


@pytest.mark.parametrize(("written", "name"), SPELLINGS)
def test_host_of_a_value_is_written_in_one_way(written: str, name: str) -> None:
    fields = {"engine": "redis", "host": written, "username": "u", "password": "p", "nodes": f"{written},other"}
    credential = Credential.of(SecretValue.parse(json.dumps(fields)))
    assert credential.host == name
    assert RedisEngine().hosts(credential) == ((name, 6379), ("other", 6379))


@pytest.mark.parametrize(
    "text", ["[10.1.2.3]", "[db.example]", "[::1", "::1]", "[::1]:5432", " ::1", "db\n", "é.example"]
)
def test_what_is_no_host_does_not_become_one(text: str) -> None:
    assert host_name(text) == text


def test_further_hosts_of_a_value_are_written_in_the_same_way() -> None:
    nodes = ["Other-2:7000", "[2001:DB8::9]:7001", "2001:DB8::A", "OTHER-2:7000"]
    fields = {"engine": "redis", "host": "one", "username": "u", "password": "p", "nodes": nodes}
    others = (("other-2", 7000), ("2001:db8::9", 7001), ("2001:db8::a", 6379))
    assert RedisEngine().hosts(Credential.of(SecretValue.parse(json.dumps(fields)))) == (("one", 6379), *others)


@given(st.text(max_size=20) | st.ip_addresses().map(str) | st.ip_addresses(v=6).map(lambda address: f"[{address}]"))
def test_one_way_to_write_it_is_its_own(text: str) -> None:
    once = host_name(text)
    assert host_name(once) in (once, once.lower())


@pytest.mark.parametrize(("written", "verified"), [("db.example.", "db.example"), ("db.example", "db.example")])
def test_certificate_is_verified_for_the_name_without_its_last_dot(written: str, verified: str) -> None:
    server = Server(written, ("10.1.2.3",), 5432, Tls())
    assert (server.host, str(server)) == (verified, f"{verified}:5432")
