"""What keeps a RotatedSecret from being ready or rotated, made and taken away on a fake operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from rotated_secrets.cluster import Json
from rotated_secrets.secretstores.base import StoreError
from tests.support.fake_operator import SPEC, FakeOperator, changed

SECRET = "/api/v1/namespaces/shop/secrets/orders"
SECRETS = SECRET.rpartition("/")[0]
OURS: Mapping[str, Any] = {"metadata": {"annotations": {"rotatedsecrets.io/owner": "shop/orders"}}}

Change = Callable[[FakeOperator], None]


@dataclass(frozen=True)
class Trouble:
    """Something that a person has to correct, or that passes."""

    begin: Change
    end: Change


def spec(**rooms: Any) -> Trouble:
    """Fields of the spec."""
    return applied(changed(SPEC, **rooms))


def applied(spec: Mapping[str, Any], **metadata: Any) -> Trouble:
    """Another spec."""

    def begin(operator: FakeOperator) -> None:
        operator.apply(spec, **metadata)

    def end(operator: FakeOperator) -> None:
        without: dict[str, Any] = {key: {} for key in metadata}
        operator.apply(SPEC, **without)

    return Trouble(begin, end)


def value(**changes: Any) -> Trouble:
    """Fields of the secret value."""

    def put(operator: FakeOperator, **changes: Any) -> None:
        secret = operator.aws.find("shop/orders")
        password = operator.server().passwords["app"]
        secret.put(operator.credential(password=password, **changes), f"version-{len(secret.versions)}")

    return Trouble(lambda operator: put(operator, **changes), put)


def aws(error: StoreError, *operations: str) -> Trouble:
    """Operations that fail; without a name, all."""

    def begin(operator: FakeOperator) -> None:
        def fail(operation: str, asked: str) -> None:
            if not operations or operation in operations:
                raise error

        operator.aws.before_call = fail

    def end(operator: FakeOperator) -> None:
        operator.aws.before_call = lambda operation, asked: None

    return Trouble(begin, end)


def secret_marked_for_deletion() -> Trouble:
    def begin(operator: FakeOperator) -> None:
        secret = operator.aws.find("shop/orders")
        secret.about["deleted_at"] = secret.current.created_at

    def end(operator: FakeOperator) -> None:
        del operator.aws.find("shop/orders").about["deleted_at"]

    return Trouble(begin, end)


def password_changed_by_hand() -> Trouble:
    before: list[str] = []

    def begin(operator: FakeOperator) -> None:
        before.append(operator.server().passwords["app"])
        operator.server().passwords["app"] = "by hand"

    def end(operator: FakeOperator) -> None:
        operator.server().passwords["app"] = before.pop()

    return Trouble(begin, end)


def server(**state: Any) -> Trouble:
    """Of the database server."""
    patch = pytest.MonkeyPatch()

    def begin(operator: FakeOperator) -> None:
        for name, value in state.items():
            patch.setattr(operator.server(), name, value)

    def end(operator: FakeOperator) -> None:
        patch.undo()
        operator.services.limits._breakers.clear()

    return Trouble(begin, end)


def secret_of_others(**change: Any) -> Trouble:
    """In the place of the target Secret."""

    def begin(operator: FakeOperator) -> None:
        operator.cluster.objects.pop(SECRET, None)
        operator.cluster.put(SECRET, {"type": "Opaque", "data": {}} | change)

    def end(operator: FakeOperator) -> None:
        operator.cluster.objects.pop(SECRET)

    return Trouble(begin, end)


def request(method: str, path: str, error: Exception, *, deletes: str = "") -> Trouble:
    """Requests to the API server that fail, after an object was deleted."""
    patch = pytest.MonkeyPatch()

    def begin(operator: FakeOperator) -> None:
        operator.cluster.objects.pop(deletes, None)
        asks = operator.cluster.request

        def answer(asked: str, where: str, **options: Any) -> Json:
            if asked == method and where.startswith(path):
                raise error
            return asks(asked, where, **options)

        patch.setattr(operator.cluster, "request", answer)

    return Trouble(begin, lambda operator: patch.undo())


def raising(where: str, error: Exception) -> Trouble:
    """A function that raises."""
    patch = pytest.MonkeyPatch()

    def fail(*_: object, **__: object) -> None:
        raise error

    return Trouble(lambda operator: patch.setattr(where, fail), lambda operator: patch.undo())
