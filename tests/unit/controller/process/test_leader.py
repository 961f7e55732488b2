"""Leader election with faults at chosen moments: a Lease in memory that can fail, and clocks that are wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from rotated_secrets.cluster import Conflict, Forbidden, NotFound, Unreachable
from rotated_secrets.controller.process.leader import Leader, LeadershipLost


class Lease:
    """Answers the election's requests for one Lease, with resourceVersions, and with faults on demand."""

    def __init__(self) -> None:
        self.spec: dict[str, Any] | None = None
        self.labels: dict[str, str] = {}
        self.version = 0
        self.fault: Callable[[], None] = lambda: None
        self.lock = threading.Lock()

    def request(self, method: str, path: str, *, body: Any = None) -> dict[str, Any]:
        self.fault()
        with self.lock:
            match method:
                case "GET" if self.spec is None:
                    raise NotFound("no such Lease")
                case "POST" if self.spec is not None:
                    raise Conflict("exists already")
                case "PUT" if body["metadata"]["resourceVersion"] != str(self.version):
                    raise Conflict("has changed")
                case "PUT" | "POST":
                    self.spec, self.version = dict(body["spec"]), self.version + 1
                    self.labels = dict(body["metadata"].get("labels", {}))
            metadata = {"name": "lease", "resourceVersion": str(self.version), "labels": dict(self.labels)}
            return {"metadata": metadata, "spec": dict(self.spec or {})}


class Replica:
    def __init__(self, lease: Lease, identity: str, **settings: Any) -> None:
        self.acquired, self.lost = threading.Event(), threading.Event()
        settings = {"lease_duration": 1.5, "renew_deadline": 1.0, "retry_period": 0.02} | settings
        self.leader = Leader(
            lease,  # type: ignore[arg-type]
            namespace="operators",
            name="lease",
            identity=identity,
            on_acquired=self.acquired.set,
            on_lost=self.lost.set,
            **settings,
        )


Join = Callable[..., Replica]


@pytest.fixture
def lease() -> Lease:
    return Lease()


@pytest.fixture
def join(lease: Lease) -> Iterator[Join]:
    with ExitStack() as running:

        def joined(identity: str, **settings: Any) -> Replica:
            replica = Replica(lease, identity, **settings)
            replica.leader.start()
            running.callback(replica.leader.release)
            return replica

        yield joined


def test_replica_that_creates_the_lease_leads_and_may_act(lease: Lease, join: Join) -> None:
    replica = join("first")
    assert replica.acquired.wait(5)
    replica.leader.guard()
    assert lease.spec is not None
    assert lease.spec["holderIdentity"] == "first"


def test_replica_that_does_not_hold_the_lease_may_not_act(join: Join) -> None:
    assert join("first").acquired.wait(5)
    second = join("second")
    with pytest.raises(LeadershipLost, match="second"):
        second.leader.guard()


def test_lease_can_be_found_by_its_label_and_keeps_those_of_others(lease: Lease, join: Join) -> None:
    first = join("first")
    assert first.acquired.wait(5)
    assert lease.labels == {"app.kubernetes.io/managed-by": "rotated-secrets"}
    first.leader.release()
    lease.labels = {"team": "shop"}
    assert join("second").acquired.wait(5)
    assert lease.labels == {"team": "shop", "app.kubernetes.io/managed-by": "rotated-secrets"}


def test_replica_that_stands_by_tells_once_whom(join: Join, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert join("first").acquired.wait(5)
    second = join("second")
    seen = None
    for _ in range(3):  # renewals are no news
        while second.leader._observed in (None, seen):
            time.sleep(0.001)
        seen = second.leader._observed
    assert caplog.text.count("first holds the Lease lease; second stands by") == 1


def test_leader_that_is_cut_off_stops_acting_before_another_starts(lease: Lease, join: Join) -> None:
    first = join("first")
    assert first.acquired.wait(5)
    second = join("second")

    def cut_off() -> None:
        if threading.current_thread() is first.leader._thread:
            raise Unreachable("cut off")

    lease.fault = cut_off
    overlapped = False
    while not second.leader.holds():
        time.sleep(0.001)
        overlapped |= first.leader.holds() and second.leader.holds()
    assert not overlapped
    assert first.lost.wait(5)
    assert not first.leader.holds()


def test_hanging_requests_do_not_extend_the_lead(lease: Lease, join: Join) -> None:
    replica = join("first")
    assert replica.acquired.wait(5)
    go_on = threading.Event()
    lease.fault = lambda: (go_on.wait(10), None)[1]
    deadline = time.monotonic() + 5
    while replica.leader.holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    with pytest.raises(LeadershipLost):
        replica.leader.guard()
    # Nor does a late response, because its request was made too long ago.
    time.sleep(0.1)
    go_on.set()
    assert replica.lost.wait(5)


@pytest.mark.parametrize(
    "error",
    [Unreachable("away"), Conflict("has changed", 409), ConnectionResetError("reset"), ValueError("odd answer")],
)
def test_leader_survives_one_failed_renewal_of_any_kind(lease: Lease, join: Join, error: Exception) -> None:
    replica = join("first")
    assert replica.acquired.wait(5)
    failed, renewed = threading.Event(), threading.Event()

    def once() -> None:
        if failed.is_set():
            renewed.set()
        else:
            failed.set()
            raise error

    lease.fault = once
    assert renewed.wait(5)
    assert replica.leader.holds()
    assert not replica.lost.is_set()


def test_expiry_is_measured_by_our_own_clock_not_by_the_lease(lease: Lease, join: Join) -> None:
    lease.spec = {
        "holderIdentity": "gone",
        "leaseDurationSeconds": 1,
        "renewTime": "1999-01-01T00:00:00.000000Z",
        "leaseTransitions": 3,
    }
    before = time.monotonic()
    replica = join("second")
    assert replica.acquired.wait(5)
    assert time.monotonic() - before >= 1
    assert lease.spec["leaseTransitions"] == 4


def test_released_lease_is_acquired_at_once(lease: Lease, join: Join) -> None:
    times = {"lease_duration": 60.0, "renew_deadline": 40.0}
    first = join("first", **times)
    assert first.acquired.wait(5)
    second = join("second", **times)
    first.leader.release()
    assert second.acquired.wait(5)
    assert not first.lost.is_set()
    with pytest.raises(LeadershipLost):
        first.leader.guard()


def test_one_of_many_replicas_that_start_together_leads(join: Join) -> None:
    replicas = [join(f"replica-{n}", lease_duration=60, renew_deadline=40) for n in range(8)]
    deadline = time.monotonic() + 5
    while not any(replica.leader.holds() for replica in replicas):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert sum(replica.leader.holds() for replica in replicas) == 1


def test_renewed_lease_is_not_taken_when_its_holders_clock_is_wrong(lease: Lease, join: Join) -> None:
    """While it changes it is held, whatever time it contains."""
    renewals = 0

    def lie() -> None:
        nonlocal renewals
        renewals += 1
        if lease.spec and lease.spec["holderIdentity"] == "slow":
            lease.spec["renewTime"] = f"1999-01-01T00:00:00.{renewals:06}Z"

    lease.spec = {"holderIdentity": "slow", "leaseDurationSeconds": 1, "renewTime": "", "leaseTransitions": 0}
    lease.fault = lie
    replica = join("second")
    assert not replica.acquired.wait(1.5)  # longer than the Lease lasts
    lease.fault = lambda: None
    assert replica.acquired.wait(5)


def test_deleted_lease_is_created_again_by_its_holder_and_by_no_other(lease: Lease, join: Join) -> None:
    first = join("first")
    assert first.acquired.wait(5)
    second = join("second")
    while second.leader._observed is None:
        time.sleep(0.001)
    for _ in range(20):
        with lease.lock:
            lease.spec = None
        while lease.spec is None:
            time.sleep(0.001)
        assert lease.spec["holderIdentity"] == "first"
    assert first.leader.holds()
    assert not second.acquired.is_set()


def test_lease_deleted_after_its_holder_died_is_acquired_when_it_would_have_expired(lease: Lease, join: Join) -> None:
    lease.spec = {"holderIdentity": "dead", "leaseDurationSeconds": 1, "renewTime": "now", "leaseTransitions": 0}
    second = join("second")
    while second.leader._observed is None:
        time.sleep(0.001)
    deleted = time.monotonic()
    with lease.lock:
        lease.spec = None
    assert second.acquired.wait(5)
    assert time.monotonic() - deleted > 0.8


def test_leader_frozen_beyond_its_deadline_stops_even_if_its_lease_is_free(lease: Lease, join: Join) -> None:
    """Another replica may have led and released the Lease meanwhile."""
    frozen = [0.0]
    replica = join("first", clock=lambda: time.monotonic() + frozen[0])
    assert replica.acquired.wait(5)
    frozen[0] = 1000.0
    assert replica.lost.wait(5)
    with pytest.raises(LeadershipLost):
        replica.leader.guard()
    assert not replica.leader.alive


def test_lease_that_a_person_gives_to_another_is_not_taken_back(lease: Lease, join: Join) -> None:
    first = join("first")
    assert first.acquired.wait(5)
    with lease.lock:
        assert lease.spec is not None
        lease.spec, lease.version = lease.spec | {"holderIdentity": "another"}, lease.version + 1
    assert first.lost.wait(5)
    assert lease.spec["holderIdentity"] == "another"


def test_check_of_access_reads_the_lease_which_need_not_exist(lease: Lease) -> None:
    replica = Replica(lease, "first")
    replica.leader.check_access()

    def forbidden() -> None:
        raise Forbidden("leases is forbidden")

    lease.fault = forbidden
    with pytest.raises(Forbidden):
        replica.leader.check_access()


def test_time_of_acquisition_is_that_of_this_holder_and_renewals_keep_it(lease: Lease, join: Join) -> None:
    long_ago = "1999-01-01T00:00:00.000000Z"
    lease.spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "acquireTime": long_ago, "renewTime": long_ago}
    assert join("first").acquired.wait(5)
    acquired, renewed = lease.spec["acquireTime"], lease.spec["renewTime"]
    assert acquired != long_ago
    while lease.spec["renewTime"] == renewed:
        time.sleep(0.001)
    assert lease.spec["acquireTime"] == acquired


def test_lease_that_cannot_be_read_is_logged_and_asked_for_again(
    lease: Lease, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    def away() -> None:
        raise Unreachable("the API server does not answer")

    lease.fault = away
    replica = join("first")
    while "could not be read or renewed" not in caplog.text:
        time.sleep(0.001)
    assert "the API server does not answer" in caplog.text
    assert not replica.leader.holds()
    lease.fault = lambda: None
    assert replica.acquired.wait(5)
