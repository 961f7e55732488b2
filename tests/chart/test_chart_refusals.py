"""A wrong value is refused before anything is installed, by a sentence that names it and says what to write."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from rotated_secrets.cells.limits import MIB
from rotated_secrets.controller.access.policy_file import InvalidPolicy, parse_policy
from rotated_secrets.controller.process.startup import OWN_MEMORY
from rotated_secrets.controller.settings import InvalidSettings, Settings
from sandbox.helm import HelmFailed, rendered
from tests.support.chart_files import merged, nested

Row = tuple[str, Any, str]
"""A value by its path, and the sentence that refuses it."""
LENGTH = "is no length of time; write for example 90s, 10m or 4h"
RULE: dict[str, Any] = {"namespaces": ["shop"], "secrets": ["shop/*"]}


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(HelmFailed) as refused:
        rendered(values)
    return str(refused.value)


BY_SCHEMA: list[Row] = [
    ("replicas", -1, "at '/replicas': minimum: got -1, want 0"),
    ("replicas", "two", "at '/replicas': got string, want integer"),
    ("aws.pollinterval", "1m", "at '/aws': additional properties 'pollinterval' not allowed"),
    ("region", "eu-west-1", "at '': additional properties 'region' not allowed"),
    ("aws.pollInterval", 60, "at '/aws/pollInterval': got number, want string"),
    ("aws.writeRate", 0, "at '/aws/writeRate': minimum: got 0, want 1"),
    ("work.threads", 1.5, "at '/work/threads': got number, want integer"),
    ("log.format", "xml", "at '/log/format': value must be one of 'json', 'text'"),
    ("log.level", "info", "at '/log/level': value must be one of 'DEBUG', 'INFO', 'WARNING', 'ERROR'"),
    ("podDisruptionBudget.maxUnavailable", 0, "at '/podDisruptionBudget/maxUnavailable': minimum: got 0, want 1"),
    ("podDisruptionBudget.maxUnavailable", 1.5, "got number, want integer or string"),
    ("metrics.port", 80, "at '/metrics/port': minimum: got 80, want 1,024"),
    ("metrics.host", "localhost", "at '/metrics/host': value must be one of '0.0.0.0', '::'"),
    ("image.pullPolicy", "Sometimes", "value must be one of 'Always', 'IfNotPresent', 'Never'"),
    ("imagePullSecrets", ["registry"], "at '/imagePullSecrets/0': got string, want object"),
    ("global.imagePullSecrets", [{"secret": "a"}], "at '/global/imagePullSecrets/0': missing property 'name'"),
    ("namespaces", "shop", "at '/namespaces': got string, want array"),
    ("namespaces", ["shop", "shop"], "at '/namespaces': items at 0 and 1 are equal"),
    ("rotation.cloneSuffixes", [], "at '/rotation/cloneSuffixes': minItems: got 0, want 1"),
    ("podLabels", {"tier": 1}, "at '/podLabels/tier': got number, want string"),
    ("accessPolicy.rules", [{"secrets": ["a"]}], "at '/accessPolicy/rules/0': missing property 'namespaces'"),
    ("accessPolicy.rules", [RULE | {"account": []}], "additional properties 'account' not allowed"),
    ("accessPolicy.rules", [RULE | {"accounts": [111122223333]}], "rules/0/accounts/0': got number, want string"),
    ("accessPolicy.rules", [RULE | {"namespaces": []}], "rules/0/namespaces': minItems: got 0, want 1"),
    ("extraEnv", [{"name": "A", "values": ""}], "at '/extraEnv/0': additional properties 'values' not allowed"),
    ("namespaces", [""], "at '/namespaces/0': minLength: got 0, want 1"),
    ("aws.connectTimeout", "", "at '/aws/connectTimeout': minLength: got 0, want 1"),
    ("metrics.serviceMonitor.renderMode", "never", "value must be one of 'skipIfMissing', 'failIfMissing', 'alwaysRen"),
    ("dnsPolicy", "Cluster", "at '/dnsPolicy': value must be one of '', 'Default', 'ClusterFirst', 'ClusterFirstWith"),
    ("extraArgs", {"log-level": "DEBUG"}, "at '/extraArgs': got object, want array"),
    ("revisionHistoryLimit", -1, "at '/revisionHistoryLimit': minimum: got -1, want 0"),
    ("accessPolicy.rules", None, "at '/accessPolicy': missing property 'rules'"),
]
BY_SENTENCE: list[Row] = [
    ("global.imageRegistry", "https://a", 'global.imageRegistry: "https://a" is no registry; write for example regi'),
    ("metrics.serviceMonitor.namespace", "A", 'metrics.serviceMonitor.namespace: "A" is no namespace; write its name'),
    ("metrics.prometheusRule.namespace", "A", 'metrics.prometheusRule.namespace: "A" is no namespace; write its name'),
    ("aws.region", "Ireland", 'aws.region: "Ireland" is no region; write for example eu-west-1'),
    ("aws.endpointUrl", "aws.example.com", 'aws.endpointUrl: "aws.example.com" is no URL; write for example http'),
    (
        "aws.credentialsSecretName",
        "Keys",
        'aws.credentialsSecretName: "Keys" is no name in Kubernetes; write lower',
    ),
    ("clusterName", "my cluster", 'clusterName: "my cluster" is no name of a cluster; write up to 512 letters'),
    ("namespaces", ["Shop"], 'namespaces[0]: "Shop" is no namespace; write its name, in lower case'),
    ("aws.pollInterval", "5 minutes", f'aws.pollInterval: "5 minutes" {LENGTH}'),
    ("work.drainTimeout", "0s", 'work.drainTimeout: "0s" is not longer than zero; write for example 90s, 10m or 4h'),
    ("kubernetes.watchTimeout", "900ms", "kubernetes.watchTimeout: must be 1s or more"),
    ("work.cellMemory", "64MB", 'work.cellMemory: "64MB" is no amount of memory; write for example 64Mi'),
    ("work.cellsMemory", "8191Ki", 'work.cellsMemory: "8191Ki" is less than 8Mi; write for example 64Mi'),
    (
        "leaderElection.leaseDuration",
        "10s",
        "leaderElection.leaseDuration: must be longer than leaderElection.renewDeadline",
    ),
    (
        "leaderElection.retryPeriod",
        "10s",
        "leaderElection.renewDeadline: must be longer than leaderElection.retryPeriod",
    ),
    ("work.backoffCap", "999ms", "work.backoffCap: must not be less than work.backoffBase"),
    (
        "rotation.cloneSuffixes",
        ["_a,_b"],
        'rotation.cloneSuffixes[0]: "_a,_b" is no suffix; write up to 16 letters',
    ),
    (
        "databases.caBundle",
        "ca.pem",
        "databases.caBundle: holds no certificate; write the certificates of the authorities",
    ),
    ("databases.allowedNetworks", ["10.0.0.1/8"], '[0]: "10.0.0.1/8" contains an address that is not the'),
    (
        "networkPolicy.databaseNetworks",
        ["10.0.0.1"],
        '[0]: "10.0.0.1" has no prefix length; write networks as 10.0.0.0/8',
    ),
    ("image.repository", "registry/a:1", 'image.repository: "registry/a:1" is no repository; write for example'),
    ("image.digest", "abc", 'image.digest: "abc" is no digest; write sha256: and 64 digits from 0 to f'),
    ("image.tag", "a b", 'image.tag: "a b" is no tag; write for example 0.1.0'),
    (
        "image.tag",
        20261122,
        "image.tag: is a number, which may have lost digits; write it in quotes, or by --set-string",
    ),
    (
        "image.tag",
        1.1,
        "image.tag: is a number, which may have lost digits; write it in quotes, or by --set-string",
    ),
    ("podDisruptionBudget.maxUnavailable", "0%", '"0%" is no percentage of pods; write a number, or for example 50%'),
    ("podDisruptionBudget.minAvailable", "half", 'podDisruptionBudget.minAvailable: "half" is no percentage of pods;'),
    ("podDisruptionBudget.maxUnavailable", "half", '"half" is no percentage of pods; write a number, or for example'),
    ("fullnameOverride", "x" * 53, "is no name for the chart's objects; write up to 52 lower case letters"),
    (
        "serviceAccount.create",
        False,
        "serviceAccount.name: name the ServiceAccount to use, as serviceAccount.create",
    ),
    ("serviceAccount.annotations", {"eks.amazonaws.com/role-arn": "operator"}, '"operator" is no role; write its'),
    ("metrics.prometheusRule.heldFor", "1m30s", '"1m30s" is no length of time for Prometheus; write one number'),
    (
        "metrics.serviceMonitor.scrapeTimeout",
        "31s",
        "scrapeTimeout: must not be longer than metrics.serviceMonitor",
    ),
    ("dnsPolicy", "None", "dnsConfig.nameservers: write them, as dnsPolicy is None"),
]


def groups(table: list[Row]) -> Iterator[list[Row]]:
    """The table in few parts that can be given at once, as Helm and the chart tell of all that is wrong."""
    left = list(table)
    while left:
        group: list[Row] = []
        for row in left:
            if not any(
                f"{path}.".startswith(f"{row[0]}.") or f"{row[0]}.".startswith(f"{path}.") for path, *_ in group
            ):
                group.append(row)
        left = [row for row in left if row not in group]
        yield group


@pytest.mark.parametrize("group", [*groups(BY_SCHEMA), *groups(BY_SENTENCE)], ids=lambda group: group[0][2])
def test_each_wrong_value_is_refused_by_a_sentence(group: list[Row]) -> None:
    said = refusal(merged(*(nested(path, value) for path, value, _ in group)))
    assert [sentence for _, _, sentence in group if sentence not in said] == []


def test_values_that_contradict_each_other_are_refused() -> None:
    one_too_many = {"caBundleConfigMap": {"name": "ours"}, "caBundleSecret": {"name": "theirs"}}
    assert "set one of caBundle, caBundleConfigMap.name and caBundleSecret.name" in refusal({"databases": one_too_many})
    unserved = {"namespaces": ["shop"], **nested("tenantCredentials.serviceAccountTokens.namespaces", ["bank"])}
    assert "bank is not one of the served namespaces; add it to namespaces" in refusal(unserved)


def test_monitoring_that_must_be_there_is_refused_before_anything_is_installed() -> None:
    asked = {"enabled": True, "renderMode": "failIfMissing"}
    given = {"metrics": {"serviceMonitor": asked, "prometheusRule": asked}}
    assert rendered(given)
    with pytest.raises(HelmFailed) as refused:
        rendered(given, kinds=())
    said = "renderMode: the cluster has no {}; install the Prometheus operator first, or write skipIfMissing"
    assert f"metrics.serviceMonitor.{said.format('ServiceMonitor')}" in str(refused.value)
    assert f"metrics.prometheusRule.{said.format('PrometheusRule')}" in str(refused.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    said = refusal({"aws": {"region": "x", "readTimeout": "y"}, "accessPolicy": {"rules": [{"namespaces": ["a"]}]}})
    assert re.findall(r"^  ([^:]+):", said, re.MULTILINE) == ["aws.region", "aws.readTimeout", "accessPolicy.rules[0]"]


NETWORKS = [
    "10.0.0.0/8",
    "10.0.0.1/8",
    "10.0.0.1",
    "10.128.0.0/9",
    "10.64.0.0/9",
    "0.0.0.0/0",
    "0.0.0.1/32",
    "10.0.0.0/33",
    "10.0.0.0/",
    "10.0.0/8",
    "300.0.0.1",
    "010.0.0.0/8",
    "fd00::/8",
    "fd00::1/8",
    "::/0",
    "::",
    "::1/128",
    "1::/129",
    "2001:db8::/32",
    "2001:db8:8000::/33",
    "2001:db8:4000::/33",
    "2001:db8:0:0:8000::/65",
    "1:2:3:4:5:6:7:8",
    "1:2:3:4:5:6:7::",
    "1:2:3:4:5:6:7:8::",
    "1::2::3",
    ":1::2",
    "1:",
    "12345::",
    "g::",
    "10.0.0.0-10.1.0.0",
    "example.com",
]
HOSTS = [
    "hooks.example.com",
    "*.example.com",
    "hooks.example.com:8443",
    "*.example.com:65535",
    "A.example.com",
    "*.*.com",
    "*example.com",
    "https://a.com",
    "a.com/",
    "a.com:",
    "a.com:0",
    "a.com:65536",
    "a.com:99999",
    "a.com:08443",
    "-a.com",
    "a-.com.",
    "a",
    "b:c",
]
LENGTHS = [
    "90",
    "90s",
    "1m30s",
    "4h",
    "1.5h",
    "250ms",
    "7d",
    "0",
    "0s",
    "0.0m",
    "1w",
    "1y",
    "s",
    "-1s",
    "1,5s",
    "1h-5m",
    "1e3",
    ".5s",
    "PT1H",
]


@pytest.mark.parametrize(
    ("path", "setting", "texts"),
    [
        ("databases.deniedNetworks", "denied_networks", NETWORKS),
        ("databases.webhookHosts", "webhook_hosts", HOSTS),
    ],
)
def test_the_chart_refuses_what_the_operator_would(path: str, setting: str, texts: list[str]) -> None:
    refused = {texts[int(index)] for index in re.findall(r"^  [\w.]+\[(\d+)]: ", refusal(nested(path, texts)), re.M)}
    assert refused == {text for text in texts if operator_refuses(setting, text)}
    assert 0 < len(refused) < len(texts)


@pytest.mark.parametrize(
    "text", ["8Mi", "08Mi", "8192Ki", "8388608", "1Gi", "7Mi", "8388607", "08", "64M", "64MiB", "x"]
)
def test_amounts_of_memory_that_the_operator_would_refuse_are_refused(text: str) -> None:
    said = refusal(nested("work.cellMemory", text)) if operator_refuses("cell_memory", text) else ""
    assert said or rendered(nested("work.cellMemory", text))
    assert said.count("work.cellMemory") == bool(said)


CELLS = 500 * MIB - OWN_MEMORY
"""Bytes for cells in a container that may use 500Mi."""


@pytest.mark.parametrize(
    "limit", ["499Mi", "524287999", 524287999, "0.48Gi", "524M", "524287k", "5.2e8", "511999Ki", "524287999999m"]
)
def test_a_memory_limit_that_cells_could_exceed_is_refused(limit: str | int) -> None:
    assert (
        f'resources.limits.memory: "{limit}" is less than work.cellsMemory ({CELLS}) and 200Mi for the operator; '
        "write 500Mi or more, or lower work.cellsMemory"
    ) in refusal({"resources": {"limits": {"memory": limit}}, "work": {"cellsMemory": str(CELLS)}})


@pytest.mark.parametrize(
    "limit", ["500Mi", "524288000", 524288000, "0.5Gi", "1G", "1Gi", "5.3e8", "512000Ki", "1Ti", "1P", "524288000000m"]
)
def test_a_memory_limit_that_cells_cannot_exceed_is_accepted(limit: str | int) -> None:
    assert rendered({"resources": {"limits": {"memory": limit}}, "work": {"cellsMemory": str(CELLS)}})


@pytest.mark.parametrize("resources", [{"limits": None}, {"limits": {"memory": None, "cpu": "1"}}])
def test_without_a_memory_limit_any_amount_is_accepted(resources: dict[str, Any]) -> None:
    assert rendered({"resources": resources, "work": {"cellsMemory": "64Gi"}})


def test_lengths_that_the_operator_would_refuse_are_refused() -> None:
    # As many as there are values for them, so that one look does for all.
    paths = {
        "aws": ["connectTimeout", "readTimeout", "pollInterval"],
        "databases": ["breakerTime"],
        "rotation": ["minimumInterval"],
        "kubernetes": ["apiTimeout", "watchTimeout", "startupTimeout", "resyncInterval"],
        "leaderElection": ["leaseDuration", "renewDeadline", "retryPeriod"],
        "work": ["backoffBase", "backoffCap", "drainTimeout"],
    }
    places = [(section, name) for section, names in paths.items() for name in names]
    refused = set()
    for start in range(0, len(LENGTHS), len(places)):
        given: dict[str, Any] = {}
        here = {f"{section}.{name}": text for (section, name), text in zip(places, LENGTHS[start:], strict=False)}
        for path, text in here.items():
            section, name = path.split(".")
            given.setdefault(section, {})[name] = text
        refused |= {here[path] for path in re.findall(r"^  ([\w.]+): \"", refusal(given), re.MULTILINE)}
    assert refused == {text for text in LENGTHS if operator_refuses("poll_interval", text)}


PATTERNS = [
    *("shop/*", "{namespace}/*", "prod/{namespace}", "{namespace}-*", "*{namespace}", "a/{namespace}*/b", "rds!*"),
    *("{name}/*", "a b", "arn:aws:x", "{namespace", "x/{namespace}/*", "{namespace}{namespace}", "", "ä"),
]
RULES: list[dict[str, Any]] = [
    *({"namespaces": ["shop"], "secrets": [pattern]} for pattern in PATTERNS),
    *({"namespaces": ["shop"], "adminSecrets": [pattern]} for pattern in PATTERNS),
    *({"namespaces": [each], "secrets": ["a"]} for each in ("*", "team-*", "Team", "a.b", "")),
    *(RULE | {"accounts": [each]} for each in ("111122223333", "1111", "aaaabbbbcccc")),
    *(RULE | {"regions": [each]} for each in ("eu-west-1", "us-gov-east-1", "us-gov-east-1-fips", "eu-*", "Ireland")),
    {"namespaces": ["shop"]},
    {"namespaces": ["shop"], "secrets": [], "adminSecrets": []},
    RULE | {"accounts": [], "regions": [], "adminSecrets": ["a"]},
]


def test_rules_that_the_operator_would_refuse_are_refused() -> None:
    said = refusal({"accessPolicy": {"rules": RULES}})
    refused = {int(index) for index in re.findall(r"^  accessPolicy\.rules\[(\d+)]", said, re.MULTILINE)}
    assert refused == {index for index, rule in enumerate(RULES) if policy_is_refused(rule)}
    assert 0 < len(refused) < len(RULES)


def operator_refuses(setting: str, text: str) -> bool:
    try:
        Settings.parse({setting: text, "aws_region": "eu-west-1"})
    except InvalidSettings:
        return True
    return False


def policy_is_refused(rule: dict[str, Any]) -> bool:
    try:
        parse_policy(yaml.safe_dump({"rules": [rule]}))
    except InvalidPolicy:
        return True
    return False
