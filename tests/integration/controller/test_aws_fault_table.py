"""The fault table of AWS: what becomes of each operation with each kind of answer. ``pytest -s`` prints it.

Each cell is an operator that was ready, a fault that lasts, what is told meanwhile and how many requests are made, and
that the operator is ready again when the fault is over. The answers are made in :mod:`tests.support.aws_faults`.
"""

from __future__ import annotations

import base64
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rotated_secrets.api.names import ROLE_ANNOTATION, TOKEN_ANNOTATION
from rotated_secrets.controller.aws.service_accounts import ServiceAccounts
from rotated_secrets.controller.work.queue import RetryLater
from rotated_secrets.observability.event_reasons import WARNINGS
from rotated_secrets.observability.metrics import Metrics
from rotated_secrets.secretstores.aws import AwsSettings, AwsStores
from rotated_secrets.values import SecretText
from tests.support.aws_faults import Kind, kinds
from tests.support.fake_aws import HOME, REGION
from tests.support.fake_operator import KEY, SPEC, FakeOperator, changed, fake_operator, path_of, with_admin
from tests.support.wire_aws import AGENT, WireAws, wire_aws, without_aws_settings

ROLE = f"arn:aws:iam::{HOME}:role/orders"
LOOKS, THROTTLED_LOOKS = 2, 3
"""Looks while the fault lasts; one or two that are throttled pass."""
LOOKS_A_MINUTE = 8
"""With the queue's pauses, which double from a second on."""
MOST_A_MINUTE = 100
"""Requests of one RotatedSecret to AWS in the first minute of a fault, the SDK's own attempts among them."""
UNUSED = {"BatchGetSecretValue", "GetRandomPassword", "ListSecretVersionIds", "CancelRotateSecret", "DeleteSecret"}


class World:
    """An operator at a wire."""

    def __init__(self, operator: FakeOperator, wire: WireAws, own: AwsStores, patch: pytest.MonkeyPatch) -> None:
        self.operator, self.wire, self.own, self.patch = operator, wire, own, patch
        self.now = 0.0
        session: Any = own._session
        session.credentials._clock = lambda: self.now
        self.numbers = iter(range(1, 1_000_000))

    # ---- what makes the operator ask AWS

    def look(self) -> None:
        self.operator.services.observed.invalidate(KEY)

    def log_in(self) -> None:
        """Look with credentials of the operator that are to be loaded."""
        session: Any = self.own._session
        session.credentials._found = session.credentials._failure = None
        self.look()

    def find_account(self) -> None:
        self.own._account = None
        self.look()

    def assume(self) -> None:
        """Look with a role that is to be assumed."""
        for identity in self.operator.services.identities._identities.values():
            identity.evict()
        self.look()

    def rotate(self) -> None:
        """Ask for a rotation, of which there were not too many."""
        obj = self.operator.cluster.objects[path_of(KEY)]
        self.operator.cluster.put(path_of(KEY), obj | {"status": obj["status"] | {"history": []}})
        self.operator.ask(f"rotation-{next(self.numbers)}")

    def reconcile(self) -> None:
        self.now += 10
        self.operator.reconcile()

    def poll(self) -> None:
        self.operator.services.feeds.poll()

    # ---- what is so

    def conditions(self) -> dict[str, str]:
        found = self.operator.status().get("conditions", [])
        return {each["type"]: f"{each['status']}/{each['reason']}" for each in found if each["type"] != "Held"}

    def message(self, kinds: tuple[str, ...]) -> str:
        return next((self.operator.condition(kind)[2] for kind in kinds), "")

    def outcomes(self) -> Counter[str]:
        """Requests that did not succeed, as the metrics count them."""
        found: Counter[str] = Counter()
        for metric in self.operator.services.metrics.registry.collect():
            for sample in metric.samples:
                if sample.name == "rotatedsecrets_aws_requests_total" and sample.labels["outcome"] != "ok":
                    found[f"{sample.labels['operation']} {sample.labels['outcome']}"] += int(sample.value)
        return found


def by_token_of_its_own(world: World, folder: Path) -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"iss": "https://oidc.example.com", "sub": "me"}).encode()).decode()
    (folder / "token").write_text(f"x.{claims.rstrip('=')}.y")
    world.patch.delenv("AWS_ACCESS_KEY_ID")
    world.patch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(folder / "token"))
    world.patch.setenv("AWS_ROLE_ARN", ROLE)


def by_agent(world: World, folder: Path) -> None:
    world.patch.delenv("AWS_ACCESS_KEY_ID")
    world.patch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{world.wire.url}/v1/credentials")
    world.patch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)


def as_role(world: World, folder: Path) -> None:
    world.operator.apply(changed(SPEC, source={"credentials": {"roleArn": ROLE}}))


def as_service_account(world: World, folder: Path) -> None:
    annotations = {ROLE_ANNOTATION: ROLE, TOKEN_ANNOTATION: "*"}
    world.operator.cluster.put(
        "/api/v1/namespaces/shop/serviceaccounts/orders", {"metadata": {"annotations": annotations}}
    )
    world.patch.setattr(ServiceAccounts, "token", lambda *_: SecretText("a.b.c-of-orders"))
    world.operator.apply(changed(SPEC, source={"credentials": {"serviceAccountName": "orders"}}))


def external(world: World, folder: Path) -> None:
    world.operator.aws.find("shop/orders").about["rotation_enabled"] = True
    world.operator.apply(changed(SPEC, rotation={"strategy": "External", "adminSecretId": None}))


def aws_rotates(world: World) -> None:
    """What RotateSecret has asked for is done."""
    secret = world.operator.aws.find("shop/orders")
    version = f"00000000-0000-4000-8000-{next(world.numbers):012}"
    secret.put(world.operator.credential(password=f"password-{version}"), version)


@dataclass(frozen=True)
class Scenario:
    """How an operation comes to be called, and which conditions are not true while it fails."""

    operation: str
    provoke: Callable[[World], None]
    untrue: tuple[str, ...] = ("Ready", "Synced")
    prepare: Callable[[World, Path], None] = lambda world, folder: None
    act: Callable[[World], None] = World.reconcile
    finish: Callable[[World], None] | None = None
    service: str = "secretsmanager"
    who: str = ""

    def __str__(self) -> str:
        return f"{self.operation} {self.who}".strip()


SCENARIOS = [
    Scenario("DescribeSecret", World.look),
    Scenario("GetSecretValue", World.look),
    Scenario("PutSecretValue", World.rotate, ("Rotated",)),
    Scenario("UpdateSecretVersionStage", World.rotate, ("Rotated", "Ready")),
    Scenario("RotateSecret", World.rotate, ("Rotated",), external, finish=aws_rotates),
    Scenario("ListSecrets", World.look, (), act=World.poll),
    Scenario("GetCallerIdentity", World.find_account, service="sts"),
    Scenario("AssumeRole", World.assume, prepare=as_role, service="sts", who="of a tenant"),
    Scenario("AssumeRoleWithWebIdentity", World.assume, prepare=as_service_account, service="sts", who="of a tenant"),
    Scenario(
        "AssumeRoleWithWebIdentity", World.log_in, prepare=by_token_of_its_own, service="sts", who="of the operator"
    ),
    Scenario(AGENT, World.log_in, prepare=by_agent, service="sts", who="of the operator"),
]


@dataclass(frozen=True)
class Cell:
    """What became of one operation with one kind of answer."""

    scenario: Scenario
    kind: Kind
    conditions: dict[str, str]
    events: tuple[str, ...]
    metrics: tuple[str, ...]
    message: str
    calls: int
    problems: tuple[str, ...]

    def __str__(self) -> str:
        conditions = " ".join(f"{kind}={value}" for kind, value in self.conditions.items())
        told = " ".join(dict.fromkeys(self.events)) or "-"
        head = (
            f"{self.scenario} | {self.kind.group} | {self.kind.name} | {conditions} | {told} | {' '.join(self.metrics)}"
        )
        wrong = f"\n    WRONG: {'; '.join(self.problems)}" if self.problems else ""
        return f"{head} | {self.calls} calls | {self.message}{wrong}"


@pytest.fixture
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    """Of a scenario, ready."""
    scenario: Scenario = request.param
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    monkeypatch.setattr("botocore.retries.quota.RetryQuota.acquire", lambda *_: True)  # other cells have used it up
    monkeypatch.setattr(
        "rotated_secrets.secretstores.aws_store._until_visible", lambda error, call, *given: call(*given)
    )
    with wire_aws() as wire:
        without_aws_settings(monkeypatch, wire)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOPERATOR")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")

        def stores(metrics: Metrics) -> AwsStores:
            settings = AwsSettings(REGION, wire.url, connect_timeout=2, read_timeout=2, writes_per_second=10_000)
            return AwsStores(
                settings, lambda operation, outcome: metrics.aws_request(operation=operation, outcome=outcome)
            )

        with fake_operator(monkeypatch, wire.aws, stores) as operator:
            own: Any = operator.services.identities.own.stores
            world = World(operator, wire, own, monkeypatch)
            with_admin(operator).apply(SPEC)
            scenario.prepare(world, tmp_path)
            operator.settle()
            assert operator.condition()[0] == "True", operator.condition()
            yield world


def cell(world: World, scenario: Scenario, kind: Kind) -> Cell:
    """Let the fault last for some looks, and end."""
    operator, wire = world.operator, world.wire
    problems: list[str] = []
    operator.events.recorded.clear()
    scenario.provoke(world)
    before, counted, calls = world.conditions(), world.outcomes(), len(wire.calls)
    wire.fail(scenario.operation, kind.fault, kind.times)
    looks = THROTTLED_LOOKS if "hrottl" in f"{kind.group} {kind.name}" else LOOKS
    for _ in range(looks):
        try:
            scenario.act(world)
        except RetryLater:
            continue
        except Exception as error:  # noqa: BLE001 - each is a fault of the operator
            problems.append(f"a traceback: {type(error).__name__}: {error}")
        break
    conditions, events = world.conditions(), tuple(reason for reason in operator.events.reasons if reason in WARNINGS)
    metrics = tuple(sorted(world.outcomes() - counted))
    message = world.message(scenario.untrue)
    calls = len(wire.calls) - calls
    if calls * LOOKS_A_MINUTE / looks > MOST_A_MINUTE:
        problems.append(f"{calls} requests in {looks} looks")
    if kind.attempts_only:
        if conditions.get("Ready") != before.get("Ready") or events:
            problems.append("told though it passed")
    else:
        problems += [f"{each} is silently true" for each in scenario.untrue if conditions[each].startswith("True")]
        if scenario.operation != AGENT and not any(each.startswith(scenario.operation) for each in metrics):
            problems.append("no metric")
        if scenario.untrue:
            if "; " not in message:
                problems.append("no advice")
            if not events:
                problems.append("no Event")
    wire.faults.clear()
    return Cell(scenario, kind, conditions, events, metrics, message, calls, (*problems, *recovered(world, scenario)))


def recovered(world: World, scenario: Scenario) -> list[str]:
    """What is not as it was, once AWS answers again."""
    world.now += 10
    world.look()
    world.operator.settle()
    if scenario.finish is not None:
        scenario.finish(world)
        world.look()
        world.operator.settle()
    found = world.conditions()
    wrong = [each for each in ("Ready", "Synced", *scenario.untrue) if not found[each].startswith("True")]
    return [f"{each} is {found[each]} afterwards" for each in dict.fromkeys(wrong)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("world", "scenario"), [(each, each) for each in SCENARIOS], ids=map(str, SCENARIOS), indirect=["world"]
)
def test_every_answer_of_aws_is_told_is_asked_for_seldom_and_passes(world: World, scenario: Scenario) -> None:
    cells = [cell(world, scenario, kind) for kind in kinds(scenario.operation, scenario.service)]
    sys.stdout.write("\n" + "\n".join(map(str, cells)) + "\n")
    wrong = [each for each in cells if each.problems]
    assert not wrong, f"{len(wrong)} of {len(cells)} cells:\n" + "\n".join(map(str, wrong))
    assert not UNUSED & set(world.wire.operations())
