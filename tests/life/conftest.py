"""A server of each engine, a store, and on them the lives of each test, with a search for leaked passwords after it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

import boto3
import pytest

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.databases.registry import engine_named
from rotated_secrets.secretstores.aws import AwsSettings, AwsStores
from sandbox.applications.base import Account, DatabaseSide, ServerMissing
from sandbox.applications.engines import ENGINES, running_side
from sandbox.applications.versions import INSTALLED, NEWER, Version
from sandbox.database_proxy import database_proxy
from sandbox.secretsmanager import SecretsManager
from tests.support.database_tenant import Tenant, tenant_at
from tests.support.life import DATABASE, Life, Place


@dataclass(frozen=True)
class Pair:
    """One strategy of one engine."""

    engine: str
    strategy: Strategy

    def __str__(self) -> str:
        return f"{self.engine}-{self.strategy}"


PAIRS = tuple(Pair(engine, strategy) for engine in ENGINES for strategy in sorted(engine_named(engine).strategies))
"""Every strategy of every engine that a server is to be had for: by the engines' own word."""


def pairs_with(*strategies: Strategy) -> pytest.MarkDecorator:
    """The test is about these strategies alone."""
    chosen = [pair for pair in PAIRS if pair.strategy in strategies]
    return pytest.mark.parametrize("pair", chosen, ids=str, indirect=True)


@pytest.fixture(scope="session", params=PAIRS, ids=str)
def pair(request: pytest.FixtureRequest) -> Pair:
    chosen: Pair = request.param
    return chosen


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that needs a server with the one that is installed, or with all newer versions."""
    if "version" in metafunc.fixturenames:
        newer = metafunc.config.getoption("--newer-servers")
        versions, ids = (NEWER, [str(each) for each in NEWER]) if newer else ((INSTALLED,), [pytest.HIDDEN_PARAM])
        metafunc.parametrize("version", versions, ids=ids, indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A version is of one engine: leave out the tests of others with it, and where it is chosen, those of none."""
    if config.getoption("--newer-servers"):
        config.hook.pytest_deselected(items=[each for each in items if not _fits(each)])
        items[:] = [each for each in items if _fits(each)]


def _fits(item: pytest.Item) -> bool:
    params: Mapping[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    engine = params["pair"].engine if "pair" in params else params.get("engine")
    return "version" in params and bool(params["version"].engine == engine)


@pytest.fixture(scope="session")
def version(request: pytest.FixtureRequest) -> Version:
    """Which server of its engine the test is run with."""
    chosen: Version = request.param
    return chosen


PlaceFor = Callable[[str], Place]


@pytest.fixture
def place_for(places: Callable[[Version, str], Place], version: Version) -> PlaceFor:
    """Starts a server of an engine once, and leaves it running until the end."""
    return partial(places, version)


@pytest.fixture(scope="package")
def places(running_store: SecretsManager) -> Iterator[Callable[[Version, str], Place]]:
    """What :func:`place_for` does, for each version."""
    manager = running_store
    session = boto3.session.Session(manager.access_key_id, manager.secret_access_key, region_name=manager.region)
    settings = AwsSettings(manager.region, manager.endpoint_url, writes_per_second=1000)
    store = AwsStores(settings, session=session).at()
    found: dict[tuple[Version, str], Place | str] = {}
    with ExitStack() as servers:

        def start(version: Version, engine: str) -> Place | str:
            try:
                side = servers.enter_context(running_side(engine, version=version))
            except ServerMissing as error:
                return f"{engine}: {error}"
            assert side.product.startswith(version.product)
            proxy = servers.enter_context(database_proxy(side.host, side.port))
            side.create_user(Account("owner", "owner-Password-1", DATABASE))
            return Place(side, proxy, store, manager.client())

        def place(version: Version, engine: str) -> Place:
            if (version, engine) not in found:
                found[version, engine] = start(version, engine)
            here = found[version, engine]
            if isinstance(here, str):
                (pytest.fail if os.environ.get("CI") else pytest.skip)(here)
            return here

        yield place


class _Overheard(logging.Handler):
    """Every log line, with its traceback, of whatever logger and level."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def place(pair: Pair, place_for: PlaceFor) -> Iterator[Place]:
    """Where the lives of this test are led, everything let through again at the end."""
    here = place_for(pair.engine)
    yield here
    here.proxy.clear()


LiveOne = Callable[..., Life]


@pytest.fixture
def live(pair: Pair, place: Place) -> Iterator[LiveOne]:
    """Lives of this test's own. At the end no password of theirs is in any log, nor in what people were told."""
    lives: list[Life] = []
    overheard, root = _Overheard(), logging.getLogger()
    level = root.level
    root.addHandler(overheard)
    root.setLevel(logging.DEBUG)

    def make(**settings: Any) -> Life:
        lives.append(Life(place, pair.strategy, **settings))
        return lives[-1]

    try:
        yield make
    finally:
        root.removeHandler(overheard)
        root.setLevel(level)
    server_log = place.side.log()
    assert all(life.user in server_log for life in lives), "the server's log does not tell what is done to users"
    for life in lives:
        _search(life, "the operator's log", "\n".join(overheard.lines))
        _search(life, "the server's log", server_log)
        _search(life, "the status", json.dumps(life.status.to_patch()))
        _search(life, "what people were told", "\n".join([*life.told, *map(str, life.reports)]))


@pytest.fixture
def life(live: LiveOne) -> Life:
    """One whose credential is delivered."""
    return live().deliver()


def _search(life: Life, where: str, text: str) -> None:
    for password in life.passwords:
        quoted = {password.replace("'", "''"), repr(password)[1:-1], json.dumps(password)[1:-1], quote(password, "")}
        for written in {password, *quoted}:
            at = text.find(written)
            assert at < 0, f"a password of {life.user} is in {where}: …{text[max(0, at - 80) : at]}<here>…"


def for_engine(*engines: str) -> pytest.MarkDecorator:
    """The test is about a tenant at a server of each of these engines."""
    return pytest.mark.parametrize("engine", engines)


@pytest.fixture
def tenant(engine: str, place_for: PlaceFor) -> Iterator[Tenant]:
    """A tenant of this test's own at a server of ``engine``, which the test's parameters name."""
    with tenant_at(place_for(engine).side) as made:
        yield made


@pytest.fixture
def side(place: Place) -> DatabaseSide:
    return place.side
