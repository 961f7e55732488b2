"""A man in the middle of a real server and the operator, who is honest until a rotation has got somewhere.

Where each point is, is measured: an engine is led through the steps of a rotation, and its messages are counted.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import Server, Tls, Users
from rotated_secrets.databases.registry import engine_named
from rotated_secrets.values import Credential, SecretValue
from sandbox.application import Application
from sandbox.applications.base import Account, DatabaseSide, LoginFailed, ServerMissing
from sandbox.applications.engines import ENGINES
from sandbox.database_proxy import SEND, database_proxy
from sandbox.kubernetes.client import Json
from sandbox.stack import Stack, with_database
from tests.hostile.conftest import Arena
from tests.support.applied import ROTATE
from tests.support.hostile.between import USER, Post
from tests.support.hostile.evil import Kind, Words
from tests.support.hostile.outcomes import LOOK_SECONDS, Namespace
from tests.support.hostile.servers import ROOT, STOP_SECONDS

pytestmark = pytest.mark.timeout(600)

TOLD_SECONDS, RECOVERED_SECONDS = 120, 120
DATABASE = "shop"
FIRST, AGAIN = "now", "again"
"""Requests."""
PART = 4
"""Each point of each engine has every fourth kind, so that at each point some engine has each kind."""


@dataclass(frozen=True)
class Point:
    """A moment of a rotation: the n-th thing that is said on the connections of a user."""

    name: str
    turn: int
    clone: bool = False


@dataclass(frozen=True, eq=False)
class Victim:
    """One application whose server is only reached by a man in the middle."""

    application: Application
    namespace: Namespace
    post: Post
    point: Point

    def __str__(self) -> str:
        return f"{self.post.engine} {self.point.name} {self.post.kind}"

    def told(self, status: Json) -> bool:
        """Whether a person reads that something is wrong with the host."""
        conditions = status.get("conditions") or []
        return any(self.post.address in each["message"] for each in conditions)

    def has_recovered(self, status: Json) -> bool:
        """Whether a rotation that was asked for is finished, and leaves nothing behind."""
        ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or [])
        served = (status.get("handledRequests") or {}).get("rotate") in (FIRST, AGAIN) and not status.get("rotation")
        return ready and served and "AWSPENDING" not in self.application.stages()

    def rests(self, status: Json) -> bool:
        """Whether the last attempt was given up, and has left nothing behind: the next one comes after a long pause."""
        last: Json = next(iter(status.get("history") or []), {})
        return last.get("outcome") in ("Failed", "RolledBack") and "AWSPENDING" not in self.application.stages()

    def ask_again(self) -> None:
        """As a person does who does not want to wait."""
        path = f"{self.namespace.path}/{self.application.name}"
        self.application.stack.api.patch(path, {"metadata": {"annotations": {ROTATE: AGAIN}}})

    def wrong(self) -> str | None:
        """What is wrong at the end."""
        try:
            self.application.stack.side.log_in(self.application.account())
        except LoginFailed as error:
            return f"AWSCURRENT does not log in: {error}"
        return None


def account(side: DatabaseSide, made: Account, address: str, port: int) -> str:
    """The value of a secret by which a user is found at an address."""
    return json.dumps({**side.value(made), "host": address, "port": port, "ssl": False})


def points(side: DatabaseSide) -> Iterator[Point]:
    """Those of one engine: how many things are said until each step begins."""
    mark = USER.format(secrets.randbelow(10**6) + 10**6)
    owner, admin = (
        Account(mark, secrets.token_urlsafe(12), DATABASE),
        Account(f"admin_{mark}", secrets.token_urlsafe(12)),
    )
    clone = Account(f"{mark}_clone", secrets.token_urlsafe(12), DATABASE)
    side.create_user(owner)
    side.create_admin(admin, mark)
    engine, users = engine_named(side.engine), Users(mark, clone.user)
    with database_proxy(side.host, side.plain_port or side.port) as proxy:
        server = Server(proxy.host, (proxy.host,), proxy.port, Tls(TlsMode.DISABLE))

        def credential(made: Account) -> Credential:
            return Credential.of(SecretValue.parse(account(side, made, proxy.host, proxy.port)))

        def next_turn() -> int:
            return proxy.count(SEND) + 1

        with engine.open_admin(server, credential(admin)) as session:
            yield Point("admin's login", 1)
            yield Point("lock", next_turn())
            session.try_lock(mark)
            yield Point("check", next_turn())
            session.check_users(users)
            yield Point("first statement", next_turn())
            session.set_password(users, credential(clone), Rights.ENFORCE)
            yield Point("last statement", next_turn() - 1)
        proxy.clear()
        engine.verify(server, credential(clone), users)
        yield Point("test's login", 1, clone=True)
        # In its middle: at the end some say goodbye, which has no answer.
        yield Point("test", next_turn() // 2 + 1, clone=True)


def kinds(engine: int, point: int) -> Iterator[Kind]:
    """What is done at a point: of what needs no other words than every engine has in each answer."""
    words = Words(small=lambda _: b"", announced=lambda _: b"", told=str.encode)
    for number, kind in enumerate(kind for kind in Kind if kind.is_of(words)):
        if (engine + point + number) % PART == 0:
            yield kind


@contextmanager
def between(posts: Sequence[Post], directory: Path) -> Iterator[tuple[int, Path, Path]]:
    """All men in the middle as a process: their port, the file of those that did evil, and the one that ends it."""
    reached, honest = directory / "between.reached", directory / "between.honest"
    reached.write_text("")
    honest.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "tests.support.hostile.between",
        "--reached",
        str(reached),
        "--honest",
        str(honest),
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as process:
        assert process.stdin and process.stdout
        try:
            process.stdin.write(json.dumps([asdict(post) for post in posts]) + "\n")
            process.stdin.flush()
            yield int(process.stdout.readline()), reached, honest
        finally:
            process.stdin.close()
            process.wait(STOP_SECONDS)


def victims(number: int, stack: Stack, namespace: Namespace) -> Iterator[Victim]:
    """One for each point and kind, for which nothing was made yet."""
    side = stack.side
    found = tuple(points(side))
    for at, point in enumerate(found):
        for kind in kinds(number, at):
            code = number * 10_000 + at * 100 + list(Kind).index(kind)
            user = USER.format(code)
            address = f"127.{200 + number}.{1 + at}.{1 + list(Kind).index(kind)}"
            evil_on = f"{user}_clone" if point.clone else f"admin_{user}"
            post = Post(address, side.host, side.plain_port or side.port, side.engine, evil_on, point.turn, kind.value)
            name = f"at-{at}-{kind}"
            made = Application(stack, stack.store, namespace.name, name, user, DATABASE, f"admin_{user}")
            yield Victim(made, namespace, post, point)


def create(victim: Victim, port: int) -> None:
    """Users, secrets, and the resource, which asks for a rotation at once."""
    made, side = victim.application, victim.application.stack.side
    owner = Account(made.user, secrets.token_urlsafe(12), DATABASE)
    admin = Account(made.admin, secrets.token_urlsafe(12))
    side.create_user(owner)
    side.create_admin(admin, made.user)
    client = made.store.client()
    for secret_id, holder in ((made.admin_secret_id, admin), (made.secret_id, owner)):
        client.create_secret(Name=secret_id, SecretString=account(side, holder, victim.post.address, port))
    spec = made.manifest({"database": {"tls": {"mode": "Disable"}}})["spec"]
    victim.namespace.create_resource(made.name, spec, request=FIRST)


def statuses(of: Sequence[Victim]) -> Mapping[Victim, Json]:
    found = {
        (namespace.name, each["metadata"]["name"]): each.get("status") or {}
        for namespace in {victim.namespace.name: victim.namespace for victim in of}.values()
        for each in namespace.resources()
    }
    return {victim: found.get((victim.namespace.name, victim.application.name), {}) for victim in of}


@contextmanager
def engines(arena: Arena) -> Iterator[list[Stack]]:
    """A real server of each engine that is to be had."""
    with ExitStack() as running:
        found = []
        for engine in ENGINES:
            try:
                found.append(
                    arena.stack
                    if engine == arena.stack.side.engine
                    else running.enter_context(with_database(arena.stack, engine))
                )
            except ServerMissing as missing:
                arena.table.remarks.append(f"man in the middle: {missing}")
        yield found


def test_rotations_outlive_a_man_in_the_middle(arena: Arena) -> None:
    with engines(arena) as stacks:
        namespaces = [arena.namespace(f"between-{stack.side.engine}") for stack in stacks]
        everyone = [
            victim
            for number, (stack, namespace) in enumerate(zip(stacks, namespaces, strict=True))
            for victim in victims(number, stack, namespace)
        ]
        with between([victim.post for victim in everyone], arena.stack.directory) as (port, reached, honest):
            try:
                with arena.watched("man in the middle"):
                    for victim in everyone:
                        create(victim, port)
                    untold = wait_until_told(everyone, reached)
                    honest.touch()
                    left = wait_until_recovered(everyone)
            finally:
                for namespace in namespaces:
                    namespace.empty()
        wrong = [f"{victim}: {why}" for victim in everyone if (why := victim.wrong())]
    assert not [*untold, *left, *wrong], "\n".join([*untold, *left, *wrong])


def wait_until_told(everyone: Sequence[Victim], reached: Path) -> list[str]:
    """What is wrong with those who are not told in time."""
    left, end = list(everyone), time.monotonic() + TOLD_SECONDS
    while left and time.monotonic() < end:
        did_evil, found = set(reached.read_text().splitlines()), statuses(left)
        left = [each for each in left if each.post.address not in did_evil or not each.told(found[each])]
        time.sleep(LOOK_SECONDS)
    did_evil, found = set(reached.read_text().splitlines()), statuses(left)
    return [
        f"{each}: {'told ' + json.dumps(found[each]) if each.post.address in did_evil else 'was not reached'}"
        for each in left
    ]


def wait_until_recovered(everyone: Sequence[Victim]) -> list[str]:
    """What is wrong with those who do not recover in time."""
    left, end = list(everyone), time.monotonic() + RECOVERED_SECONDS
    asked: set[Victim] = set()
    while left and time.monotonic() < end:
        found = statuses(left)
        left = [each for each in left if not each.has_recovered(found[each])]
        for each in left:
            if each not in asked and each.rests(found[each]):
                asked.add(each)
                each.ask_again()
        time.sleep(LOOK_SECONDS)
    found = statuses(left)
    return [f"{each}: has not recovered: {json.dumps(found[each])} {each.application.stages()}" for each in left]
