"""The alerts of the chart look at metrics that there are, at those of their own release, and at what needs somebody."""

from __future__ import annotations

import re
from typing import Any

from rotated_secrets.api.names import TROUBLESHOOTING
from rotated_secrets.api.status import Reason
from rotated_secrets.observability.metrics import PREFIX, Metrics
from sandbox.helm import rendered
from tests.support.chart_files import nested
from tests.support.documents import REFERENCE, ROOT, anchors, in_backticks
from tests.support.manifests import Manifest, one


def alerts(**given: Any) -> dict[str, Manifest]:
    made = rendered(nested("metrics.prometheusRule", {"enabled": True, **given}))
    (group,) = one(made, "PrometheusRule")["spec"]["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def test_alerts_look_at_metrics_that_there_are() -> None:
    by_name = alerts(overdueAfter="90m", heldFor="2d")
    asked = {name for rule in by_name.values() for name in re.findall(r"rotatedsecrets_\w+", rule["expr"])}
    there = {sample.name for metric in Metrics().registry.collect() for sample in metric.samples}
    there |= {
        f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in Metrics().registry.collect()
    }
    assert len(by_name) == 7
    assert asked <= there
    assert asked <= in_backticks(REFERENCE)
    assert by_name["RotatedSecretOverdue"]["expr"].endswith("> 5400")
    assert by_name["RotationsHeld"]["for"] == "2d"
    for alert in ("RotatedSecretNotReady", "RotatedSecretOverdue", "RotatedSecretRotationFails"):
        assert "max by (namespace, name)" in by_name[alert]["expr"]
        assert "{{ $labels.namespace }}/{{ $labels.name }}" in by_name[alert]["annotations"]["summary"]


def test_the_alert_about_a_rotation_that_fails_lasts_until_it_works() -> None:
    """No increase() over some time, after which it would be silent."""
    rule = alerts()["RotatedSecretRotationFails"]
    assert rule["expr"] == (
        'max by (namespace, name) (rotatedsecrets_rotation_failing{service="rotated-secrets"}) == 1'
    )


def test_alerts_lead_to_what_to_do_about_them() -> None:
    for page, by_name in {
        TROUBLESHOOTING: alerts(),
        "https://docs.example.com/help": alerts(runbookUrl="https://docs.example.com/help"),
    }.items():
        assert by_name
        for name, rule in by_name.items():
            assert rule["annotations"]["runbook_url"] == f"{page}#{name.lower()}"
            assert name.lower() in anchors(ROOT / TROUBLESHOOTING)


def test_what_waits_on_purpose_raises_no_alert() -> None:
    (left_out,) = re.findall(r'reason!~"([^"]+)"', alerts()["RotationsHeld"]["expr"])
    assert left_out.split("|") == [Reason.SUSPENDED, Reason.MANAGED_ELSEWHERE]


def test_an_access_policy_that_cannot_be_read_raises_one() -> None:
    assert alerts()["RotatedSecretsAccessPolicyUnreadable"]["expr"] == (
        'min(rotatedsecrets_access_policy_ok{namespace="rotated-secrets", service="rotated-secrets"}) == 0'
    )


def test_a_namespace_that_is_not_watched_raises_one_that_names_it() -> None:
    rule = alerts()["RotatedSecretsNamespaceSetAside"]
    assert rule["expr"] == 'max by (namespace) (rotatedsecrets_namespace_set_aside{service="rotated-secrets"}) == 1'
    assert "namespace {{ $labels.namespace }}" in rule["annotations"]["summary"]


def test_they_and_what_collects_series_are_where_a_prometheus_looks_for_them() -> None:
    given = {name: {"enabled": True, "namespace": "monitoring"} for name in ("serviceMonitor", "prometheusRule")}
    made = rendered(nested("metrics", given), namespace="operators")
    monitor, rule = one(made, "ServiceMonitor"), one(made, "PrometheusRule")
    assert (monitor["metadata"]["namespace"], rule["metadata"]["namespace"]) == ("monitoring", "monitoring")
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["operators"]}
    assert 'namespace="operators"' in str(rule["spec"])


def test_alerts_are_of_their_release_alone() -> None:
    """The label `namespace` of a resource's series is the resource's, else that of the Service that is asked."""
    given = {"metrics": {"prometheusRule": {"enabled": True}}}
    made = rendered(given, release="rotated-secrets-shop", namespace="shop-operator")
    (group,) = one(made, "PrometheusRule")["spec"]["groups"]
    service = one(made, "Service")["metadata"]["name"]
    names = ("ready", "next_rotation_timestamp_seconds", "rotation_failing", "namespace_set_aside")
    of_resources = {f"{PREFIX}_{name}" for name in names}
    for rule in group["rules"]:
        selectors = re.findall(r"(rotatedsecrets_\w+)(?:\{([^}]*)\})?", rule["expr"])
        for metric, selector in selectors:
            chosen = set(selector.split(", "))
            assert f'service="{service}"' in chosen, rule["alert"]
            assert ('namespace="shop-operator"' in chosen) == (metric not in of_resources), rule["alert"]


def test_series_keep_the_namespace_of_their_resource() -> None:
    made = rendered(nested("metrics.serviceMonitor", {"enabled": True, "labels": {"release": "prometheus"}}))
    monitor = one(made, "ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["honorLabels"] is True
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert not {"relabelings", "metricRelabelings"} & endpoint.keys()


def test_series_are_relabelled_as_the_values_say() -> None:
    one_rule, another = [{"targetLabel": "cluster", "replacement": "blue"}], [{"action": "labeldrop", "regex": "pod"}]
    given = {"enabled": True, "relabelings": one_rule, "metricRelabelings": another}
    (endpoint,) = one(rendered(nested("metrics.serviceMonitor", given)), "ServiceMonitor")["spec"]["endpoints"]
    assert (endpoint["relabelings"], endpoint["metricRelabelings"]) == (one_rule, another)
