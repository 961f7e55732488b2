"""Which key is next: fair between namespaces, in their order within one."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from rotated_secrets.api.key import Key
from rotated_secrets.controller.work.waiting import WaitingKeys


def filled(*counts: tuple[str, int]) -> WaitingKeys:
    waiting = WaitingKeys()
    for namespace, count in counts:
        for number in range(count):
            waiting.add(Key(namespace, str(number)))
    return waiting


def test_keys_of_one_namespace_are_taken_in_their_order() -> None:
    waiting = filled(("shop", 3))
    waiting.add(Key("shop", "0"))
    assert len(waiting) == 3
    assert [waiting.take_next(100) for _ in range(4)] == [Key("shop", "0"), Key("shop", "1"), Key("shop", "2"), None]


def test_namespace_with_the_fewest_keys_in_work_is_next() -> None:
    waiting = filled(("noisy", 1000))
    for _ in range(10):
        waiting.take_next(100)
    waiting.add(Key("shop", "orders"))
    assert waiting.take_next(90) == Key("shop", "orders")
    assert waiting.take_next(89) == Key("noisy", "10")


def test_namespaces_take_turns() -> None:
    waiting = filled(("noisy", 3), ("shop", 2))
    taken = [waiting.take_next(100) for _ in range(5)]
    assert [key.namespace for key in taken if key] == ["noisy", "shop", "noisy", "shop", "noisy"]


def test_namespace_takes_a_worker_only_while_it_has_fewer_than_are_free() -> None:
    waiting, free = filled(("noisy", 1000)), 100
    while waiting.take_next(free) is not None:
        free -= 1
    assert free == 50
    waiting.end(Key("noisy", "0"))
    assert waiting.take_next(free + 1) is not None


def test_nothing_is_left_once_all_keys_have_ended_or_were_dropped() -> None:
    waiting = filled(("noisy", 3), ("shop", 2))
    taken = [waiting.take_next(100) for _ in range(3)]
    waiting.clear()
    assert (len(waiting), waiting.take_next(100)) == (0, None)
    for key in taken:
        assert key is not None
        waiting.end(key)
    assert not waiting._in_work
    assert not waiting._waiting
    assert not waiting._namespaces


STEPS = st.lists(st.tuples(st.sampled_from(["add", "take", "end"]), st.sampled_from("abcd"), st.integers(0, 8)))


@given(STEPS, st.integers(1, 12))
def test_every_key_is_taken_once_by_the_rules(steps: list[tuple[str, str, int]], workers: int) -> None:
    """Held against a model that looks at every key."""
    waiting, model, in_work = WaitingKeys(), list[Key](), list[Key]()

    def take() -> bool:
        free, held = workers - len(in_work), Counter(key.namespace for key in in_work)
        key = waiting.take_next(free)
        fewest = min((held[each.namespace] for each in model), default=free)
        if key is None:
            assert fewest >= free
            return False
        assert held[key.namespace] == fewest < free
        assert key == next(each for each in model if each.namespace == key.namespace)
        model.remove(key)
        in_work.append(key)
        return True

    for what, namespace, number in steps:
        key = Key(namespace, str(number))
        if what == "add" and key not in in_work:
            waiting.add(key)
            model += [] if key in model else [key]
        elif what == "take":
            take()
        elif what == "end" and in_work:
            waiting.end(in_work.pop(number % len(in_work)))
        assert len(waiting) == len(model)
    while model:
        while take():
            pass
        assert in_work, "keys wait although every worker is free"
        waiting.end(in_work.pop())
    assert len(waiting) == 0
