"""What a NetworkPolicy lets through, as Kubernetes defines it: no network plugin is asked."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any


def lets_out(spec: dict[str, Any], address: str, port: int, protocol: str = "TCP") -> bool:
    """Whether a pod that this policy selects may connect to the port at this address, which is of no pod."""
    return any(_has_port(rule, port, protocol) and _has_peer(rule, address) for rule in spec["egress"])


def _has_port(rule: dict[str, Any], port: int, protocol: str) -> bool:
    return "ports" not in rule or any(
        each.get("protocol", "TCP") == protocol and each["port"] <= port <= each.get("endPort", each["port"])
        for each in rule["ports"]
    )


def _has_peer(rule: dict[str, Any], address: str) -> bool:
    # An empty list means the same as none at all.
    blocks = [peer["ipBlock"] for peer in rule.get("to") or [] if "ipBlock" in peer]
    return not rule.get("to") or any(_holds(block, address) for block in blocks)


def _holds(block: dict[str, Any], address: str) -> bool:
    within = [ip_address(address) in ip_network(text) for text in (block["cidr"], *block.get("except", []))]
    return within[0] and not any(within[1:])
