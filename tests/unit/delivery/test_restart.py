"""The annotation that restarts a workload, and the message about it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from rotated_secrets.api.names import GROUP
from rotated_secrets.api.rollout import Workload, WorkloadKind
from rotated_secrets.delivery.restart import annotation_of, delay_reason, patch_for, restarted_for
from rotated_secrets.values import VersionId

KEY = "rotatedsecrets.io/restarted-for.orders-db"
KUBERNETES_TAKES = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
"""The name of an annotation after its domain."""


def test_each_rotated_secret_has_a_different_annotation() -> None:
    assert annotation_of("orders-db") == KEY
    assert annotation_of("billing-db") != KEY


@pytest.mark.parametrize("length", [1, 48, 49, 50, 51, 253])
def test_annotation_is_valid_for_names_of_any_length(length: int) -> None:
    domain, _, name = annotation_of("n" * length).partition("/")
    assert domain == GROUP
    assert KUBERNETES_TAKES.fullmatch(name)


def test_long_names_with_the_same_beginning_have_different_annotations() -> None:
    assert annotation_of("n" * 100 + "-a") != annotation_of("n" * 100 + "-b")


def test_name_that_is_cut_at_a_dot_or_hyphen_is_valid() -> None:
    for name in ("n" * 39 + "." + "n" * 60, "n" * 39 + "-" + "n" * 60):
        assert KUBERNETES_TAKES.fullmatch(annotation_of(name).partition("/")[2])


@pytest.mark.parametrize(
    "live",
    [
        {},
        {"spec": {"template": {}}},
        {"spec": {"template": {"metadata": {"annotations": None}}}},
        {"spec": {"template": {"metadata": {"annotations": {"else": "v1"}}}}},
        {"metadata": {"annotations": {KEY: "v1"}}},
    ],
)
def test_workload_without_the_annotation_was_not_restarted(live: dict[str, Any]) -> None:
    assert restarted_for(live, KEY) is None


def test_the_patch_sets_one_annotation_of_the_pod_template_on_what_was_read() -> None:
    live = {"metadata": {"name": "api", "uid": "u", "resourceVersion": "7"}, "spec": {"replicas": 3}}
    assert patch_for(live, KEY, VersionId("v2")) == {
        "metadata": {"uid": "u", "resourceVersion": "7"},
        "spec": {"template": {"metadata": {"annotations": {KEY: "v2"}}}},
    }


@pytest.mark.parametrize(
    ("kind", "spec", "says"),
    [
        (WorkloadKind.DEPLOYMENT, {}, ""),
        (WorkloadKind.DEPLOYMENT, {"strategy": {"type": "Recreate"}}, ""),
        (WorkloadKind.DEPLOYMENT, {"paused": True}, "resumed"),
        (
            WorkloadKind.STATEFUL_SET,
            {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}},
            "",
        ),
        (WorkloadKind.STATEFUL_SET, {"updateStrategy": {"rollingUpdate": {"partition": 2}}}, "partition 2"),
        (WorkloadKind.STATEFUL_SET, {"updateStrategy": {"type": "OnDelete"}}, "OnDelete"),
        (WorkloadKind.DAEMON_SET, {"updateStrategy": {"type": "RollingUpdate"}}, ""),
        (WorkloadKind.DAEMON_SET, {"updateStrategy": {"type": "OnDelete"}}, "OnDelete"),
    ],
)
def test_message_says_if_pods_are_not_replaced_at_once(kind: WorkloadKind, spec: dict[str, Any], says: str) -> None:
    message = delay_reason(Workload(kind=kind, name="api"), {"spec": spec})
    assert says in message
    assert bool(message) is bool(says)
