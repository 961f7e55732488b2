"""The operator and AWS's own rotation templates take turns on one secret, and each ends what the other left half done.

Skipped unless AWS_ROTATION_TEMPLATES names the folder of a clone of aws-samples/aws-secrets-manager-rotation-lambdas.
The server's logs are not searched for passwords here: the templates write theirs into them.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg2.sql import SQL, Identifier

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.status import Outcome, Reason
from rotated_secrets.rotation import actions
from rotated_secrets.rotation.actions import Action, Hold, Sleep
from rotated_secrets.values import Stage
from sandbox.applications import mysqld
from sandbox.applications.postgres import PostgresSide
from tests.life.conftest import Pair, PlaceFor
from tests.support.advice import follow_advice
from tests.support.life import DATABASE, Died, Life, Place, die
from tests.support.rotation_lambda import FOLDER, NAMES, STEPS, RotationLambda, rotation_lambda

if FOLDER not in os.environ:
    pytest.skip(f"{FOLDER} names no folder of AWS's templates", allow_module_level=True)

PAIRS = [Pair(engine, strategy) for engine in NAMES for strategy in (Strategy.ALTERNATING_USERS, Strategy.SINGLE_USER)]
KILLED_BEFORE = (
    actions.CreatePending,
    actions.SetPending,
    actions.TestPending,
    actions.FinishPending,
    actions.SyncTarget,
    actions.ClearPending,
)


@dataclass
class Shared:
    """One credential that both rotate, and what pods see of it."""

    life: Life
    template: RotationLambda

    @property
    def alternates(self) -> bool:
        return self.life.strategy is Strategy.ALTERNATING_USERS

    def template_rotates(self) -> None:
        """AWS rotates; the operator delivers."""
        before = self.life.stages()[Stage.CURRENT]
        self.template.rotate()
        assert self.life.stages()[Stage.CURRENT] != before
        self.stop_template()
        self.look()

    def stop_template(self) -> None:
        """From now on the operator rotates; a person gives its admin what it tells that it lacks.

        From PostgreSQL 16 on, who created a role alone may change it, and a clone that the template created is its
        master user's (CREATEROLE, "Role Attributes", PostgreSQL documentation).
        """
        self.template.cancel()
        life = self.life
        if isinstance(life.side, PostgresSide) and life.side.server.major >= 16 and life.clone in life.users():
            value = json.loads(life.place.client.get_secret_value(SecretId=f"life/admin/{life.user}")["SecretString"])
            if value["username"] != life.side.owner.user:
                names = Identifier(life.clone), Identifier(value["username"])
                life.side.server.sql(SQL("GRANT {} TO {} WITH ADMIN OPTION").format(*names))

    def operator_rotates(self) -> None:
        self.stop_template()
        self.life.rotate()

    def look(self) -> None:
        """The operator looks, has nothing to wait for, and pods hold what logs in."""
        waiting = self.life.run()
        assert isinstance(waiting, Sleep), waiting
        self.check_delivered()

    def check_delivered(self) -> None:
        assert self.life.delivered is not None
        assert [self.life.delivered.version_id] == self.life.stages()[Stage.CURRENT]
        assert Stage.PENDING not in self.life.stages()
        self.life.side.log_in(self.life.held)


@pytest.fixture(params=PAIRS, ids=str)
def pair(request: pytest.FixtureRequest) -> Pair:
    chosen: Pair = request.param
    return chosen


@pytest.fixture
def place(pair: Pair, place_for: PlaceFor) -> Place:
    return place_for(pair.engine)


Share = Callable[[], Shared]


@pytest.fixture(params=["two admins"])
def share(
    request: pytest.FixtureRequest, pair: Pair, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Share]:
    """Makes credentials that both rotate: the template as the server's owner, the operator as the same, or with the
    documented privileges."""
    monkeypatch.setattr(mysqld, "HOST", "%")  # the templates know no other host
    ca = tmp_path / "ca.pem"
    ca.write_text(place.side.ca_pem or "")
    with ExitStack() as stack:

        def make() -> Shared:
            name = f"life/master/{uuid.uuid4()}"
            master = place.client.create_secret(Name=name, SecretString="{}")["ARN"]
            life = Life(
                place,
                pair.strategy,
                # The MongoDB template looks for users where the master user is.
                database="admin" if pair.engine == "mongo" else DATABASE,
                value_keys={"masterarn": master, "ssl": place.side.ca_pem is not None},
            )
            if pair.strategy is Strategy.SINGLE_USER:
                place.side.let_change_itself(life.base)
            stack.callback(place.proxy.clear)
            admin = f"life/admin/{life.user}"
            admin_value = place.client.get_secret_value(SecretId=admin)["SecretString"]
            owner = _of_owner(life, admin_value)
            for secret in (name, *([admin] if request.param == "one admin" else [])):
                place.client.put_secret_value(SecretId=secret, SecretString=owner)
            template = stack.enter_context(
                rotation_lambda(pair.engine, pair.strategy, place.client, str(life.secret_id), ca)
            )
            life.deliver()
            return Shared(life, template)

        yield make


def _of_owner(life: Life, admin_value: str) -> str:
    """The admin's value, with the server's owner in its place."""
    value = json.loads(admin_value)
    for key in ("username", "password", "dbname", "authSource"):
        value.pop(key, None)
    return json.dumps({**value, **life.side.value(life.side.owner)})


@pytest.mark.parametrize("share", ["two admins", "one admin"], indirect=True)
@pytest.mark.parametrize("turns", ["TTPPTTPP", "PPTTPPTT", "TPTPTPTP"])
def test_turns(share: Share, turns: str) -> None:
    shared = share()
    with shared.life.watched():
        for turn in turns:
            (shared.template_rotates if turn == "T" else shared.operator_rotates)()
    assert shared.life.users() <= {shared.life.user, shared.life.clone}


@pytest.mark.parametrize("earlier", ["", "T"], ids=["first", "later"])
@pytest.mark.parametrize("done", range(len(STEPS) + 1), ids=["announced", *STEPS])
def test_operator_takes_over_from_a_template_that_stopped(share: Share, done: int, earlier: str) -> None:
    shared = share()
    _turns(shared, earlier)
    life, template = shared.life, shared.template
    with life.watched():
        template.run(*STEPS[:done], token=template.request())
        shared.stop_template()
        finished = STEPS[:done] == STEPS
        waiting = life.run()
        if not finished:
            assert isinstance(waiting, Hold) and waiting.reason is Reason.MANAGED_ELSEWHERE, waiting
            if shared.alternates or "setSecret" not in STEPS[:done]:
                life.side.log_in(life.held)
            follow_advice(waiting.message, life.place.client)
            life.run()
        shared.check_delivered()
        shared.operator_rotates()
    shared.template_rotates()
    shared.operator_rotates()


@pytest.mark.parametrize("done", range(len(STEPS)), ids=["announced", *STEPS[:-1]])
def test_template_goes_on_after_the_operator_has_looked(share: Share, done: int) -> None:
    shared = share()
    life, template = shared.life, shared.template
    token = template.request()
    template.run(*STEPS[:done], token=token)
    life.run()
    template.run(*STEPS[done:], token=template.request())
    template.cancel()
    assert token in life.stages()[Stage.CURRENT]
    shared.look()
    shared.operator_rotates()


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("action", KILLED_BEFORE, ids=lambda action: action.__name__)
@pytest.mark.parametrize("earlier", ["", "P"], ids=["first", "later"])
def test_template_takes_over_from_an_operator_that_was_killed(
    share: Share, action: type[Action], earlier: str, times: int
) -> None:
    shared = share()
    _turns(shared, earlier)
    life = shared.life
    before = life.stages()[Stage.CURRENT]
    # The template has no one to deliver: its second version after the delivered one takes that one's user.
    outrun = times + (action is actions.SyncTarget) > 1
    with nullcontext() if outrun else life.watched():
        with pytest.raises(Died):
            life.ask().run(before={action: die})
        life.side.expire_locks()
        for _ in range(times):
            shared.template.rotate()
        shared.stop_template()
        current = life.stages()[Stage.CURRENT]
        assert current != before
        waiting = life.run()
        assert isinstance(waiting, Sleep), waiting
    moved_on = times - (action not in (actions.SyncTarget, actions.ClearPending))
    assert life.status.history[0].outcome is Outcome.SUCCEEDED
    if action is actions.CreatePending or (moved_on > 1 and action is not actions.ClearPending):
        assert life.status.history[1].outcome is Outcome.ABANDONED, "no stage and no Secret shows that it was current"
    else:
        assert life.stages()[Stage.CURRENT] == current, "the rotation is done again"
    shared.check_delivered()
    shared.operator_rotates()
    shared.template_rotates()


def _turns(shared: Shared, turns: str) -> None:
    for turn in turns:
        (shared.template_rotates if turn == "T" else shared.operator_rotates)()
