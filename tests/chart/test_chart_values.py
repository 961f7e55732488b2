"""Every value is in the schema and in the README, every setting of the operator has a value, with the same default."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client.rest import should_bypass_proxies

from rotated_secrets.controller.access.policy import AccessPolicy
from rotated_secrets.controller.access.policy_file import parse_policy
from rotated_secrets.controller.settings import Settings, flag
from sandbox.helm import CHART, HelmFailed, helm, rendered
from tests.support.chart_files import (
    README,
    ROOT,
    ROW,
    comments,
    documented,
    leaves,
    merged,
    metadata,
    nested,
    schema,
    sections,
    values,
)
from tests.support.documents import anchors
from tests.support.manifests import arguments, one, operator, pod_of

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
LEFT_TO_THE_CHART = {
    "kubeconfig": "a pod finds its cluster by itself",
    "kube_context": "there is no kubeconfig",
    "identity": "the name of the pod, by default",
}
"""Settings that no value is for, and why."""
BY_VALUE: dict[str, tuple[str, Any, str]] = {
    "aws_region": ("aws.region", "eu-west-1", "eu-west-1"),
    "aws_endpoint_url": ("aws.endpointUrl", "https://aws.example.com", "https://aws.example.com"),
    "aws_connect_timeout": ("aws.connectTimeout", "7s", "7s"),
    "aws_read_timeout": ("aws.readTimeout", "17s", "17s"),
    "aws_write_rate": ("aws.writeRate", 7, "7"),
    "poll_interval": ("aws.pollInterval", "7m", "7m"),
    "database_ca_file": ("databases.caBundle", CERTIFICATE, "/etc/rotated-secrets/database-ca/ca.crt"),
    "allowed_networks": ("databases.allowedNetworks", ["127.0.0.0/8", "::1/128"], "127.0.0.0/8,::1/128"),
    "denied_networks": ("databases.deniedNetworks", ["10.7.0.0/16", "10.8.0.1"], "10.7.0.0/16,10.8.0.1"),
    "engines": ("databases.engines", ["postgres", "webhook"], "postgres,webhook"),
    "engine_variables": ("databases.engineVariables", ["A", "B"], "A,B"),
    "engine_paths": ("databases.enginePaths", ["/a", "/b"], "/a,/b"),
    "webhook_hosts": ("databases.webhookHosts", ["*.example.com", "a:8443"], "*.example.com,a:8443"),
    "access_policy_file": ("accessPolicy.rules", [], "/etc/rotated-secrets/access-policy/policy.yaml"),
    "cluster_name": ("clusterName", "blue", "blue"),
    "minimum_interval": ("rotation.minimumInterval", "7h", "7h"),
    "clone_suffixes": ("rotation.cloneSuffixes", ["_a", "_b"], "_a,_b"),
    "namespaces": ("namespaces", ["shop", "bank"], "shop,bank"),
    "api_timeout": ("kubernetes.apiTimeout", "7s", "7s"),
    "watch_timeout": ("kubernetes.watchTimeout", "7m", "7m"),
    "startup_timeout": ("kubernetes.startupTimeout", "7m", "7m"),
    "resync_interval": ("kubernetes.resyncInterval", "7m", "7m"),
    "lease_name": ("leaderElection.leaseName", "another", "another"),
    "lease_namespace": ("", None, "operators"),
    "lease_duration": ("leaderElection.leaseDuration", "1m", "1m"),
    "renew_deadline": ("leaderElection.renewDeadline", "40s", "40s"),
    "retry_period": ("leaderElection.retryPeriod", "7s", "7s"),
    "threads": ("work.threads", 7, "7"),
    "cell_memory": ("work.cellMemory", "48Mi", "48Mi"),
    "cells_memory": ("work.cellsMemory", "96Mi", "96Mi"),
    "connections_per_host": ("databases.connectionsPerHost", 7, "7"),
    "breaker_failures": ("databases.breakerFailures", 7000000, "7000000"),
    "breaker_time": ("databases.breakerTime", "7s", "7s"),
    "backoff_base": ("work.backoffBase", "7s", "7s"),
    "backoff_cap": ("work.backoffCap", "7m", "7m"),
    "drain_timeout": ("work.drainTimeout", "7s", "7s"),
    "probe_host": ("metrics.host", "::", "::"),
    "probe_port": ("metrics.port", 9090, "9090"),
    "log_format": ("log.format", "text", "text"),
    "log_level": ("log.level", "DEBUG", "DEBUG"),
}
"""Settings, the values that they are set by, another value than the default, and what the operator is told then."""


def test_a_setting_has_a_value_or_a_reason_why_not() -> None:
    assert set(Settings.model_fields) == set(BY_VALUE) | set(LEFT_TO_THE_CHART)


def test_values_reach_the_operator() -> None:
    given = merged(*(nested(path, value) for path, value, _ in BY_VALUE.values() if path))
    told = arguments(rendered(given, namespace="operators"))
    assert told == {flag(setting): text for setting, (_, _, text) in BY_VALUE.items()}


def test_the_defaults_are_the_operators(tmp_path: Path) -> None:
    told = {name.removeprefix("--").replace("-", "_"): text for name, text in arguments(rendered()).items()}
    policy = tmp_path / "policy.yaml"
    policy.write_text(one(rendered(), "ConfigMap", "rotated-secrets-access")["data"]["policy.yaml"])
    own = {"identity": "x", "aws_region": "eu-west-1", "lease_namespace": "rotated-secrets"}
    by_chart = Settings.parse({**own, **told, "access_policy_file": str(policy)})
    assert by_chart.model_dump() == Settings.parse(own).model_dump() | {"access_policy_file": policy}
    assert parse_policy(policy.read_text()) == AccessPolicy.default()


def test_what_the_operator_can_find_by_itself_is_not_told() -> None:
    told = arguments(rendered())
    unset = {"aws_region", "aws_endpoint_url", "cluster_name", "namespaces", "database_ca_file", "webhook_hosts"}
    unset |= {"engines", "engine_variables", "engine_paths"}
    assert set(told) == {flag(name) for name in set(BY_VALUE) - unset - {"allowed_networks", "denied_networks"}}


def test_every_value_is_in_the_readme_with_its_default() -> None:
    assert documented() == leaves()


def test_flags_in_the_readme_are_those_that_the_values_set() -> None:
    rows = [line for line in README.read_text().splitlines() if line.startswith("| `")]
    told = {line.split("`")[1]: found for line in rows for found in re.findall(r"\(`(--[a-z-]+)`\)", line)}
    expected = {path: flag(name) for name, (path, _, _) in BY_VALUE.items() if path and name != "access_policy_file"}
    assert told == expected


def test_every_value_is_in_the_schema_and_nothing_else_is() -> None:
    # What charts that have this one as a part put beside the values.
    from_outside = {"enabled"}

    def names(here: Any, part: dict[str, Any]) -> Any:
        below = part.get("properties")
        return {name: names(here.get(name, {}), each) for name, each in below.items()} if below else None

    def shape(here: Any, part: dict[str, Any]) -> Any:
        below = part.get("properties")
        return {name: shape(value, below.get(name, {})) for name, value in here.items()} if below else None

    known = names(values(), schema())
    assert {name: known[name] for name in known if name not in from_outside} == shape(values(), schema())


def test_the_schema_lets_nothing_unknown_in_and_explains_everything() -> None:
    for path, part in sections():
        if "properties" in part:
            # `global` has values of other charts.
            assert part.get("additionalProperties", True) is (path == "global"), path
            for name, each in part["properties"].items():
                assert each["description"].endswith("."), f"{path}.{name}"


AS_IN_PODS = {
    *("resources", "podSecurityContext", "securityContext", "nodeSelector", "topologySpreadConstraints"),
    *("updateStrategy", "startupProbe", "livenessProbe", "readinessProbe"),
}
"""Of these, null leaves out the default."""
NEVER_NULL = "accessPolicy.rules"
"""Whoever takes away the rules may mean that nothing is allowed, or what is allowed by default."""


def test_a_value_that_is_null_is_the_default_because_yaml_reads_a_key_with_nothing_after_it_so() -> None:
    nulled = set(leaves()) - AS_IN_PODS - {NEVER_NULL}
    assert {"replicas", "aws.region", "aws.pollInterval", "tolerations", "rbac.create", "metrics.port"} <= nulled
    given = merged(*(nested(path, None) for path in nulled))
    everything_optional = nested("metrics.serviceMonitor.enabled", True)
    assert rendered(given) == rendered()
    assert rendered(merged(given, everything_optional)) == rendered(everything_optional)


def test_a_section_that_is_null_is_as_if_it_were_not_there() -> None:
    whole = {path: None for path, part in sections() if "properties" in part and path and not {".", "["} & {*path}}
    assert {"aws", "metrics", "global", "networkPolicy", "accessPolicy"} <= set(whole)
    assert rendered(whole) == rendered()
    inner = [path for path, part in sections() if "properties" in part and "." in path and "[]" not in path]
    assert {"metrics.prometheusRule", "tenantCredentials.serviceAccountTokens"} <= set(inner)
    assert rendered(merged(*(nested(path, None) for path in inner))) == rendered()


def test_what_is_off_empty_or_zero_is_not_taken_for_null() -> None:
    made = rendered({"replicas": 0, "rbac": {"create": False}, "accessPolicy": {"rules": []}})
    assert one(made, "Deployment")["spec"]["replicas"] == 0
    assert not [each for each in made if each["kind"] == "RoleBinding"]
    policy = one(made, "ConfigMap", "rotated-secrets-access")["data"]["policy.yaml"]
    assert yaml.safe_load(policy) == {"rules": []}


@pytest.mark.parametrize("name", sorted(AS_IN_PODS))
def test_what_is_written_as_in_a_pod_is_left_out_by_null(name: str) -> None:
    deployment = one(rendered({name: None}), "Deployment")["spec"]
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    where, field = {
        "podSecurityContext": (pod, "securityContext"),
        "nodeSelector": (pod, name),
        "topologySpreadConstraints": (pod, name),
        "updateStrategy": (deployment, "strategy"),
    }.get(name, (container, name))
    assert field not in where


def test_the_defaults_that_the_templates_fill_in_are_the_values() -> None:
    """After a change of values.yaml: make manifests."""
    assert yaml.safe_load((CHART / "files" / "defaults.yaml").read_text()) == values()


def test_every_file_fills_in_what_is_null_first() -> None:
    for file in sorted((CHART / "templates").rglob("*")):
        if file.suffix in (".yaml", ".txt"):
            assert file.read_text().startswith('{{- include "rotated-secrets.complete" . -}}\n'), file


def test_each_value_is_explained_where_it_stands_as_in_the_readme() -> None:
    meanings = {row["path"]: row["meaning"].replace("`", "") for row in ROW.finditer(README.read_text())}
    assert comments() == meanings


def test_versions_are_equal() -> None:
    project = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert project
    assert metadata()["appVersion"] == project[1]
    assert metadata()["version"] == project[1]


def test_links_of_the_readme_lead_somewhere() -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", README.read_text()):
        if not target.startswith("https://"):
            document = (README.parent / target).resolve() if target else README
            assert document.exists(), target
            assert not anchor or anchor in anchors(document), f"{target}#{anchor}"


def test_the_readmes_example_of_a_refusal_is_what_helm_says() -> None:
    with pytest.raises(HelmFailed) as refused:
        rendered({"aws": {"region": "Ireland", "pollInterval": "5 minutes"}})
    (example,) = re.findall(r"^Error: INSTALLATION FAILED: (.+?)\n```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert example in str(refused.value)


def test_what_is_never_behind_a_proxy_is_excepted_without_being_named() -> None:
    """The kubelet puts in the API server's address; AWS's SDK asks 169.254.… for credentials."""
    proxy = {"proxy": {"https": "http://proxy:3128", "http": "http://proxy:3129", "noProxy": ["vpce.amazonaws.com"]}}
    (container,) = pod_of(one(rendered(proxy), "Deployment"))["containers"]
    told = {each["name"]: each["value"] for each in container["env"]}
    assert (told["HTTPS_PROXY"], told["HTTP_PROXY"]) == ("http://proxy:3128", "http://proxy:3129")
    direct = told["NO_PROXY"].replace("$(KUBERNETES_SERVICE_HOST)", "10.43.0.1")
    for host in ("10.43.0.1", "localhost", "[fd00:ec2::23]", "169.254.169.254", "a.shop.svc", "x.vpce.amazonaws.com"):
        assert should_bypass_proxies(f"http://{host}", direct), host
    assert not should_bypass_proxies("https://secretsmanager.eu-west-1.amazonaws.com", direct)
    (container,) = pod_of(one(rendered(), "Deployment"))["containers"]
    assert "env" not in container


@pytest.mark.parametrize("name", ["https", "http"])
def test_a_proxy_is_a_url(name: str) -> None:
    with pytest.raises(HelmFailed, match=f'proxy.{name}: "proxy:3128" is no URL of a proxy; write for example http://'):
        rendered(nested(f"proxy.{name}", "proxy:3128"))


def test_as_a_part_of_another_chart_it_takes_nulls_and_values_for_all_charts(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(CHART, whole / "charts" / CHART.name)
    (whole / "Chart.yaml").write_text("{apiVersion: v2, name: whole, version: 1.0.0}")
    (whole / "values.yaml").write_text("rotated-secrets:\n  aws:\n  metrics:\n    port:\n")
    made = [*yaml.safe_load_all(helm("template", "rotated-secrets", str(whole), "--set", "global.imageRegistry=r.io"))]
    alone = rendered({"global": {"imageRegistry": "r.io"}}, namespace="default")
    assert operator(made) == operator(alone)
    assert operator(made)["image"] == "r.io/rotated-secrets:0.1.0"


def test_values_that_an_earlier_chart_did_not_have_are_the_defaults(tmp_path: Path) -> None:
    """With ``helm upgrade --reuse-values`` the values of the earlier chart take the place of values.yaml."""
    later = tmp_path / CHART.name
    shutil.copytree(CHART, later)
    earlier = {name: values()[name] for name in AS_IN_PODS} | {"metrics": {"serviceMonitor": {"enabled": False}}}
    (later / "values.yaml").write_text(yaml.safe_dump(earlier))
    made = [*yaml.safe_load_all(helm("template", "rotated-secrets", str(later), "--namespace", "rotated-secrets"))]
    assert [each for each in made if each] == rendered()
