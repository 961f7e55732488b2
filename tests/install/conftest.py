"""Installations of the chart; each has a release, a namespace and operators of its own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from sandbox.application import create_application
from sandbox.installation import Installation, Values, installed, merged
from sandbox.kubernetes.client import Api, StatusError
from sandbox.stack import Stack
from tests.support.applied import Applied

IMPATIENT: Values = {
    "crds": {"install": False},  # the stack's is there, and is shared with other tests
    "aws": {"pollInterval": "1s"},
    "work": {"backoffBase": "0.2s", "backoffCap": "1s"},
    "leaderElection": {"retryPeriod": "0.2s"},
    "log": {"format": "text"},
}
START_SECONDS = 60.0
"""How long an operator may take to begin on a busy machine."""


def new_namespace(api: Api) -> str:
    name: str = api.create("/api/v1/namespaces", {"metadata": {"generateName": "install-"}})["metadata"]["name"]
    return name


Install = Callable[..., Installation]


@pytest.fixture(scope="module")
def make_installation(stack: Stack) -> Iterator[Install]:
    """A release of its own, in a namespace of its own unless one is named; uninstalled at the end of the module."""
    with ExitStack() as releases:

        def make(values: Values | None = None, namespace: str | None = None) -> Installation:
            name = f"rs-{secrets.token_hex(3)}"
            everything = merged(IMPATIENT, values or {})
            where = {"release": name, "namespace": namespace or new_namespace(stack.api)}
            return releases.enter_context(installed(stack, values=everything, **where))

        yield make


MakeApplied = Callable[..., Applied]


@pytest.fixture(scope="module")
def make_applied(stack: Stack) -> Iterator[MakeApplied]:
    """An application in this namespace, its resource not yet applied; that is gone at the end of the module."""
    made: list[Applied] = []

    def make(namespace: str, **settings: Any) -> Applied:
        name = f"orders-{secrets.token_hex(3)}"
        application = create_application(stack, namespace, name, database="shop", **settings)
        made.append(Applied(application))
        return made[-1]

    yield make
    for applied in made:
        try:
            applied.delete()
        except StatusError as error:
            assert error.code == 404, error
