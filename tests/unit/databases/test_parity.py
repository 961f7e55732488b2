"""What is mended, told or refused where a clone is not its base user's equal."""

from __future__ import annotations

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import Refused, RightsReport, Server, Tls, Unavailable
from rotated_secrets.databases.idle import IdleLimit
from rotated_secrets.databases.parity import Difference, ObjectGone, reconcile

LACKS = Difference("lacks a", ("GIVE a",), lacks=True, place="shop")
EXTRA = Difference("has b", ("TAKE b",))
BY_HAND = Difference("owns c")


class World:
    """Differences that go away when they are mended, unless they are not to be."""

    def __init__(self, *found: Difference, stubborn: frozenset[str] = frozenset()) -> None:
        self.found, self.stubborn, self.ran = list(found), stubborn, list[tuple[str, str]]()

    def look(self) -> list[Difference]:
        return list(self.found)

    def run(self, statement: str, place: str) -> None:
        self.ran.append((statement, place))
        if statement in self.stubborn:
            raise Refused("not allowed")
        self.found = [each for each in self.found if statement not in each.repairs]

    def reconciled(self, rights: Rights, *, unfinished: bool = False) -> RightsReport:
        return reconcile(self.look, self.run, rights, clone="app_clone", unfinished=unfinished)


def test_enforce_mends_what_can_be_and_tells_the_rest() -> None:
    world = World(LACKS, EXTRA, BY_HAND)
    assert world.reconciled(Rights.ENFORCE) == RightsReport(
        ("app_clone lacks a", "app_clone has b"), ("app_clone owns c",)
    )
    assert world.ran == [("GIVE a", "shop"), ("TAKE b", "")]


def test_report_tells_and_changes_nothing() -> None:
    world = World(LACKS, EXTRA)
    assert world.reconciled(Rights.REPORT) == RightsReport((), ("app_clone lacks a", "app_clone has b"))
    assert world.ran == []


def test_ignore_does_not_even_look() -> None:
    world = World(LACKS)
    assert world.reconciled(Rights.IGNORE) == RightsReport()
    assert world.ran == []


@pytest.mark.parametrize("rights", list(Rights))
def test_an_unfinished_clone_is_finished_whatever_is_said_and_it_is_no_news(rights: Rights) -> None:
    world = World(LACKS, EXTRA)
    assert world.reconciled(rights, unfinished=True) == RightsReport()
    assert world.found == []


def test_one_who_cannot_be_given_what_it_lacks_is_refused_with_the_reason() -> None:
    with pytest.raises(Refused, match=r"it lacks a \(not allowed\); .*rotation\.rights: Report"):
        World(LACKS, stubborn=frozenset({"GIVE a"})).reconciled(Rights.ENFORCE)


def test_one_who_has_too_much_is_told_with_the_reason() -> None:
    world = World(EXTRA, stubborn=frozenset({"TAKE b"}))
    assert world.reconciled(Rights.ENFORCE) == RightsReport((), ("app_clone has b (not allowed)",))
    assert world.ran == [("TAKE b", "")]


def test_what_one_repair_brings_to_light_is_mended_too() -> None:
    world = World(EXTRA)
    before = world.run

    def run(statement: str, place: str) -> None:
        before(statement, place)
        if statement == "TAKE b":
            world.found.append(LACKS)

    report = reconcile(world.look, run, Rights.ENFORCE, clone="app_clone", unfinished=False)
    assert report == RightsReport(("app_clone has b", "app_clone lacks a"), ())


def test_many_are_not_all_said_in_one_sentence() -> None:
    lacking = [Difference(f"lacks {n}", lacks=True) for n in range(50)]
    with pytest.raises(Refused, match="lacks 0 and lacks 1 and lacks 2, and 47 more"):
        World(*lacking).reconciled(Rights.ENFORCE)


def test_a_session_that_froze_is_not_gone_on_with() -> None:
    clock = iter([0.0, 29.0, 58.0, 89.0])
    limit = IdleLimit(Server("db", ("10.0.0.1",), 1, Tls()), 30.0, clock.__next__)
    limit.check()
    limit.check()
    with pytest.raises(Unavailable, match="silent for more than 30 s"):
        limit.check()


@pytest.mark.parametrize("rights", list(Rights))
@pytest.mark.parametrize("unfinished", [False, True])
def test_what_is_gone_is_no_lack_and_is_told(rights: Rights, unfinished: bool) -> None:
    def run(statement: str, place: str) -> None:
        raise ObjectGone("which is gone; run: CLEAN UP")

    report = reconcile(lambda: [LACKS], run, rights, clone="app_clone", unfinished=unfinished)
    tried = rights is Rights.ENFORCE or unfinished
    told = "app_clone lacks a (which is gone; run: CLEAN UP)" if tried else "app_clone lacks a"
    assert report == RightsReport((), () if rights is Rights.IGNORE and not unfinished else (told,))


def test_what_is_gone_does_not_hide_what_the_clone_lacks() -> None:
    other = Difference("lacks d", ("GIVE d",), lacks=True)

    def run(statement: str, place: str) -> None:
        raise ObjectGone("which is gone") if statement == "GIVE a" else Refused("not allowed")

    with pytest.raises(Refused, match=r"because it lacks d \(not allowed\); grant"):
        reconcile(lambda: [LACKS, other], run, Rights.ENFORCE, clone="app_clone", unfinished=False)
