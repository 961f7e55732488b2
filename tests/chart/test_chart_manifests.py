"""What the chart makes of its values is whole, fits together, and grants what is used and no more."""

from __future__ import annotations

import itertools
import re
import tarfile
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.controller.access.policy_file import parse_policy
from rotated_secrets.controller.settings import Settings
from sandbox.helm import CHART, PROMETHEUS_OPERATOR, helm, rendered
from sandbox.installation import operator_rules
from sandbox.manifests import manifests as for_clusters_without_helm
from sandbox.stack import CRD
from tests.support.chart_files import ROOT, merged, nested
from tests.support.manifests import (
    Manifest,
    arguments,
    faults,
    granted,
    named,
    of_kind,
    one,
    operator,
    pod_of,
    unknown_fields,
    unrestricted,
)

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
PEER = {"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}
EMPTY: dict[str, Any] = {}
NULLS = (
    *("resources", "nodeSelector", "securityContext", "podSecurityContext", "topologySpreadConstraints"),
    *("updateStrategy", "startupProbe", "livenessProbe", "readinessProbe"),
)
SWITCHES: dict[str, list[dict[str, Any]]] = {
    "namespaces": [EMPTY, {"namespaces": ["shop", "bank"]}],
    "tokens": [EMPTY, nested("tenantCredentials.serviceAccountTokens.namespaces", ["shop"])],
    "rollouts": [EMPTY, nested("rollouts.enabled", True)],
    "rbac": [EMPTY, nested("rbac.create", False), nested("rbac.aggregateClusterRoles", False)],
    "account": [
        EMPTY,
        {"serviceAccount": {"create": False, "name": "mine"}},
        {"serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/x"}}},
    ],
    "aws": [
        EMPTY,
        nested("aws.credentialsSecretName", "keys"),
        {"aws": {"region": "eu-west-1", "endpointUrl": "https://a:1", "stsEndpointUrl": "http://b"}},
    ],
    "authorities": [
        EMPTY,
        nested("databases.caBundle", CERTIFICATE),
        nested("databases.caBundleConfigMap.name", "ours"),
        nested("databases.caBundleSecret", {"name": "ours", "key": "bundle.pem"}),
    ],
    "crds": [EMPTY, nested("crds.install", False), nested("crds.keep", False)],
    "monitoring": [
        EMPTY,
        {"metrics": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}, "port": 9090}},
        {"metrics": {"service": {"labels": {"a": "b"}, "annotations": {"a": "b"}, "ipFamilies": ["IPv6"]}}},
    ],
    "network": [
        EMPTY,
        {"networkPolicy": {"enabled": False}},
        {
            "networkPolicy": {
                "nodeMetadata": "Deny",
                "ingressFrom": [PEER],
                "databaseNetworks": ["10.0.0.0/8", "fd00::/8"],
                "extraEgress": [{"ports": [{"port": 8443}]}],
            }
        },
    ],
    "names": [EMPTY, {"fullnameOverride": "rotation", "nameOverride": "ro", "commonLabels": {"team": "data"}}],
    "image": [
        EMPTY,
        {
            "image": {"repository": "registry:5000/a/b", "digest": f"sha256:{'0' * 64}"},
            "imagePullSecrets": [{"name": "r"}],
        },
    ],
    "pods": [
        EMPTY,
        {
            "replicas": 3,
            "revisionHistoryLimit": 0,
            "updateStrategy": {"type": "Recreate"},
            "deploymentAnnotations": {"a": "b"},
            "livenessProbe": {"initialDelaySeconds": 30},
            "podDisruptionBudget": {"enabled": False},
            "podAnnotations": {"a": "b", "kubectl.kubernetes.io/default-container": "operator"},
            "podLabels": {"tier": "back", "app.kubernetes.io/name": "not-ours"},
            "priorityClassName": "system-cluster-critical",
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "affinity": {"podAntiAffinity": {}},
            "topologySpreadConstraints": [{"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}],
        },
    ],
    "extras": [
        EMPTY,
        {
            "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
            "extraVolumes": [{"name": "more", "configMap": {"name": "theirs"}}],
            "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
            "extraArgs": ["--identity=a"],
            "hostAliases": [{"ip": "10.0.0.7", "hostnames": ["db.example.com"]}],
            "dnsPolicy": "None",
            "dnsConfig": {"nameservers": ["10.0.0.10"], "options": [{"name": "ndots", "value": "1"}]},
            "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"}}],
        },
    ],
}


def matrix() -> list[dict[str, Any]]:
    """Values in which each setting of a switch meets each setting of every other one, in few rounds."""
    chosen = [(name, index) for name, settings in SWITCHES.items() for index in range(len(settings))]
    unmet = {frozenset(pair) for pair in itertools.combinations(chosen, 2) if pair[0][0] != pair[1][0]}
    rounds = []
    while unmet:
        row = set(min(unmet, key=sorted))
        for name in sorted(SWITCHES, key=lambda name: -len(SWITCHES[name])):
            if name not in dict(row):
                settings = [(name, index) for index in range(len(SWITCHES[name]))]
                row.add(max(settings, key=lambda each: _worth(each, row, unmet)))
        unmet -= set(map(frozenset, itertools.combinations(row, 2)))
        rounds.append(merged(*(SWITCHES[name][index] for name, index in row)))
    return rounds


def _worth(
    setting: tuple[str, int], row: set[tuple[str, int]], unmet: set[frozenset[tuple[str, int]]]
) -> tuple[int, int]:
    """How many it would meet in this row for the first time, and how many it has not met at all."""
    return sum(frozenset((setting, other)) in unmet for other in row), sum(setting in pair for pair in unmet)


@pytest.fixture(scope="module")
def default() -> list[Manifest]:
    return rendered()


@pytest.mark.parametrize("given", matrix(), ids=itertools.count())
def test_whatever_is_switched_the_manifests_fit_together(given: dict[str, Any], tmp_path: Path) -> None:
    made = rendered(given)
    assert faults(made) == []
    policy = one(made, "ConfigMap", f"{one(made, 'Deployment')['metadata']['name']}-access")["data"]["policy.yaml"]
    parse_policy(policy)
    (tmp_path / "file").write_text(policy)
    told = {name.removeprefix("--").replace("-", "_"): text for name, text in arguments(made).items()}
    files = {name: str(tmp_path / "file") for name in told if name.endswith("_file")}
    settings = Settings.parse(told | files)
    grace = pod_of(one(made, "Deployment"))["terminationGracePeriodSeconds"]
    assert grace >= settings.drain_timeout + settings.api_timeout
    secrets_of_ours = of_kind(made, "Secret")
    assert secrets_of_ours == []


def test_nothing_is_left_where_maps_are_taken_away() -> None:
    made = rendered(dict.fromkeys(NULLS))
    pod = pod_of(one(made, "Deployment"))
    assert not {"nodeSelector", "securityContext", "topologySpreadConstraints"} & pod.keys()
    assert (
        not {"resources", "securityContext", "startupProbe", "livenessProbe", "readinessProbe"} & operator(made).keys()
    )
    assert "strategy" not in one(made, "Deployment")["spec"]


def test_what_is_looked_for_is_seen() -> None:
    """The checks themselves: each fault is told."""
    pod = {"hostNetwork": True, "volumes": [{"name": "a", "hostPath": {}}], "containers": [{"name": "b"}]}
    assert len(list(unrestricted(pod))) == 6
    wrong = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"nam": "a"}], "nodeSelector": {"a": 1}}}
    assert unknown_fields(wrong) == [
        "there is no field .spec.containers[0].nam",
        ".spec.nodeSelector.a is 1, not of type str",
    ]
    made = rendered()
    one(made, "Service")["spec"]["selector"]["app.kubernetes.io/component"] = "another"
    one(made, "ClusterRoleBinding")["subjects"][0]["name"] = "another"
    one(made, "ConfigMap")["metadata"]["name"] = "another"
    assert len(faults(made)) == 3


def test_lint_has_nothing_to_say() -> None:
    assert "[WARNING]" not in helm("lint", "--strict", str(CHART))


def test_by_default_the_image_is_the_charts_version_and_a_digest_wins_over_a_tag(default: list[Manifest]) -> None:
    assert operator(default)["image"] == "rotated-secrets:0.1.0"
    digest = f"sha256:{'a' * 64}"
    made = rendered({"image": {"repository": "r.example.com:5000/x", "tag": "main", "digest": digest}})
    images = {each["image"] for kind in ("Deployment", "Pod") for each in pod_of(one(made, kind))["containers"]}
    assert images == {f"r.example.com:5000/x@{digest}"}


@pytest.mark.parametrize(
    ("registry", "repository", "image"),
    [
        ("mirror.example.com", "rotated-secrets", "mirror.example.com/rotated-secrets"),
        ("mirror.example.com:5000/", "quay.io/team/rs", "mirror.example.com:5000/team/rs"),
        ("mirror.example.com/quay", "registry:5000/rs", "mirror.example.com/quay/rs"),
        ("mirror.example.com", "localhost/rs", "mirror.example.com/rs"),
        ("mirror.example.com", "team/rs", "mirror.example.com/team/rs"),
        ("", "quay.io/team/rs", "quay.io/team/rs"),
    ],
)
def test_a_registry_for_all_charts_takes_the_place_of_the_images(registry: str, repository: str, image: str) -> None:
    made = rendered({"global": {"imageRegistry": registry, "other": 1}, "image": {"repository": repository}})
    images = {each["image"] for kind in ("Deployment", "Pod") for each in pod_of(one(made, kind))["containers"]}
    assert images == {f"{image}:0.1.0"}


def test_secrets_to_pull_all_charts_images_with_are_added_to_this_ones() -> None:
    shared = {"imagePullSecrets": ["all", {"name": "own"}]}
    for given, expected in (({}, ["all", "own"]), ({"imagePullSecrets": [{"name": "own"}]}, ["own", "all"])):
        made = rendered({"global": shared, **given})
        for kind in ("Deployment", "Pod"):
            assert pod_of(one(made, kind))["imagePullSecrets"] == [{"name": name} for name in expected]


def test_there_are_two_replicas_and_always_one_ready(default: list[Manifest]) -> None:
    deployment = one(default, "Deployment")["spec"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert one(default, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    keys = [each["topologyKey"] for each in deployment["template"]["spec"]["topologySpreadConstraints"]]
    assert keys == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]


def test_monitoring_is_left_out_where_the_cluster_does_not_have_it_and_the_notes_say_so() -> None:
    asked = {"metrics": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}}
    kinds = {"ServiceMonitor", "PrometheusRule"}

    def made(*there: str, **mode: str) -> set[str]:
        given = merged(asked, *(nested(f"metrics.{name}", mode) for name in asked["metrics"]))
        return kinds & {each["kind"] for each in rendered(given, kinds=there)}

    assert made() == set()
    assert made(*PROMETHEUS_OPERATOR) == kinds
    assert made(PROMETHEUS_OPERATOR[0]) == {"ServiceMonitor"}
    assert made(renderMode="alwaysRender") == kinds
    told = {f"The cluster has no {kind}, so none was created" for kind in kinds}
    assert all(each in notes(asked) for each in told)
    assert not any(each in notes() for each in told)


def test_pods_that_may_be_taken_away_are_a_number_or_a_part() -> None:
    for given in (2, "50%"):
        made = rendered(nested("podDisruptionBudget.maxUnavailable", given))
        assert one(made, "PodDisruptionBudget")["spec"]["maxUnavailable"] == given
        budget = one(rendered(nested("podDisruptionBudget.minAvailable", given)), "PodDisruptionBudget")["spec"]
        assert (budget["minAvailable"], "maxUnavailable" in budget) == (given, False)


def test_a_pod_has_longer_to_start_and_to_end_than_the_operator_takes() -> None:
    made = rendered({"kubernetes": {"startupTimeout": "5m"}, "work": {"drainTimeout": "2m"}})
    probe = operator(made)["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > 300
    assert pod_of(one(made, "Deployment"))["terminationGracePeriodSeconds"] == 140


def test_a_new_certificate_replaces_the_pods_and_a_new_rule_does_not() -> None:
    def pods(**given: Any) -> Any:
        return one(rendered(given), "Deployment")["spec"]["template"]

    first = pods(databases={"caBundle": CERTIFICATE})
    assert first != pods(databases={"caBundle": CERTIFICATE * 2})
    assert first == pods(databases={"caBundle": CERTIFICATE}, accessPolicy={"rules": []})


def test_certificates_come_from_one_of_three_places() -> None:
    for given, volume in (
        ({"caBundle": CERTIFICATE}, {"configMap": {"name": "rotated-secrets-database-ca"}}),
        ({"caBundleConfigMap": {"name": "ours", "key": "a.pem"}}, {"configMap": {"name": "ours"}}),
        ({"caBundleSecret": {"name": "ours", "key": "a.pem"}}, {"secret": {"secretName": "ours"}}),
    ):
        made = rendered({"databases": given})
        (found,) = (each for each in pod_of(one(made, "Deployment"))["volumes"] if each["name"] == "database-ca")
        ((kind, source),) = ((name, value) for name, value in found.items() if name != "name")
        (item,) = source.pop("items")
        assert ({kind: source}, item["path"]) == (volume, "ca.crt")
        assert item["key"] == ("ca.crt" if "caBundle" in given else "a.pem")
        if "caBundle" in given:
            assert one(made, "ConfigMap", "rotated-secrets-database-ca")["data"]["ca.crt"] == CERTIFICATE


def test_the_operator_may_do_what_it_does_and_no_more(default: list[Manifest]) -> None:
    lease = one(default, "Role", "rotated-secrets-lease")["rules"]
    assert {(*each["resources"], *each.get("resourceNames", [])): each["verbs"] for each in lease} == {
        ("leases",): ["create"],
        ("leases", "rotated-secrets"): ["get", "update"],
        ("configmaps",): ["list", "create", "delete"],
    }
    cluster_wide = one(default, "ClusterRole", "rotated-secrets")["rules"]
    assert not granted(cluster_wide) & granted(lease)
    everything = granted(cluster_wide) | granted(lease)
    restarts = {
        ("apps", each, verb) for each in ("deployments", "statefulsets", "daemonsets") for verb in ("get", "patch")
    }
    tokens = {("", "serviceaccounts", "get"), ("", "serviceaccounts/token", "create")}
    assert everything == granted(operator_rules()) - restarts - tokens
    more = granted(one(rendered(nested("rollouts.enabled", True)), "ClusterRole", "rotated-secrets")["rules"])
    assert more == granted(cluster_wide) | restarts


def test_with_namespaces_there_are_roles_in_them_alone(default: list[Manifest]) -> None:
    made = rendered({"namespaces": ["shop", "bank"], "rbac": {"aggregateClusterRoles": False}})
    assert not of_kind(made, "ClusterRole") + of_kind(made, "ClusterRoleBinding")
    rules = {each["metadata"]["namespace"]: each["rules"] for each in of_kind(made, "Role")}
    wide = one(default, "ClusterRole", "rotated-secrets")["rules"]
    on_the_lease = {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]}
    assert rules == {"shop": wide, "bank": wide, "rotated-secrets": [*one(default, "Role")["rules"], on_the_lease]}
    bound = {each["metadata"]["namespace"] for each in of_kind(made, "RoleBinding")}
    assert bound == set(rules)


def test_tokens_can_be_asked_for_where_that_was_allowed_and_nowhere_by_default(default: list[Manifest]) -> None:
    assert not any("serviceaccounts" in resource for _, resource, _ in granted(rules_of(default)))
    made = rendered(nested("tenantCredentials.serviceAccountTokens.namespaces", ["shop"]))
    role = one(made, "Role", "rotated-secrets-tokens")
    assert role["metadata"]["namespace"] == "shop"
    assert granted(role["rules"]) == {("", "serviceaccounts", "get"), ("", "serviceaccounts/token", "create")}
    assert granted(rules_of(made)) - granted(rules_of(default)) == granted(role["rules"])


def test_who_may_view_or_edit_a_namespace_may_do_so_with_its_resources(default: list[Manifest]) -> None:
    view, edit = (one(default, "ClusterRole", f"rotated-secrets-{each}") for each in ("view", "edit"))
    verbs = {verb for _, _, verb in granted(edit["rules"])}
    assert granted(view["rules"]) == {
        ("rotatedsecrets.io", "rotatedsecrets", each) for each in ("get", "list", "watch")
    }
    assert verbs == {"create", "update", "patch", "delete", "deletecollection"}
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    assert {label for label in view["metadata"]["labels"] if prefix in label} == {
        f"{prefix}{each}" for each in ("view", "edit", "admin")
    }
    assert f"{prefix}view" not in edit["metadata"]["labels"]
    assert named(rendered(nested("rbac.aggregateClusterRoles", False)), "ClusterRole") == {"rotated-secrets"}


def test_the_definition_is_the_operators_and_stays_behind_unless_told_otherwise(default: list[Manifest]) -> None:
    def definition(made: list[Manifest]) -> Manifest:
        return one(made, "CustomResourceDefinition")

    generated = yaml.safe_load(CRD.read_text())
    made = definition(default)
    assert made["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert {**made, "metadata": generated["metadata"]} == generated
    assert made["metadata"]["name"] == generated["metadata"]["name"]
    wave = {"argocd.argoproj.io/sync-wave": "-1"}
    annotated = definition(rendered({"crds": {"annotations": wave}}))["metadata"]["annotations"]
    assert annotated == {"helm.sh/resource-policy": "keep"} | wave
    assert "annotations" not in definition(rendered(nested("crds.keep", False)))["metadata"]
    assert not of_kind(rendered(nested("crds.install", False)), "CustomResourceDefinition")
    assert (CHART / "files" / CRD.name).read_text() == CRD.read_text(), "run make crds"


def test_helm_test_asks_the_service(default: list[Manifest]) -> None:
    pod, service = one(default, "Pod"), one(default, "Service")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    version, readyz = pod["spec"]["containers"]
    assert version["args"] == ["--version"]
    (port,) = service["spec"]["ports"]
    assert readyz["command"][-1] == f"http://{service['metadata']['name']}.rotated-secrets:{port['port']}/readyz"
    compile(readyz["command"][2], "test", "exec")


def test_notes_say_what_to_type_next_and_what_is_missing() -> None:
    bare = notes()
    assert "kubectl -n rotated-secrets rollout status deployment/rotated-secrets" in bare
    missing = (
        "create-pod-identity-association",
        "aws.region is not set",
        "which no registry has",
        "name their networks in networkPolicy.databaseNetworks",
    )
    assert all(each in bare for each in missing)
    role = {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/x"}
    given = {"aws": {"region": "eu-west-1"}, "serviceAccount": {"annotations": role}, "namespaces": ["bank"]}
    networks = nested("networkPolicy.databaseNetworks", ["10.0.0.0/8"])
    complete = notes(merged(given, nested("image.repository", "registry.example.com/x"), networks))
    assert not any(each in complete for each in missing)
    assert "kubectl -n bank get rsec" in complete
    assert "the permissions that the chart's README lists" in notes(
        {"rbac": {"create": False}, "crds": {"install": False}}
    )


def test_the_resource_in_the_notes_is_one() -> None:
    (text,) = re.findall(r"<<'EOF'\n(.+?)^  EOF$", notes({"namespaces": ["bank"]}), re.MULTILINE | re.DOTALL)
    written = yaml.safe_load(textwrap.dedent(text))
    server_side = {"uid": "1", "resourceVersion": "1", "generation": 1, "creationTimestamp": "2026-11-22T00:00:00Z"}
    resource = RotatedSecret.parse(written | {"metadata": written["metadata"] | server_side})
    assert (resource.namespace, resource.spec.source.secret_id) == ("bank", "bank/orders-db")
    assert resource.skipped == ()


def notes(given: dict[str, Any] | None = None) -> str:
    asked = ("install", "rotated-secrets", str(CHART), "--namespace", "rotated-secrets", "--dry-run=client")
    said = helm(*asked, "--hide-notes=false", "--values", "-", stdin=yaml.safe_dump(given or {}))
    return said.partition("\nNOTES:\n")[2]


def rules_of(made: list[Manifest]) -> list[dict[str, Any]]:
    return [rule for kind in ("Role", "ClusterRole") for each in of_kind(made, kind) for rule in each["rules"]]


def test_the_package_is_one_file_with_all_of_it(tmp_path: Path) -> None:
    helm("package", str(CHART), "--destination", str(tmp_path))
    (package,) = tmp_path.iterdir()
    assert package.name == "rotated-secrets-0.1.0.tgz"
    with tarfile.open(package) as archive:
        packed = {name.removeprefix("rotated-secrets/") for name in archive.getnames()}
    ours = {str(path.relative_to(CHART)) for path in CHART.rglob("*") if path.is_file()}
    assert packed == ours


def test_what_is_for_clusters_without_helm_is_fresh() -> None:
    assert (ROOT / "deploy" / "rotated-secrets.yaml").read_text() == for_clusters_without_helm(), "run make manifests"


def test_what_is_for_clusters_without_helm_is_whole_and_says_nothing_of_helm(default: list[Manifest]) -> None:
    text = (ROOT / "deploy" / "rotated-secrets.yaml").read_text()
    made = list(yaml.safe_load_all(text))
    namespace, *others = made
    assert namespace["kind"] == "Namespace"
    assert faults(made) == []
    assert "helm" not in text.lower()
    of_chart = {(each["kind"], each["metadata"]["name"]) for each in default if each["kind"] != "Pod"}
    assert {(each["kind"], each["metadata"]["name"]) for each in others} == of_chart
