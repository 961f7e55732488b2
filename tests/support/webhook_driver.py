"""One secret whose rotation a webhook serves, driven by the product's own planning, steps, connections and store.

Only the cluster is played: the resource's status and the target Secret are kept in memory.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.status import HistoryEntry, RotatedSecretStatus
from rotated_secrets.controller.aws.managed_secrets import ManagedSecrets
from rotated_secrets.controller.look.database_access import DatabaseAccess
from rotated_secrets.controller.look.fetch import describe, read_current
from rotated_secrets.controller.look.interpret import check_usernames, endpoint_of
from rotated_secrets.controller.look.webhooks import engine_of_webhook, trust_of_webhook
from rotated_secrets.databases.base import DatabaseError
from rotated_secrets.databases.hosts import HostRules
from rotated_secrets.delivery.target import TargetKind, TargetState
from rotated_secrets.delivery.targets import TargetSecrets
from rotated_secrets.observability.metrics import Metrics
from rotated_secrets.rotation.actions import Action, Retry, Waiting
from rotated_secrets.rotation.observation import Observation, Terms
from rotated_secrets.rotation.ports import LookAgain, Ports
from rotated_secrets.rotation.run import Run, TryAgain
from rotated_secrets.rotation.status_updates import initialised
from rotated_secrets.rotation.strategies import check_value
from rotated_secrets.secretstores.base import SecretStore, StoredVersion
from rotated_secrets.values import SecretId, SecretText, Stage
from tests.support.direct import DirectLogins
from tests.support.reports import Recorded

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_NO_MANAGED = cast(ManagedSecrets, None)
"""A webhook has no need to ask AWS where anything is."""
LOOPBACK = HostRules.of(("127.0.0.0/8",))


class Died(Exception):
    """The operator's process ended here."""


@dataclass
class Rotating:
    """A resource with a webhook."""

    store: SecretStore
    aws: SecretsManagerClient
    name: SecretId
    url: str
    key: str
    ca_pem: str
    rotation: Mapping[str, Any]
    call_seconds: float = 5.0

    status: RotatedSecretStatus = field(default_factory=RotatedSecretStatus)
    delivered: StoredVersion | None = None
    request: str | None = None
    later: timedelta = timedelta(0)
    before: Callable[[Action], None] = lambda _: None
    """Called before each action."""
    after: Callable[[Action], None] = lambda _: None

    def rotate(self) -> Waiting:
        """Ask for a rotation, and look until nothing is to be done now."""
        self.request = f"{self.request or ''}+"
        return self.look()

    def look(self) -> Waiting:
        """One look, as the operator makes it, to its end."""
        reports = Recorded(before=self.before, after=lambda action, seen: self.after(action))
        try:
            run = self._run(reports)
            try:
                run.advance(database=True)
                return run.conclude()
            finally:
                run.close()
        except (LookAgain, TryAgain, DatabaseError) as error:
            return Retry(str(error))

    def _run(self, reports: Recorded) -> Run:
        resource, secrets = self._resource(), cast(TargetSecrets, self)
        webhook = resource.spec.webhook
        assert webhook is not None
        description = describe(self.store, self.name)
        current = read_current(self.store, description)
        endpoint = endpoint_of(resource, current, description, _NO_MANAGED)
        terms = Terms(description.arn, resource.spec.rotation, None, self.request, resource.created_at, endpoint)
        target = _Target(self)
        seen = Observation.first(
            terms, description.stages, current, initialised(self.status, terms, self.now()), target.look(current)
        )
        check_value(terms, current)
        credential = seen.current_credential
        engine = engine_of_webhook(resource, webhook, credential, current, description, secrets)
        engine.call_seconds = self.call_seconds
        check_usernames(engine, terms.rotation, credential)
        ports = Ports(
            store=self.store,
            database=DatabaseAccess(
                engine,
                application=credential,
                trust=trust_of_webhook(resource, webhook, secrets),
                rules=LOOPBACK,
                read_admin=None,
                logins=DirectLogins(engine),
                metrics=Metrics(),
            ),
            status=self,
            target=target,
            workloads=None,
            reports=reports,
            guard=lambda: None,
            now=self.now,
        )
        return Run(terms, seen, ports, generation=1)

    def _resource(self) -> RotatedSecret:
        webhook = {"url": self.url, "authSecretName": "hook", "caSecretName": "hook-ca"}
        return RotatedSecret.parse(
            {
                "metadata": {
                    "namespace": "shop",
                    "name": "partner",
                    "uid": "1",
                    "generation": 1,
                    "resourceVersion": "1",
                    "creationTimestamp": "2026-01-01T00:00:00Z",
                },
                "spec": {
                    "source": {"secretId": self.name},
                    "database": {"webhook": webhook},
                    "rotation": self.rotation,
                },
            }
        )

    def entry(self, namespace: str, name: str, key: str, field: str) -> SecretText:
        """As the cluster has it."""
        assert (namespace, name, key) == ("shop", "hook", "key")
        return SecretText(base64.b64encode(self.key.encode()).decode())

    def certificate_authorities(self, namespace: str, name: str, field: str) -> str:
        assert (namespace, name) == ("shop", "hook-ca")
        return self.ca_pem

    def now(self) -> datetime:
        return datetime.now(UTC) + self.later

    def write(self, status: RotatedSecretStatus) -> None:
        self.status = status

    def note(self, status: RotatedSecretStatus) -> None:
        pass

    def _look_at_target(self, current: StoredVersion) -> TargetState:
        if self.delivered is None:
            return TargetState(TargetKind.ABSENT)
        same = self.delivered.version_id == current.version_id
        return TargetState(TargetKind.EQUAL if same else TargetKind.DIFFERS, self.delivered.version_id)

    # ---- what came of it

    def value(self, stage: Stage = Stage.CURRENT) -> dict[str, str]:
        text = self.aws.get_secret_value(SecretId=self.name, VersionStage=stage)["SecretString"]
        found: dict[str, str] = json.loads(text)
        return found

    @property
    def stages(self) -> set[str]:
        found = self.aws.describe_secret(SecretId=self.name)["VersionIdsToStages"]
        return {stage for labels in found.values() for stage in labels}

    @property
    def last(self) -> HistoryEntry:
        return self.status.history[0]

    def said(self) -> str:
        """Everything that people are told."""
        return self.status.model_dump_json()


@dataclass
class _Target:
    """The Secret that pods mount."""

    of: Rotating

    def look(self, current: StoredVersion) -> TargetState:
        return self.of._look_at_target(current)

    look_again = look

    def write(self, current: StoredVersion) -> TargetState:
        self.of.delivered = current
        return self.look(current)
