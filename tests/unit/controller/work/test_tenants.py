"""Who is busy: has held more than one place on average in the last seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotated_secrets.controller.work.tenants import OPERATOR, RECENTLY, Tenants, current_tenant


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_tenant_that_holds_many_places_is_busy_within_a_second_and_quiet_again_after_some(clock: Clock) -> None:
    tenants = Tenants(clock)
    tenants.record("noisy", 8)
    assert not tenants.is_busy("noisy")
    clock.now += 1
    assert tenants.is_busy("noisy")
    tenants.record("noisy", -8)
    clock.now += 1
    assert tenants.is_busy("noisy")
    clock.now += 10 * RECENTLY
    assert not tenants.is_busy("noisy")


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50)), max_size=30))
def test_one_call_after_the_other_is_never_busy(calls: list[tuple[float, float]]) -> None:
    clock = Clock()
    tenants = Tenants(clock)
    for pause, length in calls:
        clock.now += pause
        tenants.record("shop", 1)
        clock.now += length
        assert not tenants.is_busy("shop")
        tenants.record("shop", -1)


def test_cpu_time_of_busy_tenants_counts_as_a_share_of_the_time_and_is_forgotten(clock: Clock) -> None:
    tenants = Tenants(clock)
    tenants.record("noisy", 8)
    for _ in range(100):
        clock.now += 0.5
        tenants.record_cpu("noisy", 0.2)
        tenants.record_cpu("quiet", 0.2)
    assert tenants.cpus_of_busy_ones() == pytest.approx(0.4, rel=0.15)
    clock.now += 10 * RECENTLY
    assert tenants.cpus_of_busy_ones() < 0.01


def test_quiet_tenant_is_at_work_until_its_last_work_ends(clock: Clock) -> None:
    tenants = Tenants(clock)
    assert not tenants.is_quiet_one_at_work()
    with tenants.at_work("shop"):
        with tenants.at_work("shop"):
            assert tenants.is_quiet_one_at_work()
        assert tenants.is_quiet_one_at_work()
        tenants.record("shop", 5)
        clock.now += 60
        assert not tenants.is_quiet_one_at_work()
    assert not tenants._at_work


def test_work_is_of_its_tenant_and_otherwise_of_the_operator(clock: Clock) -> None:
    assert current_tenant.get() == OPERATOR
    with Tenants(clock).at_work("shop"):
        assert current_tenant.get() == "shop"
    assert current_tenant.get() == OPERATOR


def test_nothing_is_kept_of_tenants_that_have_done_nothing_for_long(clock: Clock) -> None:
    tenants = Tenants(clock)
    for number in range(1000):
        tenants.record(f"namespace-{number}", 1)
        clock.now += 1
        tenants.record(f"namespace-{number}", -1)
    assert len(tenants._uses) < 50


def test_tenant_that_holds_a_place_for_long_is_not_forgotten(clock: Clock) -> None:
    tenants = Tenants(clock)
    clock.now += 100
    tenants.record("noisy", 2)
    clock.now += 100
    tenants.record("shop", 1)
    tenants.record("shop", -1)
    assert tenants.is_busy("noisy")
