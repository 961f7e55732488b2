"""Many applications whose rotations stand still at one point each, so that one fault meets all of them at once."""

from __future__ import annotations

import re
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from sandbox.application import Application, create_application
from sandbox.applications.base import Account
from sandbox.database_proxy import SEND, DatabaseProxy, database_proxy
from sandbox.pod import Pod
from sandbox.proxy import Call, Held, Moment, Proxy
from sandbox.stack import Stack
from sandbox.waiting import eventually
from tests.support.applied import Applied
from tests.support.replicas import PATIENCE, Replica

LOGINS_A_SECOND = 1.0
LONGEST_HISTORY = 10
_LAST_STATEMENT = "SELECT query FROM pg_stat_activity WHERE usename = %s AND state = 'idle in transaction'"
_SETS_A_PASSWORD = re.compile(r'statement: (?:CREATE|ALTER) ROLE "?(\w+)"? ')


@dataclass(frozen=True)
class Point:
    """A moment of a rotation: the n-th call of a name that the leader makes for it in front of a proxy."""

    name: str
    proxy: str
    """``store``, ``api`` or ``database``."""
    number: int
    call: str | None
    moment: Moment = Moment.SEEN
    after: str = ""
    """The call is the first one that the admin's session makes after a statement that begins so."""

    def __str__(self) -> str:
        return self.name


CLAIM = Point("the claim, on its way", "api", 1, "PATCH rotatedsecrets/status")
PUT = Point("PutSecretValue, on its way", "store", 1, "PutSecretValue")
PUT_DONE = Point("PutSecretValue, done", "store", 1, "PutSecretValue", Moment.ANSWERED)
SET = Point("in the middle of setSecret", "database", 1, SEND, after="ROLE")
FINISH = Point("finishSecret, on its way", "store", 1, "UpdateSecretVersionStage")
FINISH_DONE = Point("finishSecret, done", "store", 1, "UpdateSecretVersionStage", Moment.ANSWERED)
SYNC = Point("the target Secret, on its way", "api", 1, "PUT secrets")


def send(number: int) -> Point:
    """Something that is sent to the database, in whichever session."""
    return Point(f"send {number} to the database", "database", number, SEND)


@dataclass
class Member:
    """One application, with a client that lives by its target Secret and must never fail."""

    application: Application
    database: DatabaseProxy
    """In front of the database for this application alone."""
    resource: Applied
    pod: Pod
    rotations: int = 0
    held: Held | None = field(default=None, repr=False)
    point: Point | None = None

    @property
    def name(self) -> str:
        return self.application.name

    def hold(self, point: Point, leader: Replica) -> Held:
        """Have the call of this application's next rotation wait that ``point`` names."""
        self.database.clear()
        proxies: dict[str, tuple[Proxy, str]] = {
            "store": (leader.store, self.application.secret_id),
            "api": (leader.api, self.name),
            "database": (self.database, ""),
        }
        proxy, subject = proxies[point.proxy]
        self.held = Held()
        self.point = point
        if point.after:
            self._hold_after(point.after, self.held)
        else:
            proxy.trap(point.number, self.held.hold, moment=point.moment, name=point.call, subject=subject, cut=False)
        return self.held

    def _hold_after(self, statement: str, held: Held) -> None:
        def look(call: Call) -> None:
            if statement in self._last_statement_of_the_admin():
                held.hold(call)
            else:
                self.database.trap(1, look, name=SEND, cut=False)

        self.database.trap(1, look, name=SEND, cut=False)

    def _last_statement_of_the_admin(self) -> str:
        with self.application.stack.database.connect() as connection, connection.cursor() as cursor:
            cursor.execute(_LAST_STATEMENT, (self.application.admin,))
            found = cursor.fetchone()
        connection.close()
        return str(found[0]) if found else ""

    def ask(self) -> None:
        self.rotations += 1
        self.resource.ask(self._request)

    @property
    def _request(self) -> str:
        return f"number {self.rotations}"

    def until_served(self) -> None:
        self.resource.until_served(self._request, seconds=PATIENCE)

    def lose(self) -> None:
        """What was held gets no further."""
        assert self.held is not None
        self.held.lose()

    def until_told(self) -> str:
        """Why the rotation that is under way is tried again."""
        message: str = self.resource.until("Rotated", "False", seconds=PATIENCE)["message"]
        return message

    def check_passwords_set(self, counted: Counter[str]) -> None:
        """The passive user's alone, and twice at most: the stand-by sets the same one again, for it can't know."""
        application = self.application
        passive = application.value()["username"]
        active = ({application.user, application.clone} - {passive}).pop()
        assert counted[active] == 0, self.point
        assert counted[passive] in (1, 2), self.point

    def let_go(self) -> None:
        """What was held goes on its way."""
        assert self.held is not None
        self.held.let_go()

    def check(self) -> None:
        """As after as many rotations that nobody disturbed."""
        application = self.application
        assert application.users() == {application.user, application.clone}
        stages = application.stages()
        assert {stage: len(versions) for stage, versions in stages.items()} == {"AWSCURRENT": 1, "AWSPREVIOUS": 1}
        assert self.resource.version_count() == 1 + self.rotations
        passive = application.clone if self.rotations % 2 else application.user
        assert application.value()["username"] == passive
        assert self.resource.secret() == {key: str(each) for key, each in application.value().items()}
        status = self.resource.status
        assert [entry["outcome"] for entry in status["history"]] == ["Succeeded"] * min(self.rotations, LONGEST_HISTORY)
        assert status.get("rotation") is None
        side = application.stack.side
        base, clone = (side.rights(Account(user, "", application.database)) for user in sorted(application.users()))
        assert base == clone
        assert self.pod.failures == []


def passwords_set(stack: Stack) -> Counter[str]:
    """How often operators sent a statement that sets a password, by user: what the server has logged."""
    lines = (line for line in stack.side.log().splitlines() if " PASSWORD " in line)
    return Counter(found[1] for line in lines if (found := _SETS_A_PASSWORD.search(line)))


@contextmanager
def crowd(stack: Stack, namespace: str, size: int) -> Iterator[list[Member]]:
    """So many applications, delivered, each with its client; their resources are gone afterwards."""
    with ExitStack() as parts:
        members = [_member(stack, namespace, parts) for _ in range(size)]
        for member in members:
            member.resource.until("Ready", "True", seconds=PATIENCE)
            parts.enter_context(member.pod)
        for member in members:
            eventually(lambda: member.pod.logins, "the client logs in")  # noqa: B023
        yield members
        # All clients are counted before the first is waited for: each logs in once a second.
        users = [(member.pod, member.application.value()["username"]) for member in members]
        enough = [(pod, user, pod.logins_by_user[user] + 2) for pod, user in users]
        for pod, user, logins in enough:
            eventually(lambda: pod.logins_by_user[user] >= logins, "the client logs in")  # noqa: B023
            assert pod.failures == []


def _member(stack: Stack, namespace: str, parts: ExitStack) -> Member:
    proxy = parts.enter_context(database_proxy(stack.side.host, stack.side.port))
    name = f"victim-{secrets.token_hex(4)}"
    application = create_application(replace(stack, database_proxy=proxy), namespace, name, database="victims")
    resource = Applied(application).apply()
    parts.callback(resource.delete)
    pod = Pod(stack.api, stack.side, namespace, name, LOGINS_A_SECOND)
    return Member(application, proxy, resource, pod)


@contextmanager
def standing_still(members: Iterable[tuple[Member, Point]], leader: Replica) -> Iterator[float]:
    """Ask for a rotation of each, and wait until each has got to its point and waits there; none does at the end.

    Gives the seconds that they took to get there, which depends on the machine.
    """
    chosen = [(member, point, member.hold(point, leader)) for member, point in members]
    began = time.monotonic()
    try:
        for member, _, _ in chosen:
            member.ask()
        for _, point, held in chosen:
            eventually(
                lambda: held.has_arrived or not leader.runs,  # noqa: B023
                f"a rotation gets to: {point}",
                seconds=PATIENCE,
            )
            assert held.has_arrived, f"{leader.identity} has ended: {leader.log()[-2000:]}"
        yield time.monotonic() - began
    finally:
        for _, _, held in chosen:
            held.lose()
