"""Attacks that once ended the operator for everybody, each through the process, beside the honest tenant."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from sandbox.kubernetes.client import StatusError
from sandbox.waiting import eventually
from tests.hostile.conftest import DRAIN_SECONDS, Arena
from tests.support.hostile.catalogue import CELLS
from tests.support.hostile.evil import Kind
from tests.support.hostile.outcomes import OK, Attack, Namespace
from tests.support.hostile.stages import Cell

SECONDS = 150
MANAGED = {"app.kubernetes.io/managed-by": "rotated-secrets"}
KIBIBYTE, MEBIBYTE = 1 << 10, 1 << 20
LARGEST_TEMPLATE = 64 * KIBIBYTE
TEMPLATES = 64
LONGEST_TEMPLATES = 64 * KIBIBYTE
"""Characters of all templates of one resource together."""
LONGEST_STOP = DRAIN_SECONDS + 2

pytestmark = pytest.mark.timeout(600)


def cell(engine: str, stage: str, kind: Kind) -> Cell:
    return next(each for each in CELLS if (each.engine, each.stage.name, each.kind) == (engine, stage, kind))


def copies(of: Iterable[Cell], namespace: Namespace, copies: int) -> list[Attack]:
    return [Attack(each, namespace.name, copy) for each in of for copy in range(copies)]


@contextmanager
def under_attack(arena: Arena, what: str, cells: list[Cell], each_has: int, tenants: int = 2) -> Iterator[None]:
    """Each tenant has so many copies of each; all of them are judged before the ``with`` is entered."""
    namespaces = [arena.namespace("evil") for _ in range(tenants)]
    attacks = {namespace: copies(cells, namespace, each_has) for namespace in namespaces}
    try:
        for namespace, its in attacks.items():
            namespace.store(its)
        with arena.attacked(what):
            for namespace, its in attacks.items():
                namespace.apply(its)
            for namespace, its in attacks.items():
                namespace.judged(its, SECONDS)
            yield
    finally:
        for namespace in namespaces:
            namespace.empty()
    failed = [f"{each.cell} {each.copy}: {each.outcome}" for its in attacks.values() for each in its]
    failed = [each for each in failed if not each.endswith(f": {OK}")]
    assert not failed, "\n".join(failed)


def test_oracle_listener_that_answers_eight_zero_bytes(arena: Arena) -> None:
    with under_attack(arena, "zeros", [cell("oracle", "connection", Kind.ZEROS)], 8):
        pass


@pytest.mark.parametrize(
    ("stage", "kind"), [("notices", Kind.ANNOUNCES), ("notices", Kind.FLOODS), ("rows", Kind.ENDLESS)]
)
def test_postgres_that_sends_gigabytes(stage: str, kind: Kind, arena: Arena) -> None:
    with under_attack(arena, f"{stage} {kind}", [cell("postgres", stage, kind)], 4):
        pass


def test_parameters_for_ever_stop_neither_rotations_nor_the_operator(arena: Arena) -> None:
    cells = [cell(engine, "session", Kind.ENDLESS) for engine in ("postgres", "redshift")]
    with under_attack(arena, "parameters for ever", cells, 8):
        pass
    namespace = arena.namespace("evil")
    its = copies(cells, namespace, 8)
    before = arena.servers.times_reached(cells)
    namespace.apply(its)
    eventually(lambda: arena.servers.times_reached(cells) >= before + 4, "logins are under way", seconds=60)
    began = time.monotonic()
    arena.operator.terminate()
    took = time.monotonic() - began
    namespace.empty()
    assert took < LONGEST_STOP


def test_message_with_a_line_and_json_is_no_line_of_the_log(arena: Arena) -> None:
    cells = [each for each in CELLS if each.kind is Kind.FORGES and each.stage.name.startswith("notices")]
    with under_attack(arena, "forged lines", cells, 1):
        pass
    assert "forged by" not in arena.operator.log_of_this_life()


def test_answers_of_many_small_parts(arena: Arena) -> None:
    cells = [cell("mongo", "greeting", Kind.WIDE), cell("redis", "login", Kind.WIDE)]
    with under_attack(arena, "small parts", cells, 8):
        pass


def test_large_objects_of_a_tenant_are_not_held(arena: Arena) -> None:
    """Secrets that only carry the operator's label, and RotatedSecrets as large as the API server takes them."""
    arena.start()
    arena.measure()
    namespace = arena.namespace("large")
    api = arena.stack.api
    large = base64.b64encode(b"a" * (MEBIBYTE - 4 * KIBIBYTE)).decode()
    resources = 0
    try:
        for number in range(150):
            metadata = {"name": f"large-{number}", "labels": MANAGED}
            api.create(f"/api/v1/namespaces/{namespace.name}/secrets", {"metadata": metadata, "data": {"a": large}})
        for number in range(120):
            resources += _create_large(namespace, number)
        arena.table.remarks.append(f"large objects: 150 Secrets, {resources} RotatedSecrets")
        arena.operator.terminate()
        with arena.attacked("large objects", measured=True):
            pass
    finally:
        namespace.empty()
        namespace.delete_all(f"/api/v1/namespaces/{namespace.name}/secrets")


def _create_large(namespace: Namespace, number: int) -> int:
    """One as large as its schema takes it; the number of those that were made."""
    for templates in (15, 7, 3, 1):
        template = {f"key-{each}": "a" * LARGEST_TEMPLATE for each in range(templates)}
        rotation = {"strategy": "RandomValue", "random": {"keys": ["password"]}}
        spec = {"source": {"secretId": f"{namespace.name}/large"}, "rotation": rotation}
        try:
            namespace.create_resource(f"large-{number}", {**spec, "target": {"template": template}})
        except StatusError as error:
            if error.code not in (413, 422):
                raise
        else:
            return 1
    return 0


def test_costly_templates_of_allowed_shape(arena: Arena) -> None:
    """Each has as many parts as are allowed, and no two are the same: nothing is saved by remembering them."""
    namespace = arena.namespace("costly")
    client = arena.stack.store.client()
    names = [f"costly-{number}" for number in range(20)]
    try:
        for name in names:
            client.create_secret(Name=f"{namespace.name}/{name}", SecretString=json.dumps({"password": "p"}))
        with arena.attacked("costly templates"):
            for name in names:
                template = {f"key-{each}": _costly(f"{name} {each}") for each in range(TEMPLATES)}
                rotation = {"strategy": "RandomValue", "random": {"keys": ["password"]}}
                spec = {"source": {"secretId": f"{namespace.name}/{name}"}, "rotation": rotation}
                namespace.create_resource(name, {**spec, "target": {"template": template}})
            eventually(lambda: _judged(namespace) == len(names), "each is told", seconds=SECONDS, every=1)
    finally:
        namespace.empty()


def _costly(mark: str) -> str:
    """As long as each of many may be: all of them together have a limit."""
    source = ""
    for part in count():
        more = f"{{% if password == '{mark} {part}' %}}b{{% endif %}}"
        if len(source) + len(more) > LONGEST_TEMPLATES // TEMPLATES:
            return source
        source += more
    return source


def _judged(namespace: Namespace) -> int:
    return sum(1 for each in namespace.resources() if (each.get("status") or {}).get("conditions"))


def test_many_hosts_that_are_silent(arena: Arena) -> None:
    """Of one tenant, each a host by itself, so that no circuit breaker saves any."""
    namespace = arena.namespace("silent")
    silent = [each for each in CELLS if each.kind is Kind.SILENT and each.engine not in ("aws", "webhook")]
    attacks = copies(silent, namespace, 4)
    try:
        namespace.store(attacks)
        with arena.attacked("silent hosts"):
            namespace.apply(attacks)
    finally:
        namespace.empty()
