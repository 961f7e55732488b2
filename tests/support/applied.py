"""A RotatedSecret on the running stack, and everything a test wants to know of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.application import RESOURCES, Application
from sandbox.kubernetes.client import Api, Json, StatusError
from sandbox.proxy import Call
from sandbox.secretsmanager import SecretsManager
from sandbox.stack import Stack
from sandbox.waiting import eventually

ROTATE = "rotatedsecrets.io/rotate"
EVERY = 0.1
"""Seconds between two looks at the API server, which have a price too."""
WRITES = frozenset({"CreateSecret", "PutSecretValue", "UpdateSecret", "UpdateSecretVersionStage", "DeleteSecret"})


@dataclass(frozen=True)
class Applied:
    """The resource of one application. Nothing here waits for longer than a rotation with a restart may take."""

    application: Application

    @property
    def stack(self) -> Stack:
        return self.application.stack

    @property
    def api(self) -> Api:
        return self.stack.api

    @property
    def path(self) -> str:
        return f"{RESOURCES}/namespaces/{self.application.namespace}/rotatedsecrets"

    @property
    def secret_path(self) -> str:
        return f"/api/v1/namespaces/{self.application.namespace}/secrets/{self.application.name}"

    def apply(self, spec: Mapping[str, Any] | None = None, *, request: str | None = None, **rotation: Any) -> Applied:
        """Create the resource; ``request`` asks for a rotation from the start."""
        manifest = self.application.manifest(spec, **rotation)
        if request is not None:
            manifest["metadata"]["annotations"] = {ROTATE: request}
        self.api.create(self.path, manifest)
        return self

    def read(self) -> Json:
        return self.api.get(f"{self.path}/{self.application.name}")

    @property
    def status(self) -> Json:
        status: Json = self.read().get("status") or {}
        return status

    def patch(self, body: Json) -> None:
        self.api.patch(f"{self.path}/{self.application.name}", body)

    def delete(self) -> None:
        self.api.delete(f"{self.path}/{self.application.name}")

    # ---- conditions

    def condition(self, kind: str) -> Json:
        """Empty where there is none yet."""
        conditions: list[Json] = self.status.get("conditions") or []
        return next((each for each in conditions if each["type"] == kind), {})

    def until(self, kind: str, status: str, reason: str | None = None, *, seconds: float = 20) -> Json:
        """The condition, once it says so."""

        def look() -> Json | None:
            found = self.condition(kind)
            return found if found.get("status") == status and reason in (None, found["reason"]) else None

        wanted = f"{self.application.name}: {kind} is {status}{f' with reason {reason}' if reason else ''}"
        try:
            found = eventually(look, wanted, seconds=seconds, every=EVERY)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; its status: {json.dumps(self.status, indent=1)}") from None
        assert found is not None
        return found

    def until_ready(self) -> Applied:
        self.until("Ready", "True")
        return self

    # ---- rotations

    def ask(self, request: str) -> None:
        self.patch({"metadata": {"annotations": {ROTATE: request}}})

    def rotate(self, request: str, *, seconds: float = 20) -> None:
        """Ask for a rotation and wait for its end, and for the target Secret to hold what it made."""
        self.ask(request)
        self.until_served(request, seconds=seconds)

    def until_served(self, request: str, *, seconds: float = 20) -> None:
        def look() -> bool:
            status = self.status
            served = (status.get("handledRequests") or {}).get("rotate") == request and not status.get("rotation")
            current = status.get("currentVersionId")
            made = next((entry["versionId"] for entry in status.get("history", [])), None)
            return served and current == made and current == (status.get("syncedVersionId") or current)

        try:
            eventually(look, f"{self.application.name}: request {request} is served", seconds=seconds, every=EVERY)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; its status: {json.dumps(self.status, indent=1)}") from None

    # ---- the target Secret

    def secret(self) -> dict[str, str] | None:
        """What the target Secret holds; None where there is none."""
        try:
            held = self.api.get(self.secret_path)
        except StatusError as error:
            if error.code == 404:
                return None
            raise
        return {key: base64.b64decode(value).decode() for key, value in (held.get("data") or {}).items()}

    # ---- what was told and asked

    def events(self) -> list[Json]:
        found: list[Json] = self.api.get(f"/api/v1/namespaces/{self.application.namespace}/events")["items"]
        return [event for event in found if event["involvedObject"]["name"] == self.application.name]

    def reasons(self) -> set[str]:
        return {event["reason"] for event in self.events()}

    def store_calls(self) -> list[Call]:
        """Calls about this application's secrets, by whatever they were named."""
        names = (self.application.secret_id, self.application.admin_secret_id)
        return [call for call in self.stack.store_proxy.calls if _named(call.subject).startswith(names)]

    def store_writes(self) -> list[str]:
        return [call.name for call in self.store_calls() if call.name in WRITES]

    def version_count(self) -> int:
        """How many versions the secret has, deprecated ones too."""
        client = self.application.store.client()
        listed = client.list_secret_version_ids(SecretId=self.application.secret_id, IncludeDeprecated=True)
        return len(listed["Versions"])


def _named(subject: str) -> str:
    """The name in an ARN; a name as it is."""
    return subject.partition(":secret:")[2] if subject.startswith("arn:") else subject


def as_delivered(value: Mapping[str, object]) -> dict[str, str]:
    """A secret value as its keys stand in the Secret: texts as they are, everything else as JSON."""
    return {key: each if isinstance(each, str) else json.dumps(each) for key, each in value.items()}


def passwords_in(stack: Stack) -> Iterator[str]:
    """Every password that any version of any secret in the sandbox's account holds."""
    for page in stack.store.client().get_paginator("list_secrets").paginate():
        for secret in page["SecretList"]:
            yield from passwords_of(stack.store, secret["ARN"])


def passwords_of(store: SecretsManager, secret_id: str) -> Iterator[str]:
    """Every password that any version of a secret holds."""
    client = store.client()
    for version in client.list_secret_version_ids(SecretId=secret_id, IncludeDeprecated=True)["Versions"]:
        text = client.get_secret_value(SecretId=secret_id, VersionId=version["VersionId"]).get("SecretString", "")
        value = json.loads(text) if text.startswith("{") else {}
        yield from (value[key] for key in ("password", "token") if value.get(key))
