"""Each stage of a look by itself: what it takes, and the one result that it gives to the next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.status import Reason
from rotated_secrets.controller.access.policy import AccessPolicy
from rotated_secrets.controller.look.authorise import Authorised, Authoriser
from rotated_secrets.controller.look.connect import Connector
from rotated_secrets.controller.look.fetch import Fetched, Fetcher
from rotated_secrets.controller.look.interpret import Interpreted, Interpreter
from rotated_secrets.controller.look.validation import Unusable
from rotated_secrets.databases.base import Refused
from rotated_secrets.delivery.targets import TargetSecrets
from tests.support.fake_aws import HOME, REGION
from tests.support.fake_databases import ENGINE, HOST, PORT
from tests.support.fake_operator import KEY, SPEC, FakeOperator, changed, with_admin

POLICY = AccessPolicy.default()
NOTHING = AccessPolicy(())


@pytest.fixture(autouse=True)
def secrets(operator: FakeOperator) -> Iterator[FakeOperator]:
    yield with_admin(operator)


def resource(operator: FakeOperator, spec: Any = SPEC) -> RotatedSecret:
    return RotatedSecret.parse(operator.apply(spec))


def authorised(operator: FakeOperator, spec: Any = SPEC) -> Authorised:
    return Authoriser(operator.services).authorise(resource(operator, spec), POLICY)


def fetched(operator: FakeOperator, spec: Any = SPEC) -> Fetched:
    services = operator.services
    return Fetcher(services, Authoriser(services)).fetch(authorised(operator, spec))


def interpreted(operator: FakeOperator, spec: Any = SPEC) -> Interpreted:
    return Interpreter(operator.services, secrets_of(operator)).interpret(fetched(operator, spec))


def secrets_of(operator: FakeOperator) -> TargetSecrets:
    return TargetSecrets(operator.services.cluster)


class TestAuthorise:
    def test_it_asks_aws_nothing_and_gives_who_asks_for_what(self, operator: FakeOperator) -> None:
        found = authorised(operator)
        assert operator.aws.calls == []
        assert found.identity is operator.services.identities.own
        assert (found.request.secret_id, found.request.lookup_region) == ("shop/orders", REGION)
        assert (found.home.account, found.home.region) == (HOME, REGION)

    def test_region_of_an_arn_is_where_it_is_looked_up(self, operator: FakeOperator) -> None:
        arn = f"arn:aws:secretsmanager:us-east-1:{HOME}:secret:shop/orders-AbCdEf"
        wanted = resource(operator, changed(SPEC, source={"secretId": arn}))
        rule = replace(POLICY.rules[0], regions=("us-east-1",))
        found = Authoriser(operator.services).authorise(wanted, AccessPolicy((rule,)))
        assert found.request.lookup_region == "us-east-1"

    def test_it_stops_what_the_policy_denies(self, operator: FakeOperator) -> None:
        with pytest.raises(Unusable) as caught:
            Authoriser(operator.services).authorise(resource(operator), NOTHING)
        assert caught.value.reason is Reason.ACCESS_DENIED
        assert not caught.value.asked_the_store


class TestFetch:
    def test_it_gives_what_the_store_has_for_two_calls(self, operator: FakeOperator) -> None:
        found = fetched(operator)
        assert operator.aws.operations() == ["DescribeSecret", "GetSecretValue"]
        assert found.description.arn == operator.aws.find("shop/orders").arn
        assert found.current == operator.aws.find("shop/orders").current

    def test_it_reads_nothing_that_the_policy_of_this_look_denies(self, operator: FakeOperator) -> None:
        services = operator.services
        denied = replace(authorised(operator), policy=NOTHING)
        with pytest.raises(Unusable):
            Fetcher(services, Authoriser(services)).fetch(denied)
        assert operator.aws.operations() == ["DescribeSecret"]


class TestInterpret:
    def test_it_gives_terms_engine_and_credential_and_asks_nothing(self, operator: FakeOperator) -> None:
        before = fetched(operator)
        operator.aws.calls.clear()
        found = Interpreter(operator.services, secrets_of(operator)).interpret(before)
        assert operator.aws.calls == []
        assert found.engine is operator.engine
        assert found.terms.arn == before.description.arn
        assert found.credential is not None
        assert (found.credential.engine, found.credential.host, found.credential.port) == (ENGINE, HOST, PORT)
        assert found.credential.version_id == before.current.version_id
        assert found.seen.obstacle is None
        assert found.seen.target is None

    def test_what_reaches_no_database_has_no_engine(self, operator: FakeOperator) -> None:
        operator.aws.create("shop/token", "a-token")
        spec = {"source": {"secretId": "shop/token"}, "rotation": {"strategy": "RandomValue"}}
        found = interpreted(operator, spec)
        assert found.engine is None
        assert found.credential is None
        assert not found.terms.has_database


class TestConnect:
    def connector(self, operator: FakeOperator, policy: AccessPolicy = POLICY) -> Connector:
        return Connector(operator.services, secrets_of(operator), lambda: policy)

    def test_it_connects_to_nothing_and_reads_no_admin_secret(self, operator: FakeOperator) -> None:
        found = self.connector(operator).connect(interpreted(operator))
        assert found.database is not None
        assert (found.server, found.obstacle) == (f"{HOST}:{PORT}", None)
        assert operator.server().logins == []
        assert operator.aws.operations(of="admin") == []

    def test_admin_is_read_when_a_rotation_needs_it_by_the_policy_that_is_in_force_then(
        self, operator: FakeOperator
    ) -> None:
        in_force = [POLICY]
        before = interpreted(operator)
        found = Connector(operator.services, secrets_of(operator), lambda: in_force[0]).connect(before)
        in_force[0] = NOTHING
        assert found.database is not None
        assert before.credential is not None
        with pytest.raises(Refused, match="may not use shop/admin/orders"):
            found.database.open_admin(before.credential)
        assert operator.server().logins == []

    def test_what_reaches_no_database_has_no_way_to_one(self, operator: FakeOperator) -> None:
        operator.aws.create("shop/token", "a-token")
        spec = {"source": {"secretId": "shop/token"}, "rotation": {"strategy": "RandomValue"}}
        found = self.connector(operator).connect(interpreted(operator, spec))
        assert found.database is None
        assert found.server == ""

    def test_admin_that_is_denied_is_an_obstacle(self, operator: FakeOperator) -> None:
        found = self.connector(operator, NOTHING).connect(interpreted(operator))
        assert found.obstacle is not None
        assert found.obstacle.reason is Reason.ACCESS_DENIED


def test_stages_take_what_the_one_before_gives(operator: FakeOperator) -> None:
    found = interpreted(operator)
    assert found.fetched.authorised.resource.key == KEY
