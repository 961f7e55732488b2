"""Which Event is posted next, and which is dropped: fair between namespaces."""

from __future__ import annotations

from rotated_secrets.observability import event_queue
from rotated_secrets.observability.event_queue import EventQueue


def taken(queue: EventQueue[str]) -> list[str]:
    found = []
    while (event := queue.take()) is not None:
        found.append(event)
    return found


def test_the_namespace_that_has_posted_none_for_longest_is_next() -> None:
    queue = EventQueue[str](100)
    for number in range(3):
        queue.add("noisy", f"noisy {number}")
    queue.add("shop", "shop 0")
    assert queue.take() == "noisy 0"
    assert queue.take() == "shop 0"
    queue.add("shop", "shop 1")
    queue.add("new", "new 0")
    assert taken(queue) == ["new 0", "noisy 1", "shop 1", "noisy 2"]


def test_a_full_queue_takes_no_more_of_the_namespace_that_fills_it() -> None:
    queue = EventQueue[str](3)
    assert all(queue.add("noisy", str(number)) for number in range(3))
    assert not queue.add("noisy", "3")
    assert taken(queue) == ["0", "1", "2"]


def test_a_namespace_with_fewer_always_gets_a_place_in_a_full_queue() -> None:
    queue = EventQueue[str](4)
    for number in range(4):
        queue.add("noisy", f"noisy {number}")
    assert not queue.add("shop", "shop 0"), "one was dropped for it"
    assert not queue.add("shop", "shop 1")
    assert len(queue) == 4
    assert not queue.add("shop", "shop 2"), "now it has as many: its own is dropped"
    assert taken(queue) == ["noisy 0", "shop 0", "noisy 1", "shop 1"]


def test_only_some_namespaces_are_remembered() -> None:
    queue = EventQueue[str](2)
    for number in range(event_queue.REMEMBERED + 1):
        queue.add(f"team-{number}", "event")
        queue.take()
    queue.add("team-1", "of one that is remembered")
    queue.add("team-0", "of one that is forgotten")
    assert taken(queue) == ["of one that is forgotten", "of one that is remembered"]
