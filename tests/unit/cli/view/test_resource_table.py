"""``list`` prints one line for each RotatedSecret."""

from __future__ import annotations

from datetime import timedelta

from rotated_secrets.api.status import ConditionType, Outcome, Reason, RotatedSecretStatus
from rotated_secrets.cli.kube.rotated_secret import RotatedSecretView
from rotated_secrets.cli.view.printer import UNLIMITED
from rotated_secrets.cli.view.resource_table import resource_table
from tests.support.cli.resource_builders import NOW, entry_of, status_of, text_of, view_of

READY, ROTATED, HELD = ConditionType.READY, ConditionType.ROTATED, ConditionType.HELD


def lines_of(*resources: RotatedSecretView, everywhere: bool = False, width: int = UNLIMITED) -> list[list[str]]:
    printed = text_of(resource_table(resources, NOW, everywhere=everywhere, width=width), width)
    return [line.split() for line in printed.splitlines()]


def test_a_healthy_resource_is_one_line() -> None:
    heading, line = lines_of(view_of(status_of()))
    assert " ".join(heading) == "NAME READY STRATEGY ENGINE ACTIVE USER LAST NEXT STATE"
    assert " ".join(line) == "orders-db True AlternatingUsers postgres orders 3d ago in 4d"


def test_namespaces_are_shown_and_sorted() -> None:
    found = [
        view_of(status_of(), namespace=namespace, name=name) for namespace, name in [("b", "z"), ("a", "b"), ("a", "a")]
    ]
    heading, *lines = lines_of(*found, everywhere=True)
    assert heading[0] == "NAMESPACE"
    assert [line[:2] for line in lines] == [["a", "a"], ["a", "b"], ["b", "z"]]


def test_an_unknown_value_is_a_dash() -> None:
    _, line = lines_of(view_of(RotatedSecretStatus()))
    assert " ".join(line) == "orders-db Unknown AlternatingUsers – – – – not checked yet"


def test_a_narrow_terminal_leaves_out_columns_and_truncates_nothing() -> None:
    held = status_of({HELD: (True, Reason.VERIFY_QUERIES_FAILED, "held")}, history=(entry_of(Outcome.FAILED),))
    one = view_of(held, name="a-rather-long-name-of-a-database")
    for width in (140, 120, 100, 80, 60, 40):
        printed = text_of(resource_table([one], NOW, everywhere=True, width=width), width)
        assert max(map(len, printed.splitlines())) <= width
        assert "a-rather-long-name-of-a-database" in printed
        assert "…" not in printed
        assert "VerifyQueriesFailed" in printed.replace("\n", "").replace(" ", "")
    wide, narrow = (lines_of(one, everywhere=True, width=width)[0] for width in (200, 110))
    assert set(wide) - set(narrow) == {"STRATEGY", "ENGINE"}


def test_no_word_of_a_state_is_torn_apart() -> None:
    held = view_of(status_of({HELD: (True, Reason.VERIFY_QUERIES_FAILED, "held")}), name="suspended-db")
    for width in range(25, 100):
        printed = text_of(resource_table([held], NOW, everywhere=False, width=width), width)
        assert "VerifyQueriesFailed" in printed, width


def test_an_overdue_rotation_says_so() -> None:
    _, line = lines_of(view_of(status_of(next_rotation_time=NOW - timedelta(hours=1))))
    assert " ".join(line).endswith("due 1h ago")
