"""The operator as the chart has it: its account, its arguments, its files, and no permission more than it uses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.installation import Installation
from sandbox.operatorprocess import OperatorProcess
from sandbox.stack import Stack
from tests.e2e.applied import Applied, as_delivered
from tests.install.conftest import Install, MakeApplied, new_namespace
from tests.install.permissions import granted, requests, told


@pytest.fixture(scope="module")
def everywhere(make_installation: Install) -> Installation:
    """For all namespaces."""
    return make_installation()


@pytest.fixture(scope="module")
def operator(everywhere: Installation, stack: Stack) -> Iterator[OperatorProcess]:
    with everywhere.operator(stack.directory / f"{everywhere.release}.log") as process:
        process.wait_until_it_leads()
        yield process


def test_a_whole_rotation(everywhere: Installation, operator: OperatorProcess, make_applied: MakeApplied) -> None:
    orders = make_applied(new_namespace(everywhere.stack.api))
    orders.apply().until_ready()
    orders.rotate("now")
    assert orders.secret() == as_delivered(orders.application.value())
    asked = requests(everywhere.stack.cluster.audit_log, everywhere.namespace, everywhere.account)
    print(told({each.permission for each in asked}))
    print(
        told(
            granted(everywhere.manifests(), everywhere.account)
            - {each.permission for each in asked if each.was_allowed}
        )
    )
    assert told({each.permission for each in asked if not each.was_allowed}) == []
