"""Which connections the chart's NetworkPolicy lets through: all that an installation needs, and what it closes."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.helm import rendered
from tests.support.chart_files import merged, nested
from tests.support.manifests import of_kind, one
from tests.support.network_policies import lets_out

PEER = {"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}
METADATA = (("169.254.169.254", 80), ("fd00:ec2::254", 80))
POD_IDENTITY = (("169.254.170.23", 80), ("fd00:ec2::23", 80))
IDENTITIES: list[dict[str, Any]] = [
    nested("aws.credentialsSecretName", "keys"),
    {"serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/x"}}},
    {"extraEnv": [{"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "/token"}]},
    {"extraEnv": [{"name": "AWS_ACCESS_KEY_ID", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]},
    {"extraEnv": [{"name": "AWS_CONTAINER_CREDENTIALS_FULL_URI", "value": "http://169.254.170.23/v1/credentials"}]},
]
MOST_ON_EKS = 24
"""Pairs of port and protocol for one network, over all rules.
Source: https://docs.aws.amazon.com/eks/latest/userguide/cni-network-policy.html"""


def policy(*given: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = one(rendered(merged(*given)), "NetworkPolicy")["spec"]
    return spec


@pytest.mark.parametrize("given", [{}, *IDENTITIES])
def test_by_default_everything_that_an_installation_may_need_is_open(given: dict[str, Any]) -> None:
    spec = policy(given)
    for address in ("10.0.0.10", "169.254.20.10", "fd00::a"):
        for port in (53, 5353, 8053):
            assert all(lets_out(spec, address, port, protocol) for protocol in ("UDP", "TCP")), (address, port)
    for port in (443, 2040, 6443, 8443, 16443):
        assert lets_out(spec, "10.1.2.3", port), "an API server"
    for port in (1433, 1521, 2484, 3306, 5432, 5433, 5439, 6379, 6380, 27017, 31000, 65535):
        assert lets_out(spec, "10.1.2.3", port), "a database"
        assert lets_out(spec, "2001:db8::1", port), "a database"
    assert all(lets_out(spec, *each) for each in POD_IDENTITY)


def test_by_default_what_no_installation_needs_is_closed() -> None:
    spec = policy()
    closed = [22, 25, 111, 445, 988, *range(2375, 2382), *range(10248, 10260)]
    assert not [port for port in closed if lets_out(spec, "10.1.2.3", port)]
    assert not [port for port in (80, 123, 443, 1434, 4789, 8125) if lets_out(spec, "10.1.2.3", port, "UDP")]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [{"ports": [{"protocol": "TCP", "port": "metrics"}]}]


def test_by_default_rules_have_no_address_that_a_plugin_may_take_for_less_or_more() -> None:
    """Nodes are in no ipBlock for Cilium, and `except` closes too much on EKS."""
    rules = policy()["egress"]
    with_address = [rule for rule in rules if rule.get("to")]
    assert [rule["to"] for rule in with_address] == [
        [{"ipBlock": {"cidr": "169.254.170.23/32"}}, {"ipBlock": {"cidr": "fd00:ec2::23/128"}}]
    ]
    assert "except" not in str(rules)


def test_a_plugin_without_ranges_of_ports_still_lets_out_to_databases_on_their_usual_ports() -> None:
    """Such a plugin takes the first port of a range alone."""
    spec = policy()
    for rule in spec["egress"]:
        for port in rule["ports"]:
            port.pop("endPort", None)
    assert all(lets_out(spec, "10.1.2.3", port) for port in (443, 6443, 1433, 1521, 3306, 5432, 5439, 6379, 27017))


@pytest.mark.parametrize("given", [{}, nested("networkPolicy.nodeMetadata", "Allow")])
def test_eks_has_room_for_all_ports_of_the_default(given: dict[str, Any]) -> None:
    of_all = [str(port) for rule in policy(given)["egress"] if not rule.get("to") for port in rule["ports"]]
    assert len(set(of_all)) < MOST_ON_EKS


def test_without_an_identity_in_the_values_the_role_of_the_node_can_be_used() -> None:
    spec = policy()
    assert all(lets_out(spec, *each) for each in METADATA)
    # Cilium takes the agent of EKS Pod Identity for the node, and kube2iam is at the node's own address.
    assert {"ports": [{"protocol": "TCP", "port": 80}]} in spec["egress"]


@pytest.mark.parametrize("given", [*IDENTITIES, nested("networkPolicy.nodeMetadata", "Deny")])
def test_with_an_identity_or_when_it_is_denied_the_metadata_of_the_node_is_closed(given: dict[str, Any]) -> None:
    spec = policy(given)
    assert not [each for each in METADATA if lets_out(spec, *each)]
    assert not lets_out(spec, "10.1.2.3", 80)


def test_the_metadata_of_the_node_is_open_beside_an_identity_when_that_is_allowed() -> None:
    spec = policy(IDENTITIES[0], nested("networkPolicy.nodeMetadata", "Allow"))
    assert all(lets_out(spec, *each) for each in METADATA)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "AWS_PROFILE", "AWS_EC2_METADATA_SERVICE_ENDPOINT"])
def test_a_variable_that_brings_no_credentials_does_not_close_the_metadata(name: str) -> None:
    assert lets_out(policy({"extraEnv": [{"name": name, "value": "http://a:3128"}]}), *METADATA[0])


def test_named_networks_close_all_others_for_databases() -> None:
    spec = policy(nested("networkPolicy.databaseNetworks", ["10.0.0.0/8", "fd00::/8"]))
    for port in (1433, 5432, 5433, 8080, 31000):
        assert lets_out(spec, "10.1.2.3", port)
        assert lets_out(spec, "fd00::1", port)
        assert not lets_out(spec, "192.168.1.1", port)
        assert not lets_out(spec, "169.254.169.254", port)
        assert not lets_out(spec, "2001:db8::1", port)
    assert not lets_out(spec, "10.1.2.3", 10250)
    assert all(lets_out(spec, "192.168.1.1", port) for port in (443, 6443)), "the API server, and AWS"
    assert lets_out(spec, "169.254.20.10", 53, "UDP")


def test_named_ports_close_all_others_for_databases() -> None:
    spec = policy({"networkPolicy": {"databasePorts": [5433], "databaseNetworks": ["10.0.0.0/8"]}})
    assert lets_out(spec, "10.1.2.3", 5433)
    assert not [port for port in (1024, 5432, 8080, 16443, 27017) if lets_out(spec, "10.1.2.3", port)]
    anywhere = policy(nested("networkPolicy.databasePorts", [5433]))
    assert lets_out(anywhere, "192.168.1.1", 5433)
    assert not lets_out(anywhere, "192.168.1.1", 5432)


STRICT = {"networkPolicy": {"databasePorts": [5432], "databaseNetworks": ["10.0.0.0/8"], "nodeMetadata": "Deny"}}


@pytest.mark.parametrize(
    ("given", "port"),
    [
        (nested("aws.endpointUrl", "https://vpce-1.example.com:4566/"), 4566),
        (nested("aws.stsEndpointUrl", "http://sts.example.com"), 80),
        (nested("databases.webhookHosts", ["a.example.com", "*.b.example.com:08443"]), 8443),
        (nested("proxy.https", "http://proxy.example.com:3128"), 3128),
        (nested("proxy.http", "http://proxy.example.com:3129/"), 3129),
        ({"extraEnv": [{"name": "HTTPS_PROXY", "value": "http://user:word@proxy:3128/"}]}, 3128),
        ({"extraEnv": [{"name": "https_proxy", "value": "proxy:3128"}]}, 3128),
        ({"extraEnv": [{"name": "HTTP_PROXY", "value": "http://[fd00::1]:3128"}]}, 3128),
        ({"extraEnv": [{"name": "HTTPS_PROXY", "value": "proxy"}]}, 80),
        ({"extraEnv": [{"name": "AWS_ENDPOINT_URL_SECRETS_MANAGER", "value": "https://a:4566"}]}, 4566),
        (nested("networkPolicy.apiServerPorts", [16443]), 16443),
        (nested("networkPolicy.extraEgress", [{"ports": [{"port": 8200}]}]), 8200),
    ],
)
def test_ports_that_the_values_name_elsewhere_are_open_too(given: dict[str, Any], port: int) -> None:
    assert not lets_out(policy(STRICT), "192.168.1.1", port)
    spec = policy(STRICT, given)
    assert lets_out(spec, "192.168.1.1", port)
    assert lets_out(spec, "192.168.1.1", 443)


@pytest.mark.parametrize(
    "variable", [{"name": "NO_PROXY", "value": "a:3128"}, {"name": "HTTPS_PROXY", "valueFrom": {}}]
)
def test_other_variables_open_nothing(variable: dict[str, Any]) -> None:
    assert policy(STRICT, {"extraEnv": [variable]}) == policy(STRICT)


def test_metrics_are_collected_by_those_who_are_named_and_by_helms_test() -> None:
    (way_in,) = policy(nested("networkPolicy.ingressFrom", [PEER]))["ingress"]
    test = one(rendered(), "Pod")["metadata"]["labels"]
    assert way_in["from"][0] == PEER
    assert way_in["from"][1]["podSelector"]["matchLabels"].items() <= test.items()


def test_the_policy_can_be_left_out() -> None:
    assert of_kind(rendered(), "NetworkPolicy")
    assert not of_kind(rendered(nested("networkPolicy.enabled", False)), "NetworkPolicy")
