"""What is done for a RotatedSecret counts as the work of its namespace."""

from __future__ import annotations

from rotated_secrets.controller.work.tenants import OPERATOR, current_tenant
from tests.support.fake_operator import KEY, SPEC, FakeOperator, with_admin


def test_every_write_is_the_work_of_the_namespace(operator: FakeOperator) -> None:
    tenants = set[str]()
    with_admin(operator).apply(SPEC)
    operator.cluster.after_write = lambda *_: tenants.add(current_tenant.get())
    operator.reconcile()
    assert tenants == {KEY.namespace}
    assert current_tenant.get() == OPERATOR


def test_namespace_is_at_work_until_the_end_of_a_reconcile(operator: FakeOperator) -> None:
    at_work = list[bool]()
    with_admin(operator).apply(SPEC)
    tenants = operator.services.limits._tenants
    operator.cluster.after_write = lambda *_: at_work.append(tenants.is_quiet_one_at_work())
    operator.reconcile()
    assert at_work
    assert all(at_work)
    assert not tenants.is_quiet_one_at_work()
