"""Which hosts the operator may connect to for somebody else, and at which addresses.

A tenant writes the host into a secret value, and the operator stands where the tenant may not: this guards it.
It knows names and addresses, no engine and no port's answer.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from rotated_secrets.databases.base import Refused, Unavailable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Lookup = Callable[[str], tuple[str, ...]]

_NAME = re.compile(r"(?=.{1,253}\Z)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_-]{1,63}\.?\Z")

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
_TRANSLATED = ip_network("64:ff9b::/96")
_COMPATIBLE = ip_network("::/96")


@dataclass(frozen=True)
class HostRules:
    """The operator's own settings: networks that are never connected to, and exceptions from the built-in refusals."""

    allowed: tuple[Network, ...] = ()
    """Lets in loopback, link-local and metadata addresses of these networks, and nothing that ``denied`` names."""
    denied: tuple[Network, ...] = ()
    """Refused whatever else is said, for instance the Kubernetes API server's address."""

    @classmethod
    def of(cls, allowed: tuple[str, ...] = (), denied: tuple[str, ...] = ()) -> HostRules:
        """Rules from networks in CIDR notation.

        Raises:
            ValueError: one of them is not a network.
        """
        return cls(tuple(ip_network(text) for text in allowed), tuple(ip_network(text) for text in denied))


def look_up(host: str) -> tuple[str, ...]:
    """The addresses that this machine's resolver has for a name, each once, in its order."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def resolve(host: str, rules: HostRules, lookup: Lookup = look_up) -> tuple[str, ...]:
    """Resolve a host, once: the addresses returned are the ones to connect to, so that a name cannot change in between.

    Raises:
        Refused: the host is not one DNS name or address, or any of its addresses is one that must not be reached.
        Unavailable: the name does not resolve now.
    """
    try:
        addresses: tuple[Address, ...] = (ip_address(host),)
    except ValueError:
        if not _NAME.match(host):
            raise Refused(
                "host in the secret value must be one DNS name or one address, without port, scheme, comma or space"
            ) from None
        addresses = _answers(host, lookup)
    for address in addresses:
        why = _refusal(address, rules)
        if why:
            raise Refused(
                f"host {host} is {why}, which the operator does not connect to; "
                "correct the host, or have the operator's settings allow that network"
            )
    return tuple(str(address) for address in addresses)


def _answers(host: str, lookup: Lookup) -> tuple[Address, ...]:
    try:
        answers = tuple(ip_address(text) for text in lookup(host))
    except (OSError, UnicodeError, ValueError):
        answers = ()
    if not answers:
        raise Unavailable(f"host {host} does not resolve to an address; check its name in the secret value, and DNS")
    return answers


def _refusal(address: Address, rules: HostRules) -> str | None:
    forms = tuple(_forms(address))
    if any(form in network for form in forms for network in rules.denied):
        return "in a network that the operator's settings deny"
    if any(form in network for form in forms for network in rules.allowed):
        return None
    return next((kind for kind in map(_kind, forms) if kind), None)


def _forms(address: Address) -> Iterator[Address]:
    """The address and the IPv4 addresses that it is another spelling of: a gateway or the kernel may unwrap them."""
    # A zone index makes an address unequal to itself without one.
    yield IPv6Address(int(address)) if isinstance(address, IPv6Address) else address
    if isinstance(address, IPv6Address):
        wrapped = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _TRANSLATED or address in _COMPATIBLE:
            wrapped.append(IPv4Address(int(address) & 0xFFFFFFFF))
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
