"""Connections are protected as the secret value and the resource say, and never less."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.spec import TlsMode, TlsSpec
from rotated_secrets.controller.look.database_access import Trust
from rotated_secrets.rotation.actions import Retry
from rotated_secrets.values import Stage
from sandbox.applications.base import DatabaseSide
from sandbox.tls import CertificateAuthority
from tests.life.conftest import LiveOne, pairs_with
from tests.support.life import Life
from tests.support.tap import Tap, tapped

ONE_OF_EACH_ENGINE = pairs_with(Strategy.ALTERNATING_USERS)
"""How a connection is protected does not depend on the strategy."""
WRONG = CertificateAuthority.create().certificate


@pytest.fixture
def tap(side: DatabaseSide) -> Iterator[Tap]:
    if side.ca_pem is None:
        pytest.skip("this server has no TLS")
    with tapped(side.host, side.port) as relay:
        yield relay


@pytest.fixture
def plain(side: DatabaseSide) -> Iterator[Tap]:
    if side.plain_port is None:
        pytest.skip("this server speaks TLS alone")
    with tapped(side.host, side.plain_port) as relay:
        yield relay


@ONE_OF_EACH_ENGINE
def test_nothing_can_be_read_on_the_way_where_the_right_authority_is_trusted(live: LiveOne, tap: Tap) -> None:
    life = live(value_keys={"port": tap.port}).deliver()
    life.rotate()
    _check_unread(life, tap)


def test_wrong_authority_is_waited_for_and_nothing_is_sent(live: LiveOne, tap: Tap) -> None:
    life = live(value_keys={"port": tap.port})
    life.trust = Trust(TlsSpec(), None, WRONG)
    _check_not_rotated(life)
    _check_unread(life, tap)


@ONE_OF_EACH_ENGINE
def test_resource_that_asks_for_more_than_the_value_gets_it(live: LiveOne, tap: Tap) -> None:
    life = live(value_keys={"port": tap.port, "ssl": False})
    life.trust = Trust(TlsSpec(mode=TlsMode.VERIFY_FULL), None, life.side.ca_pem)
    life.deliver().rotate()
    _check_unread(life, tap)


@ONE_OF_EACH_ENGINE
def test_value_that_says_no_tls_is_taken_at_its_word(live: LiveOne, plain: Tap) -> None:
    life = live(value_keys={"port": plain.port, "ssl": False})
    life.trust = Trust(TlsSpec(), None, WRONG)
    life.deliver().rotate()
    assert life.user.encode() in plain.sent


@ONE_OF_EACH_ENGINE
def test_tenant_cannot_weaken_the_connection_of_the_admin(live: LiveOne, tap: Tap) -> None:
    """Nor have it trust an authority of the tenant's."""
    life = live(value_keys={"port": tap.port}).deliver()
    ca = life.side.ca_pem
    assert ca is not None
    life.trust = Trust(TlsSpec(mode=TlsMode.REQUIRE), ca, WRONG)
    _check_not_rotated(life)
    _check_unread(life, tap)


def _check_not_rotated(life: Life) -> None:
    """It is tried again, for the certificate's sake, and nothing was made yet."""
    waiting = life.ask().run()
    assert isinstance(waiting, Retry)
    assert "certificate" in waiting.message
    assert set(life.stages()) == {Stage.CURRENT}
    assert life.users() == {life.user}


def _check_unread(life: Life, tap: Tap) -> None:
    assert tap.sent, "nothing passed here"
    for text in (life.user, f"admin{life.user.removeprefix('app')}", *life.passwords):
        assert text.encode() not in tap.sent
