"""RotatedSecrets that name hostile servers, what became of each, and the table of it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sandbox.application import RESOURCES
from sandbox.kubernetes.client import Json, StatusError
from sandbox.stack import Stack
from tests.support.applied import ROTATE
from tests.support.hostile.evil import FORGED, Kind
from tests.support.hostile.servers import HostileServers
from tests.support.hostile.stages import DATABASE, PASSWORD, USER, Cell

CA, KEY = "hostile-ca", "hook"
LOOK_SECONDS = 1.0
DELETED_AT_ONCE = 100
_FIELDS = {"time", "level", "logger", "message", "namespace", "name", "step", "exception"}
OK = "ok"
_WRONG = ("False", "Unknown")


@dataclass
class Attack:
    """One RotatedSecret at one hostile server."""

    cell: Cell
    namespace: str
    copy: int = 0
    outcome: str = "nothing was said"

    @property
    def name(self) -> str:
        name = f"{self.cell.engine}-{self.cell.slug}"
        return f"{name}-{self.copy}" if self.copy else name

    @property
    def secret_id(self) -> str:
        return f"{self.namespace}/{self.name}"

    def value(self, port: int) -> Json:
        where = {"engine": self.cell.engine, "host": self.cell.address(self.copy), "port": port}
        return {**where, "username": USER, "password": PASSWORD, "dbname": DATABASE, **self.cell.protocol.value}

    def spec(self, port: int) -> Json:
        return {"source": self._source(), **self._spec(port)}

    def _source(self) -> Json:
        if not self.cell.stage.name.startswith("AssumeRole"):
            return {"secretId": self.secret_id}
        role = f"arn:aws:iam::123456789012:role/{self.name}"
        return {"secretId": self.secret_id, "credentials": {"roleArn": role}}

    def _spec(self, port: int) -> Json:
        query = self.cell.protocol.query
        if self.cell.engine == "webhook":
            url = f"https://{self.cell.address(self.copy)}:{port}/hook"
            random = {"strategy": "RandomValue", "random": {"keys": ["password"]}}
            return {
                "database": {"webhook": {"url": url, "authSecretName": KEY, "caSecretName": CA}},
                "rotation": random,
            }
        if self.cell.engine == "aws":
            return {"rotation": {"strategy": "RandomValue", "random": {"keys": ["password"]}}}
        tls = {"mode": "VerifyCA", "caSecretName": CA} if self.cell.stage.tls else {"mode": "Disable"}
        rotation = {"strategy": "SingleUser", **({"verifyQueries": [query]} if query else {})}
        return {"database": {"tls": tls}, "rotation": rotation}

    def judge(self, resource: Json, reached: Collection[str]) -> str | None:
        """OK, what is wrong, or None as long as the resource does not tell what is wrong with its host."""
        conditions = {each["type"]: each for each in (resource.get("status") or {}).get("conditions") or []}
        ready, held = conditions.get("Ready", {}), conditions.get("Held", {})
        # A query that fails after the login worked is in the way of rotations alone.
        told = ready if ready.get("status") in _WRONG else held if held.get("status") == "True" else None
        if told is None or str(self.cell) not in reached:
            return None
        message = str(told.get("message", ""))
        # The last part of the secret's name, and of the role's.
        host = self.name if self.cell.engine == "aws" else self.cell.address(self.copy)
        if host not in message and not (told is held and "verify quer" in message):
            return None
        faults = (
            ("\n" in message, "a message of several lines"),
            ("failed unexpectedly" in message, "failed unexpectedly"),
        )
        return next((why for applies, why in faults if applies), OK)


@dataclass(frozen=True)
class Namespace:
    """One tenant's namespace, with all that its RotatedSecrets need."""

    stack: Stack
    servers: HostileServers
    name: str
    secrets: set[str] = field(default_factory=set, compare=False)
    """Names of those that were written into the store."""

    @property
    def path(self) -> str:
        return f"{RESOURCES}/namespaces/{self.name}/rotatedsecrets"

    def create(self) -> None:
        api = self.stack.api
        api.create("/api/v1/namespaces", {"metadata": {"name": self.name}})
        for name, data in ((CA, {"ca.crt": self.servers.ca_pem}), (KEY, {"key": "k" * 40})):
            encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
            api.create(f"/api/v1/namespaces/{self.name}/secrets", {"metadata": {"name": name}, "data": encoded})

    def store(self, attacks: Iterable[Attack]) -> None:
        """Write the values into the store."""
        client = self.stack.store.client()
        for attack in attacks:
            self.secrets.add(attack.secret_id)
            client.create_secret(Name=attack.secret_id, SecretString=json.dumps(attack.value(self.servers.port)))

    def apply(self, attacks: Collection[Attack]) -> None:
        """Write the values that the store does not have yet, and create the resources."""
        self.store(attack for attack in attacks if attack.secret_id not in self.secrets)
        for attack in attacks:
            self.create_resource(attack.name, attack.spec(self.servers.port), request="now")

    def create_resource(self, name: str, spec: Json, *, request: str | None = None) -> None:
        """Any RotatedSecret, whatever its spec; ``request`` asks for a rotation."""
        kind = {"apiVersion": "rotatedsecrets.io/v1alpha1", "kind": "RotatedSecret"}
        metadata: Json = {"name": name, "namespace": self.name}
        if request is not None:
            metadata["annotations"] = {ROTATE: request}
        self.stack.api.create(self.path, {**kind, "metadata": metadata, "spec": spec})

    def resources(self) -> list[Json]:
        found: list[Json] = self.stack.api.get(self.path)["items"]
        return found

    def empty(self) -> None:
        """Delete all RotatedSecrets and their secrets: rotations that had begun have nothing to end then."""
        self.delete_all(self.path)
        for secret_id in tuple(self.secrets):
            self._delete_secret(secret_id)

    def delete_all(self, path: str) -> None:
        """Delete all objects of one kind, in parts: a request that takes a minute is cut off in its answer."""
        while self.stack.api.get(path, limit=1)["items"]:
            self.stack.api.delete(path, limit=DELETED_AT_ONCE)

    def delete(self, attack: Attack) -> None:
        """Delete one, and its secret."""
        try:
            self.stack.api.delete(f"{self.path}/{attack.name}")
        except StatusError as error:
            if error.code != 404:
                raise
        self._delete_secret(attack.secret_id)

    def _delete_secret(self, secret_id: str) -> None:
        self.secrets.discard(secret_id)
        self.stack.store.client().delete_secret(SecretId=secret_id, ForceDeleteWithoutRecovery=True)

    def judged(self, attacks: Iterable[Attack], seconds: float) -> None:
        """Wait until each has its outcome."""
        judge_all({self: list(attacks)}, seconds, keep=True)

    def look(self, left: dict[str, Attack]) -> Iterator[Attack]:
        """Judge those that tell what is wrong, remove them from ``left``, and return them."""
        reached = self.servers.reached
        for resource in self.resources():
            attack = left.get(resource["metadata"]["name"])
            if attack is not None and (outcome := attack.judge(resource, reached)) is not None:
                attack.outcome = outcome
                yield left.pop(attack.name)

    def why_not(self, attack: Attack) -> str:
        """Why it was not judged."""
        if str(attack.cell) not in self.servers.reached:
            return "the server was not reached"
        resource = self.stack.api.get(f"{self.path}/{attack.name}")
        said = [
            (each["type"], each["status"], each["message"]) for each in resource.get("status", {}).get("conditions", [])
        ]
        return f"the resource does not name the host: {said}"


def judge_all(attacks: Mapping[Namespace, Iterable[Attack]], seconds: float, *, keep: bool = False) -> None:
    """Wait until each has its outcome. What has one is deleted, unless it is kept: no more time is spent on it."""
    left = {namespace: {attack.name: attack for attack in its} for namespace, its in attacks.items()}
    end = time.monotonic() + seconds
    while any(left.values()) and time.monotonic() < end:
        for namespace, its in left.items():
            for attack in namespace.look(its) if its else ():
                if not keep:
                    namespace.delete(attack)
        time.sleep(LOOK_SECONDS)
    for namespace, its in left.items():
        for attack in its.values():
            attack.outcome = namespace.why_not(attack)
            if not keep:
                namespace.delete(attack)


def foreign_lines(log: str) -> list[str]:
    """The lines of a log that the operator's own logger did not write."""
    return [line for line in log.splitlines() if line and not _is_own(line)]


def _is_own(line: str) -> bool:
    try:
        found = json.loads(line)
    except ValueError:
        return False
    return isinstance(found, dict) and found.keys() <= _FIELDS and found.get("logger") != FORGED


@dataclass
class Table:
    """Engine × stage × kind → what became of it."""

    outcomes: dict[Cell, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """One row for each stage, then each that is not well, in words."""
        kinds = list(Kind)
        rows: dict[tuple[str, str], dict[Kind, str]] = {}
        for cell, outcome in self.outcomes.items():
            rows.setdefault((cell.engine, cell.stage.name), {})[cell.kind] = OK if outcome == OK else "FAIL"
        width = max((len(f"{engine} {stage}") for engine, stage in rows), default=10)
        head = " " * width + "".join(f" {kind:>9}" for kind in kinds)
        table = [
            f"{f'{engine} {stage}':<{width}}" + "".join(f" {found.get(kind, '-'):>9}" for kind in kinds)
            for (engine, stage), found in rows.items()
        ]
        failed = [f"{cell}: {outcome}" for cell, outcome in self.outcomes.items() if outcome != OK]
        return [head, *table, *failed, *self.remarks]
