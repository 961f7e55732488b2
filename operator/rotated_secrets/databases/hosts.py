"""Which hosts the operator may connect to for a tenant, and at which addresses.

A tenant writes the host into a secret value, and the operator can reach hosts that the tenant must not reach.
It knows names and addresses, no engine and no port's answer.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import islice
from typing import Final, Self
from urllib.parse import urlsplit

from rotated_secrets.databases.base import Refused, Unavailable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Lookup = Callable[[str], tuple[str, ...]]

MOST_ADDRESSES: Final = 64
"""Of one name; no others are checked, or connected to. An answer of DNS may have thousands, for each of many hosts."""
LOOKUP_SECONDS: Final = 20.0
"""After so many for the hosts before it, no further host of a run is looked up: a value may name a hundred of them, and
their DNS server may answer each as slowly as the machine's resolver waits. They hold a place meanwhile."""

_NAME = re.compile(r"(?=.{1,253}\Z)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_-]{1,63}\.?\Z")

_NUMBER = re.compile(r"(?:.*\.)?(?:0[xX][0-9A-Fa-f]*|[0-9]+)\.?")
"""What no DNS name ends in, but resolvers take for an address: ``0x7f000001``, ``127.1``, or a password of digits."""
_NO_HOST = (
    "host in the secret value must be one DNS name or one address, without port, scheme, comma, space or line break, "
    "and in ASCII: a name with other letters is written as DNS has it, xn--…"
)

# What is local to the machine or its cloud, and where that is no property of the address itself.
_METADATA = tuple(
    ip_network(text)
    for text in (
        "100.100.100.200/32",  # Alibaba Cloud
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle Cloud
        "fd00:ec2::/32",  # AWS: instance metadata, time, DNS, pod identity
        "fd20:ce::254/128",  # Google Cloud
    )
)
_THIS_NETWORK = ip_network("0.0.0.0/8")
# The last 32 bits are an IPv4 address. Source: RFC 6052 (2.1), RFC 2765 (2.1), RFC 4291 (2.5.5.1).
_ENDS_IN_IPV4 = tuple(ip_network(text) for text in ("64:ff9b::/96", "::ffff:0:0:0/96", "::/96"))
# Translated as well, behind a prefix of its network's own length. Source: RFC 8215; RFC 6052 (2.2).
_LOCAL_USE = ip_network("64:ff9b:1::/48")

_KUBERNETES = re.compile(r"kubernetes\.default(?:\.svc(?:\..*)?)?", re.IGNORECASE)
"""What a cluster's own DNS calls its API server."""


@dataclass(frozen=True)
class ApiServer:
    """Where the Kubernetes API server answers."""

    host: str
    port: int

    @classmethod
    def at(cls, url: str) -> Self:
        parts = urlsplit(url if "//" in url else f"//{url}")
        return cls(parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443))


def api_servers(url: str, environment: Mapping[str, str]) -> tuple[ApiServer, ...]:
    """The API server by the address that the operator uses, and by the one that Kubernetes gives to every pod."""
    found = [ApiServer.at(url)]
    if host := environment.get("KUBERNETES_SERVICE_HOST"):
        port = environment.get("KUBERNETES_SERVICE_PORT", "")
        found.append(ApiServer(host, int(port) if port.isdigit() else 443))
    return tuple(dict.fromkeys(server for server in found if server.host))


@dataclass(frozen=True)
class HostRules:
    """The operator's own settings: networks that are never connected to, and exceptions from the built-in refusals."""

    allowed: tuple[Network, ...] = ()
    """Lets in loopback, link-local and metadata addresses of these networks, and nothing that ``denied`` names."""
    denied: tuple[Network, ...] = ()
    """Refused whatever else is said."""
    api_servers: tuple[ApiServer, ...] = ()
    """Never connected to. Their addresses are refused at every port, or at the API server's port alone where
    ``allowed`` has them: a machine may be a cluster's and a database's."""

    @classmethod
    def of(
        cls, allowed: tuple[str, ...] = (), denied: tuple[str, ...] = (), api_servers: tuple[ApiServer, ...] = ()
    ) -> HostRules:
        """Rules from networks in CIDR notation.

        Raises:
            ValueError: one of them is not a network.
        """
        return cls(tuple(ip_network(text) for text in allowed), tuple(ip_network(text) for text in denied), api_servers)


def look_up(host: str) -> tuple[str, ...]:
    """The first addresses that this machine's resolver has for a name, each once, in its order."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(islice(dict.fromkeys(str(entry[4][0]) for entry in found), MOST_ADDRESSES))


def resolve(host: str, port: int, rules: HostRules, lookup: Lookup = look_up) -> tuple[str, ...]:
    """Resolve a host, once: the addresses returned are the ones to connect to, so that a name cannot change in between.

    A message names the host once DNS has an address for it, or if it is an address: any other text may be a password
    in the wrong key.

    Raises:
        Refused: the host is not one DNS name or address, or any of its addresses is one that must not be reached.
        Unavailable: the name does not resolve now.
    """
    is_number = False
    try:
        addresses: tuple[Address, ...] = (ip_address(host),)
    except ValueError:
        if not _NAME.match(host):
            raise Refused(_NO_HOST) from None
        if _KUBERNETES.fullmatch(host.rstrip(".")):
            raise _refused("", _API_SERVER) from None
        is_number = _NUMBER.fullmatch(host) is not None
        addresses = _answers(host, lookup)
    shown = "" if is_number else host.partition("%")[0]
    served = {api: frozenset(_addresses_of(api, lookup)) for api in rules.api_servers}
    for address in addresses:
        why = _refusal(address, port, rules, served)
        if why:
            raise _refused(shown, why)
    if is_number:
        raise Refused(_NO_HOST)
    return tuple(str(address) for address in addresses)


class Lookups:
    """Resolves the hosts of one run, each name once."""

    def __init__(self, lookup: Lookup, clock: Callable[[], float] = time.monotonic) -> None:
        self._lookup = cache(lookup)
        self._clock = clock
        self._seconds = 0.0

    def resolve(self, host: str, port: int, rules: HostRules) -> tuple[str, ...]:
        """:func:`resolve`; raises Unavailable, too, where the hosts before took :data:`LOOKUP_SECONDS` or longer."""
        if self._seconds >= LOOKUP_SECONDS:
            raise Unavailable(
                f"DNS takes longer than {LOOKUP_SECONDS:g} s for the hosts in the secret value; check their names "
                "there, and DNS"
            )
        began = self._clock()
        try:
            return resolve(host, port, rules, self._lookup)
        finally:
            self._seconds += self._clock() - began


_API_SERVER = "the Kubernetes API server"
_DENIED = "in a network that the operator's settings deny"
_ITS_MACHINE = "at the address of the Kubernetes API server"


def _refused(host: str, why: str) -> Refused:
    remedy = {
        _API_SERVER: "correct the host",
        _DENIED: "correct the host, or have its network removed from --denied-networks",
        _ITS_MACHINE: "if the database is on that machine, have its network added to --allowed-networks",
    }.get(why, "correct the host, or have its network added to --allowed-networks")
    named = f"host {host}" if host else "the host in the secret value"
    return Refused(f"{named} is {why}, which the operator does not connect to; {remedy}")


def _addresses_of(server: ApiServer, lookup: Lookup) -> Iterator[Address]:
    try:
        yield from _forms(ip_address(server.host))
    except ValueError:
        try:
            yield from _answers(server.host, lookup)
        except Unavailable:
            return  # the name does not resolve now, so it leads to no host at all


def _answers(host: str, lookup: Lookup) -> tuple[Address, ...]:
    try:
        answers = tuple(ip_address(text) for text in lookup(host))
    except (OSError, UnicodeError, ValueError):
        answers = ()
    if not answers:
        raise Unavailable("the host in the secret value does not resolve to an address; check its name there, and DNS")
    return answers


def _refusal(
    address: Address, port: int, rules: HostRules, served: Mapping[ApiServer, frozenset[Address]]
) -> str | None:
    forms = tuple(_forms(address))
    if any(form in network for form in forms for network in rules.denied):
        return _DENIED
    allowed = any(form in network for form in forms for network in rules.allowed)
    ports = {api.port for api, found in served.items() if found.intersection(forms)}
    if port in ports:
        return _API_SERVER
    if allowed:
        return None
    if ports:
        return _ITS_MACHINE
    return next((kind for kind in map(_kind, forms) if kind), None)


def _forms(address: Address) -> Iterator[Address]:
    """The address and the IPv4 addresses that it is another spelling of: a gateway or the kernel may unwrap them."""
    # A zone index makes an address unequal to itself without one.
    yield IPv6Address(int(address)) if isinstance(address, IPv6Address) else address
    if isinstance(address, IPv6Address):
        wrapped = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if any(address in network for network in _ENDS_IN_IPV4):
            wrapped.append(IPv4Address(int(address) & 0xFFFFFFFF))
        if address in _LOCAL_USE:  # behind 48 bits as well, where bits 64 to 71 are no part of it
            bits = int(address)
            halves = (bits & 0xFFFFFFFF, (bits >> 64 & 0xFFFF) << 16 | bits >> 40 & 0xFFFF)
            wrapped += [IPv4Address(half) for half in halves if half]
        yield from (form for form in wrapped if form is not None)


def _kind(address: Address) -> str | None:
    kinds = (
        (address.is_unspecified or address in _THIS_NETWORK, "an unspecified address"),
        (address.is_loopback, "a loopback address"),
        (address.is_link_local, "a link-local address"),
        (any(address in network for network in _METADATA), "a cloud's metadata address"),
        (address.is_multicast, "a multicast address"),
        (isinstance(address, IPv4Address) and address.is_reserved, "a reserved address"),
        (isinstance(address, IPv6Address) and address.is_site_local, "a site-local address"),
    )
    return next((kind for applies, kind in kinds if applies), None)
