"""An operator that is killed at any call of a rotation, and started again, finishes that rotation.

The killing is done by the proxies in front of the store and the database, at the moment when they have seen a call or
have its answer. Meanwhile a client logs in with what the target Secret says, and never fails.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sandbox.application import create_application
from sandbox.pod import Pod
from sandbox.proxy import CONNECT, SEND, Call, Moment, Proxy
from sandbox.stack import Stack
from sandbox.waiting import eventually
from tests.chaos.conftest import MortalOperator
from tests.e2e.applied import Applied

pytestmark = pytest.mark.timeout(120)

STORE_CALLS = 6
LOGINS = 3
SENDS = range(1, 77, 3)
"""Of what is sent to the database in a rotation, mostly in the admin's session, every third."""
LATER_SENDS = range(14, 77, 9)
RECOVERY_SECONDS = 60


class Victim:
    """An application whose rotation is interrupted, and the client that must not notice."""

    def __init__(self, stack: Stack, namespace: str, operator: MortalOperator) -> None:
        self.stack = stack
        self.operator = operator
        if not operator.runs:
            operator.start()
        name = f"victim-{secrets.token_hex(4)}"
        self.application = create_application(stack, namespace, name, database="victims")
        self.resource = Applied(self.application).apply()
        self.resource.until("Ready", "True", seconds=RECOVERY_SECONDS)

    @contextmanager
    def with_client(self) -> Iterator[Pod]:
        application = self.application
        with Pod(self.stack.api, self.stack.side, application.namespace, application.name) as pod:
            eventually(lambda: pod.logins, "the client logs in")
            yield pod
            user = application.value()["username"]
            before = pod.logins_by_user[user]
            eventually(lambda: pod.logins_by_user[user] > before + 2, f"the client logs in as {user}")
        assert pod.failures == []

    def rotate_and_kill(self, proxy: Proxy, number: int, name: str | None, moment: Moment) -> None:
        """Ask for a rotation in which the n-th call of a name (of any, where none is given) is the operator's last."""
        self.kill_at(proxy, number, name, moment)
        self.resource.ask("interrupted")
        eventually(lambda: not self.operator.runs, f"call {number} of {name or 'any name'} kills the operator")

    def kill_at(self, proxy: Proxy, number: int, name: str | None, moment: Moment) -> None:
        def kill(_: Call) -> None:
            self.operator.kill()

        proxy.clear()
        proxy.trap(number, kill, moment=moment, name=name)

    def recover(self) -> None:
        self.operator.start()
        self.resource.until_served("interrupted", seconds=RECOVERY_SECONDS)

    def check(self, *, rotations: int) -> None:
        """As after as many rotations that nobody interrupted."""
        application = self.application
        assert application.users() == {application.user, application.clone}
        stages = application.stages()
        assert {stage: len(versions) for stage, versions in stages.items()} == {"AWSCURRENT": 1, "AWSPREVIOUS": 1}
        assert self.resource.version_count() == 1 + rotations
        assert application.value()["username"] == (application.clone if rotations % 2 else application.user)
        assert self.resource.secret() == {key: str(each) for key, each in application.value().items()}
        succeeded = [entry for entry in self.resource.status["history"] if entry["outcome"] == "Succeeded"]
        assert len(succeeded) == rotations


@pytest.fixture
def victim(chaos_stack: Stack, chaos_namespace: str, mortal_operator: MortalOperator) -> Iterator[Victim]:
    made = Victim(chaos_stack, chaos_namespace, mortal_operator)
    yield made
    chaos_stack.store_proxy.clear()
    chaos_stack.database_proxy.clear()
    made.resource.delete()


def survives(victim: Victim, proxy: Proxy, number: int, name: str | None, moment: Moment, *, earlier: int) -> None:
    for rotation in range(earlier):
        victim.resource.rotate(f"earlier {rotation}")
    with victim.with_client():
        victim.rotate_and_kill(proxy, number, name, moment)
        victim.recover()
    victim.check(rotations=earlier + 1)


@pytest.mark.parametrize("moment", Moment, ids=lambda moment: moment.name.lower())
@pytest.mark.parametrize("number", range(1, STORE_CALLS + 1))
def test_killed_at_a_call_to_the_store(victim: Victim, number: int, moment: Moment) -> None:
    survives(victim, victim.stack.store_proxy, number, None, moment, earlier=0)


@pytest.mark.parametrize("moment", Moment, ids=lambda moment: moment.name.lower())
@pytest.mark.parametrize("number", range(1, LOGINS + 1))
def test_killed_at_a_login_to_the_database(victim: Victim, number: int, moment: Moment) -> None:
    survives(victim, victim.stack.database_proxy, number, CONNECT, moment, earlier=0)


@pytest.mark.parametrize("number", SENDS)
def test_killed_in_a_session_of_the_rotation_that_makes_the_clone(victim: Victim, number: int) -> None:
    survives(victim, victim.stack.database_proxy, number, SEND, Moment.SEEN, earlier=0)


@pytest.mark.parametrize("number", LATER_SENDS)
def test_killed_in_a_session_of_a_later_rotation(victim: Victim, number: int) -> None:
    survives(victim, victim.stack.database_proxy, number, SEND, Moment.SEEN, earlier=1)


def test_killed_again_and_again_in_one_rotation(victim: Victim) -> None:
    """At every write to the store, before and after it happened, each time by the operator that took over."""
    store = victim.stack.store_proxy
    moments = [("PutSecretValue", Moment.SEEN), ("PutSecretValue", Moment.ANSWERED)]
    moments += [("UpdateSecretVersionStage", Moment.SEEN), ("UpdateSecretVersionStage", Moment.ANSWERED)]
    with victim.with_client():
        victim.rotate_and_kill(store, 1, *moments[0])
        for name, moment in moments[1:]:
            victim.kill_at(store, 1, name, moment)
            victim.operator.start()
            eventually(lambda: not victim.operator.runs, f"{name} kills it again", seconds=RECOVERY_SECONDS)
        victim.recover()
    victim.check(rotations=1)
