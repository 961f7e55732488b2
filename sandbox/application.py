"""An application with a database of its own, as a person would set it up before asking for rotation.

Its user owns a database; an admin that is no superuser may change that user; both credentials are in the store; and a
RotatedSecret names them. Knows nothing of who rotates.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.applications.base import Account
from sandbox.kubernetes.client import Json
from sandbox.secretsmanager import SecretsManager
from sandbox.stack import Stack

RESOURCES = "/apis/rotatedsecrets.io/v1alpha1"


@dataclass(frozen=True)
class Application:
    """Who and where everything is. Names of secrets follow the default access policy."""

    stack: Stack
    store: SecretsManager
    namespace: str
    name: str
    user: str
    database: str
    admin: str

    @property
    def secret_id(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def admin_secret_id(self) -> str:
        return f"{self.namespace}/admin/{self.name}"

    @property
    def clone(self) -> str:
        return f"{self.user}_clone"

    def manifest(self, spec: Mapping[str, Any] | None = None, **rotation: Any) -> Json:
        """A RotatedSecret, of two users that take turns where nothing else is said; ``spec`` replaces whole sections,
        ``rotation`` single fields."""
        strategy = {"strategy": "AlternatingUsers", "adminSecretId": self.admin_secret_id}
        return {
            "apiVersion": "rotatedsecrets.io/v1alpha1",
            "kind": "RotatedSecret",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {"source": {"secretId": self.secret_id}, "rotation": {**strategy, **rotation}, **(spec or {})},
        }

    def value(self, stage: str = "AWSCURRENT") -> dict[str, Any]:
        """The value of a version in the store."""
        found = self.store.client().get_secret_value(SecretId=self.secret_id, VersionStage=stage)
        value: dict[str, Any] = json.loads(found["SecretString"])
        return value

    def account(self, stage: str = "AWSCURRENT") -> Account:
        """Who logs in with a version in the store."""
        return account_in(self.value(stage))

    def put_value(self, **changes: Any) -> None:
        """A person changes AWSCURRENT by hand: keys set, or removed where None."""
        value = {key: each for key, each in (self.value() | changes).items() if each is not None}
        self.store.client().put_secret_value(SecretId=self.secret_id, SecretString=json.dumps(value))

    def stages(self) -> dict[str, list[str]]:
        """The versions by stage, for all that have one."""
        labels = self.store.client().describe_secret(SecretId=self.secret_id)["VersionIdsToStages"]
        by_stage: dict[str, list[str]] = {}
        for version, stages in labels.items():
            for stage in stages:
                by_stage.setdefault(stage, []).append(version)
        return by_stage

    def users(self) -> set[str]:
        """The database users of this application, by their names."""
        return self.stack.side.users(self.user)


def account_in(value: Mapping[str, Any]) -> Account:
    """Whom a secret value lets in."""
    return Account(value["username"], value["password"], value.get("dbname", ""))


def create_application(
    stack: Stack,
    namespace: str,
    name: str,
    *,
    user: str | None = None,
    database: str | None = None,
    store: SecretsManager | None = None,
) -> Application:
    """Make the users, the database where it is not there yet, and both secrets.

    Without names given, they are made up of ``name``; ``store`` is the account that holds the secrets.
    """
    side, store = stack.side, store or stack.store
    user = user or name.replace("-", "_")
    made = Application(stack, store, namespace, name, user, database or user, f"admin_{user}"[: side.longest_name])
    account = Account(made.user, secrets.token_urlsafe(12), made.database)
    admin = Account(made.admin, secrets.token_urlsafe(12))
    side.create_user(account)
    side.create_admin(admin, made.user)
    where = {"host": "127.0.0.1", "port": stack.database_proxy.port}
    client = store.client()
    for secret_id, holder in ((made.admin_secret_id, admin), (made.secret_id, account)):
        client.create_secret(Name=secret_id, SecretString=json.dumps({**where, **side.value(holder)}))
    return made
