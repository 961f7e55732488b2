"""An engine is found by the name that a secret value gives it, and a broken plug-in is nobody else's trouble."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rotated_secrets.api.rotation import Rights, Strategy
from rotated_secrets.databases import registry
from rotated_secrets.databases.base import (
    AuthenticationFailed,
    NamesHosts,
    PasswordLimits,
    Refused,
    Server,
    Tls,
    Unavailable,
    Users,
)
from rotated_secrets.databases.postgres import PostgresEngine
from rotated_secrets.databases.registry import EngineSwitchedOff, enabled_engines, engine_modules, engine_named
from rotated_secrets.values import Credential, SecretText

SERVER = Server("db", ("192.0.2.1",), 1, Tls())
CREDENTIAL = Credential("toy", "db", "app", SecretText("canary-password"))
Install = Callable[..., None]

ENGINE = """
from rotated_secrets.api.rotation import Strategy
from rotated_secrets.databases.base import AuthenticationFailed, PasswordLimits

class Toy:
    default_port = 1
    strategies = frozenset({Strategy.SINGLE_USER})
    passwords = PasswordLimits(longest=40)
    def check_username(self, username): pass
    def verify(self, server, credential, users, queries=()):
        if queries:
            raise AuthenticationFailed("no")
        raise RuntimeError(credential.password.reveal())
    def open_admin(self, server, credential): return Session()

class Session:
    def __enter__(self): return self
    def __exit__(self, *error): raise OSError("gone")
    def try_lock(self, base_user): return True
    def check_users(self, users): raise SystemExit(3)
    def set_password(self, users, credential, rights, keep=None): raise RuntimeError(credential.password.reveal())

class Half:
    default_port = 1
    strategies = {"SingleUser"}

class Ends:
    def __init__(self): raise SystemExit(1)
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Packages as pip leaves them: a module, and the metadata that name its entry points."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def installed(package: str, entry_points: str, code: str = ENGINE) -> None:
        (tmp_path / f"{package}.py").write_text(code)
        metadata = tmp_path / f"{package}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[rotated_secrets.databases]\n{entry_points}\n")
        importlib.invalidate_caches()
        forget()

    forget()
    yield installed
    forget()
    for package in tmp_path.glob("*.py"):
        sys.modules.pop(package.stem, None)


def forget() -> None:
    registry.known_engines.cache_clear()
    registry._loaded.cache_clear()


@pytest.mark.parametrize("name", ["postgres", "aurora-postgresql"])
def test_postgresql_is_known_by_both_of_its_names(name: str) -> None:
    assert isinstance(engine_named(name), PostgresEngine)


@pytest.mark.parametrize("name", ["db2", "Postgres", "", "webhook"])
def test_an_unknown_engine_is_refused_with_those_that_are_known(name: str) -> None:
    with pytest.raises(Refused, match="engine in the secret value is not one of aurora-mysql, aurora-postgresql"):
        engine_named(name)


def test_an_unknown_name_is_not_repeated_in_the_refusal() -> None:
    with pytest.raises(Refused) as told:
        engine_named("hunter2")
    assert "hunter2" not in str(told.value)


def test_all_engines_are_enabled_where_none_is_named() -> None:
    assert enabled_engines() == {*registry.BUILT_IN, "webhook"}
    assert enabled_engines(("postgres", "webhook")) == {"postgres", "webhook"}
    with pytest.raises(ValueError, match="there is no engine db2; the engines are aurora-mysql"):
        enabled_engines(("postgres", "db2"))


def test_modules_of_engines_that_are_switched_off_are_not_to_be_loaded() -> None:
    assert engine_modules(("postgres", "webhook")) == (
        "rotated_secrets.databases.postgres",
        "rotated_secrets.databases.webhook",
    )
    assert "rotated_secrets.databases.redis" not in engine_modules(("aurora-postgresql",))
    assert {"rotated_secrets.databases.redis", "rotated_secrets.databases.webhook"} < set(engine_modules())


def test_an_engine_that_is_switched_off_is_refused_by_its_name_and_not_loaded(install: Install) -> None:
    install("toy_engine", "toy = toy_engine:Toy", "raise SystemExit(1)")
    with pytest.raises(EngineSwitchedOff, match=r"engine toy is switched off .* to add it to --engines"):
        engine_named("toy", ("postgres",))
    assert "toy_engine" not in sys.modules
    with pytest.raises(Refused, match="not one of"):
        engine_named("db2", ("postgres",))
    assert isinstance(engine_named("postgres", ("postgres",)), PostgresEngine)


def test_no_driver_is_loaded_before_a_value_names_its_engine() -> None:
    program = """
import sys
from rotated_secrets.databases.registry import known_engines
assert "postgres" in known_engines()
import rotated_secrets.controller.look.interpret  # what looks at a value loads none either
print([name for name in ("psycopg2", "pymysql", "pymongo", "redis", "oracledb", "pytds") if name in sys.modules])
"""
    path = os.pathsep.join(each for each in sys.path if each)
    ran = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "[]\n"


def test_a_plug_in_is_found_by_the_name_of_its_entry_point(install: Install) -> None:
    install("toy_engine", "toy = toy_engine:Toy")
    engine = engine_named("toy")
    assert (engine.default_port, engine.strategies) == (1, frozenset({Strategy.SINGLE_USER}))
    assert engine.passwords == PasswordLimits(longest=40)
    assert not isinstance(engine, NamesHosts), "it does not, so read replicas may stand in for its host"
    assert engine_named("toy") is engine


def test_two_packages_with_one_name_are_both_named_and_stop_no_other_engine(install: Install) -> None:
    install("toy_engine", "toy = toy_engine:Toy")
    install("other_engine", "toy = other_engine:Toy\nfurther = other_engine:Toy")
    with pytest.raises(Refused, match=r"engine toy is provided by other_engine 1\.0 and toy_engine 1\.0; remove one"):
        engine_named("toy")
    assert engine_named("further").default_port == 1
    assert isinstance(engine_named("postgres"), PostgresEngine)


def test_a_plug_in_does_not_take_the_place_of_an_engine_that_is_here(install: Install) -> None:
    install("toy_engine", "postgres = toy_engine:Toy")
    with pytest.raises(Refused, match=r"engine postgres is provided by rotated-secrets itself and toy_engine 1\.0"):
        engine_named("postgres")
    assert engine_named("aurora-postgresql")


@pytest.mark.parametrize(
    ("entry_point", "code", "told"),
    [
        (
            "toy = broken:Toy",
            "import no_such_driver",
            "cannot be loaded: ModuleNotFoundError: No module named 'no_s",
        ),
        ("toy = broken:Toy", "raise SystemExit(1)", "cannot be loaded: SystemExit"),
        ("toy = broken:Missing", ENGINE, "cannot be loaded: AttributeError"),
        ("toy = broken:Ends", ENGINE, "cannot be loaded: SystemExit"),
        ("toy = broken:Half", ENGINE, r"lacks strategies \(a frozenset of Strategy\), passwords .*, the method check_"),
    ],
)
def test_a_broken_plug_in_is_refused_with_the_name_of_its_package(
    install: Install, entry_point: str, code: str, told: str
) -> None:
    install("broken", entry_point, code)
    for _ in range(2):
        with pytest.raises(Refused, match=rf"^engine toy of package broken 1\.0 .*{told}"):
            engine_named("toy")
    assert isinstance(engine_named("postgres"), PostgresEngine)


def test_whatever_a_plug_in_raises_is_doubtful_and_shows_nothing(install: Install) -> None:
    install("toy_engine", "toy = toy_engine:Toy")
    engine = engine_named("toy")
    with pytest.raises(AuthenticationFailed, match=r"^no$"):
        engine.verify(SERVER, CREDENTIAL, Users("app"), ["SELECT 1"])
    calls: list[Callable[[], object]] = [lambda: engine.verify(SERVER, CREDENTIAL, Users("app"))]
    with engine.open_admin(SERVER, CREDENTIAL) as session:
        assert session.try_lock("app") is True
        calls += [
            lambda: session.check_users(Users("app")),
            lambda: session.set_password(Users("app"), CREDENTIAL, Rights.ENFORCE),
            lambda: session.disable_login("app"),
            lambda: session.sessions_of("app"),
        ]
        for call in calls:
            with pytest.raises(Unavailable, match=r"^engine toy of package toy_engine 1\.0 failed to ") as told:
                call()
            assert "canary" not in str(told.value) and told.value.__suppress_context__
