"""The table of outcomes: what is told for each way in which a look can end. ``pytest -s`` prints it.

Each row is an operator that was ready, a trouble that lasts while a rotation is asked for, all that people and programs
see meanwhile, and that everything is as it was when the trouble is over. Each answer of AWS has a table of its own, in
``tests/integration/controller/test_aws_fault_table.py``.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from operator import eq, gt, lt
from pathlib import Path
from typing import Any

import pytest
import yaml

from rotated_secrets.api.names import RESYNC_ANNOTATION, ROTATE_ANNOTATION
from rotated_secrets.cli.kube.rotated_secret import read
from rotated_secrets.cli.kube.watch_events import Changed
from rotated_secrets.cli.requests.pending_request import PATIENCE, PendingRequest, ProgressOf
from rotated_secrets.cli.requests.progress import resync_progress, rotation_progress
from rotated_secrets.cli.requests.result import exit_code
from rotated_secrets.cluster import Forbidden, Json, Rejected, Unreachable
from rotated_secrets.controller.watch.transform import LARGEST
from rotated_secrets.databases.base import Unavailable
from rotated_secrets.delivery.errors import DeliveryUnavailable
from rotated_secrets.delivery.render import MAX_SECRET
from rotated_secrets.observability.event_reasons import WARNINGS
from rotated_secrets.secretstores.base import (
    AccessDenied,
    SecretNotFound,
    StoreRefused,
    StoreThrottled,
    StoreUnavailable,
)
from sandbox.helm import rendered
from sandbox.kubernetes.embedded.tables import json_path
from tests.support.chart_files import nested
from tests.support.fake_operator import KEY, SPEC, FakeOperator, path_of, with_admin
from tests.support.manifests import one
from tests.support.troubles import (
    OURS,
    SECRET,
    SECRETS,
    Trouble,
    applied,
    aws,
    password_changed_by_hand,
    raising,
    request,
    secret_marked_for_deletion,
    secret_of_others,
    server,
    spec,
    value,
)

LOOKS = 4
"""While the trouble lasts; some that AWS throttles pass."""
CRD = Path(__file__).parents[4] / "crds" / "rotatedsecrets.yaml"


@dataclass(frozen=True)
class Row:
    """One way in which a look can end."""

    part: str
    name: str
    trouble: Trouble
    ready: str
    synced: str
    held: str = ""
    """The reason, where the rotation is held."""
    is_on_purpose: bool = False
    """Whether someone wanted it so: no alert."""

    def __str__(self) -> str:
        return f"{self.part}: {self.name}"


OK, WRITTEN = "True/CredentialWorks", "True/UpToDate"
AWAY, BUSY, DENIED = StoreUnavailable("AWS is away"), StoreThrottled("AWS is busy"), AccessDenied("allow it")
KMS, GONE = StoreRefused("the KMS key is disabled"), SecretNotFound("there is no such secret")
UNKNOWN_STORE = "Unknown/StoreUnavailable"
POLICY = Rejected("no", 422, {"message": "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"})
HOOK_DOWN = Unreachable("no", 500, {"message": 'failed calling webhook "a.example.org": no'})
ROLE = Forbidden("no", 403, {"message": 'secrets is forbidden: User "x" cannot create resource "secrets" in API'})
NO_ANSWER = Unreachable("no answer")
SYNC_FALSE = "False/SyncFailed"


def _store() -> Iterator[Row]:
    for operation in ("DescribeSecret", "GetSecretValue"):
        yield Row("store", f"{operation} denied", aws(DENIED, operation), "False/AccessDenied", "Unknown/AccessDenied")
        yield Row("store", f"{operation} unreachable", aws(AWAY, operation), UNKNOWN_STORE, UNKNOWN_STORE)
        yield Row("store", f"{operation} throttled", aws(BUSY, operation), UNKNOWN_STORE, UNKNOWN_STORE)
        yield Row(
            "store",
            f"{operation} finds nothing",
            aws(GONE, operation),
            "False/SecretNotFound",
            "Unknown/SecretNotFound",
        )
    yield Row("store", "the value cannot be decrypted", aws(KMS, "GetSecretValue"), UNKNOWN_STORE, UNKNOWN_STORE)
    for error in (DENIED, AWAY, BUSY, KMS):
        name = type(error).__name__
        yield Row("store", f"PutSecretValue {name}", aws(error, "PutSecretValue"), OK, WRITTEN)
        move = aws(error, "UpdateSecretVersionStage")
        yield Row("store", f"UpdateSecretVersionStage {name}", move, "False/LoginFailed", WRITTEN)
    account = "tests.support.fake_aws.FakeStores.account"
    for error in (DENIED, AWAY):
        ready = "False/AccessDenied" if error is DENIED else UNKNOWN_STORE
        synced = "Unknown/AccessDenied" if error is DENIED else UNKNOWN_STORE
        yield Row("store", f"identity {type(error).__name__}", raising(account, error), ready, synced)
    gone = secret_marked_for_deletion()
    yield Row("store", "marked for deletion", gone, "False/SecretNotFound", "Unknown/SecretNotFound")


def _database() -> Iterator[Row]:
    rejected = password_changed_by_hand()
    yield Row("database", "login refused", rejected, "False/LoginFailed", WRITTEN, held="LoginFailed")
    yield Row("database", "unreachable", server(down=True), "Unknown/LoginFailed", WRITTEN)
    yield Row("database", "gone in the middle", server(before_statement=_goes), "Unknown/LoginFailed", WRITTEN)
    yield Row("database", "admin refused", server(refuses_admin="grant it CREATEROLE"), OK, WRITTEN)
    bad_host = value(host="127.0.0.1")
    yield Row(
        "database", "host that is never connected to", bad_host, "False/InvalidSecretValue", "False/InvalidSecretValue"
    )
    yield Row(
        "database", "value without a host", value(host=None), "False/InvalidSecretValue", "Unknown/InvalidSecretValue"
    )


def _goes(statement: str) -> None:
    raise Unavailable("the server went")


def _delivery() -> Iterator[Row]:
    for name, error in {"role": ROLE, "policy": POLICY, "webhook down": HOOK_DOWN, "unreachable": NO_ANSWER}.items():
        absent = request("POST", SECRETS, error, deletes=SECRET)
        yield Row("delivery", f"absent and not written: {name}", absent, SYNC_FALSE, SYNC_FALSE)
        yield Row(
            "delivery", f"new password not written: {name}", request("PUT", SECRET, error), SYNC_FALSE, SYNC_FALSE
        )
    for name, error in {"role": ROLE, "unreachable": NO_ANSWER}.items():
        unread = request("GET", SECRET, error)
        yield Row("delivery", f"not read: {name}", unread, "Unknown/SyncFailed", "Unknown/SyncFailed")
    for name, change, reason in (
        ("of others", {}, "NotOurs"),
        ("immutable", {"immutable": True, **OURS}, "SecretConflict"),
        ("another type", {"type": "kubernetes.io/tls", **OURS}, "SecretTypeImmutable"),
    ):
        yield Row("delivery", name, secret_of_others(**change), SYNC_FALSE, f"False/{reason}", held="Unsynced")
    template = spec(target={"template": {"URL": "{{ nothing }}"}})
    yield Row("delivery", "template and value", template, SYNC_FALSE, "False/TemplateFailed", held="Unsynced")
    large = value(filling="x" * MAX_SECRET)
    yield Row("delivery", "too large", large, SYNC_FALSE, "False/TemplateFailed", held="Unsynced")
    cell = raising("tests.support.direct.DirectRenderer.render", DeliveryUnavailable("rendering took too long"))
    yield Row("delivery", "rendering interrupted", cell, "Unknown/SyncFailed", "Unknown/SyncFailed")


def _policy_and_spec() -> Iterator[Row]:
    source = spec(source={"secretId": "billing/orders"})
    yield Row("policy", "source denied", source, "False/AccessDenied", "Unknown/AccessDenied")
    admin = spec(rotation={"adminSecretId": "billing/admin"})
    yield Row("policy", "admin secret denied", admin, "False/AccessDenied", WRITTEN, held="AccessDenied")
    journal = request("POST", "/api/v1/namespaces/here/configmaps", ROLE)
    yield Row("policy", "journal refused", journal, OK, WRITTEN)
    invalid = "False/InvalidSpec", "Unknown/InvalidSpec"
    yield Row("spec", "does not parse", spec(rotation={"strategy": "Unheard"}), *invalid)
    yield Row("spec", "template with an error", spec(target={"template": {"URL": "{% for %}"}}), *invalid)
    yield Row("spec", "too large", applied(SPEC, labels={"filling": "x" * LARGEST}), *invalid)
    often = spec(rotation={"schedule": "rate(1 hour)"})
    yield Row("spec", "schedule that cannot be followed", often, "False/InvalidSpec", WRITTEN, held="InvalidSpec")
    suspended = spec(rotation={"suspend": True})
    yield Row("spec", "suspended", suspended, OK, WRITTEN, held="Suspended", is_on_purpose=True)
    fault = raising("tests.support.fake_aws.FakeStore.describe", KeyError("x"))
    yield Row("operator", "unexpected failure", fault, "Unknown/SyncFailed", "Unknown/SyncFailed")


ROWS = [*_store(), *_database(), *_delivery(), *_policy_and_spec()]


# ---- what people and programs see


@cache
def alerts() -> Mapping[str, str]:
    """The expressions of the chart's alerts."""
    (group,) = one(rendered(nested("metrics.prometheusRule", {"enabled": True})), "PrometheusRule")["spec"]["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


@cache
def columns() -> tuple[tuple[str, Any], ...]:
    """The columns of ``kubectl get``: name, and what finds the value."""
    (version,) = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    return tuple((each["name"], json_path(each["jsonPath"])) for each in version["additionalPrinterColumns"])


Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(operator: FakeOperator) -> Samples:
    registry = operator.services.metrics.registry
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value
        for metric in registry.collect()
        for each in metric.samples
        if each.name.startswith("rotatedsecrets_")
    }


def firing(before: Samples, now: Samples) -> list[str]:
    """The alerts whose expressions are true, whatever they wait for; of the kinds of expressions that the chart has."""
    return [name for name, expression in alerts().items() if _is_true(expression, before, now)]


def _is_true(expression: str, before: Samples, now: Samples) -> bool:
    selected = re.search(r"(rotatedsecrets_\w+)\{([^}]*)\}", expression)
    compared = re.search(r"(==|<|>)\s*(-?[\d.]+)\s*$", expression)
    if selected is None or compared is None:
        return False
    matchers = re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', selected[2])
    chosen = [
        found - before.get((name, labels), 0.0) if "increase(" in expression else found
        for (name, labels), found in now.items()
        if name == selected[1] and all(_matches(dict(labels), *each) for each in matchers)
    ]
    values = [time.time() - found for found in chosen] if expression.startswith("time()") else chosen
    is_so, limit = {"==": eq, "<": lt, ">": gt}[compared[1]], float(compared[2])
    return any(is_so(found, limit) for found in values)


def _matches(labels: Mapping[str, str], name: str, how: str, text: str) -> bool:
    if name not in labels:
        return True  # one of the operator's Service, which Prometheus adds
    found = re.fullmatch(text, labels[name]) if "~" in how else labels[name] == text
    return bool(found) is not how.startswith("!")


def exit_code_of_wait(before: Json, after: Json, annotation: str, progress_of: ProgressOf) -> int:
    """Of a command that asked for it, and sees what is there until it gives up."""
    asked = after["metadata"]["annotations"][annotation]
    pending = PendingRequest(asked, read(before), "1", progress_of, "it", since=0.0)
    result = pending.handle(Changed(read(after)), 1.0) or pending.result_at(2.0 + PATIENCE)
    return exit_code([result or pending.timed_out(300.0, "rotated-secrets")])


@dataclass(frozen=True)
class Told:
    """What is told while the trouble lasts."""

    conditions: Mapping[str, str]
    events: tuple[str, ...]
    ready_metric: float | None
    firing: tuple[str, ...]
    shown: str
    rotate_code: int
    resync_code: int

    def __str__(self) -> str:
        conditions = " ".join(
            f"{kind}={self.conditions.get(kind, '-')}" for kind in ("Ready", "Synced", "Rotated", "Held")
        )
        return (
            f"{conditions} | {' '.join(self.events)} | ready {self.ready_metric:g} | {' '.join(self.firing) or '-'} | "
            f"{self.shown} | rotate {self.rotate_code} resync {self.resync_code}"
        )


def look(operator: FakeOperator) -> None:
    operator.services.observed.invalidate(KEY)
    with contextlib.suppress(Exception):
        operator.reconcile()


def told(operator: FakeOperator, counted: Samples, asked: Json) -> Told:
    now: Json = operator.cluster.objects[path_of(KEY)]
    found = {each["type"]: f"{each['status']}/{each['reason']}" for each in now["status"]["conditions"]}
    series = operator.services.metrics.registry.get_sample_value
    values = [(name, find(now)) for name, find in columns()]
    return Told(
        found,
        tuple(dict.fromkeys(each for each in operator.events.reasons if each in WARNINGS)),
        series("rotatedsecrets_ready", {"namespace": KEY.namespace, "name": KEY.name}),
        tuple(firing(counted, samples(operator))),
        " ".join(f"{name}={_shown(value)}" for name, value in values if "Age" not in name and "rotation" not in name),
        exit_code_of_wait(asked, now, ROTATE_ANNOTATION, rotation_progress),
        exit_code_of_wait(asked, now, RESYNC_ANNOTATION, resync_progress),
    )


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def problems(row: Row, found: Told) -> Iterator[str]:
    if found.conditions.get("Ready") != row.ready:
        yield f"Ready is not {row.ready}"
    if found.conditions.get("Synced") != row.synced:
        yield f"Synced is not {row.synced}"
    held = found.conditions.get("Held", "")
    if row.held and held != f"True/{row.held}":
        yield f"it is not held for {row.held}"
    is_ready, is_held = row.ready == OK, held.startswith("True")
    if is_ready and not is_held and found.conditions["Rotated"].startswith("True"):
        yield "a rotation that does not come about is silently true"
    if found.ready_metric != is_ready:
        yield f"the metric says {found.ready_metric}"
    if not found.events:
        yield "no Warning Event"
    if not found.firing and not row.is_on_purpose and not (is_ready and row.name in PASSING):
        yield "no alert"
    if row.is_on_purpose and found.firing:
        yield "an alert"
    if found.ready_metric == 0 and "Ready=True" in found.shown:
        yield "kubectl get shows it as ready"
    if found.rotate_code == 0 or (is_held and row.is_on_purpose and found.rotate_code != 2):
        yield f"rotate --wait ends with {found.rotate_code}"
    if (found.resync_code == 0) > is_ready:
        yield f"resync --wait ends with {found.resync_code}"


PASSING = frozenset({"PutSecretValue StoreUnavailable", "PutSecretValue StoreThrottled", "journal refused"})
"""Rotations that are tried again, of a credential that works."""


@pytest.mark.parametrize("row", ROWS, ids=map(str, ROWS))
def test_each_way_in_which_a_look_can_end_is_told_and_passes(operator: FakeOperator, row: Row) -> None:
    operator.services.metrics.follow_leader(lambda: True)
    with_admin(operator).apply(SPEC)
    operator.settle()
    operator.ask("first")
    operator.settle()
    assert operator.condition("Rotated")[0] == "True"
    operator.events.recorded.clear()
    counted = samples(operator)
    row.trouble.begin(operator)
    try:
        obj = operator.cluster.objects[path_of(KEY)]
        requests = {ROTATE_ANNOTATION: "second", RESYNC_ANNOTATION: "second"}
        asked = operator.apply(obj["spec"], annotations=requests)
        asked = json.loads(json.dumps(asked))
        for _ in range(LOOKS):
            look(operator)
        found = told(operator, counted, asked)
        wrong = list(problems(row, found))
        later = operator.restarted()
        look(later)
        look(later)
        again = told(later, counted, asked)
        if {**again.conditions, "Rotated": ""} != {**found.conditions, "Rotated": ""}:
            wrong.append(f"another operator says {again.conditions}")
    finally:
        row.trouble.end(operator)
    sys.stdout.write(f"\n{row} | {found}\n")
    wrong += [f"{each} afterwards" for each in not_as_before(operator)]
    assert not wrong, f"{row}\n{found}\n" + "\n".join(wrong)


def not_as_before(operator: FakeOperator) -> Iterator[str]:
    for _ in range(3):
        look(operator)
    for kind in ("Ready", "Synced"):
        if operator.condition(kind)[0] != "True":
            yield f"{kind} is {operator.condition(kind)}"
    claim = operator.status().get("rotation")
    if operator.condition("Rotated")[0] != "True" and (claim is None or claim["attempt"] == 1):
        yield f"Rotated is {operator.condition('Rotated')}"
