"""The first contact with the cluster: what is missing is named, with what to do, and not waited for without end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from rotated_secrets.cluster import ClusterError, Forbidden, NotFound, Unreachable
from rotated_secrets.controller.process import startup
from rotated_secrets.controller.process.startup import NotUsable, wait_until_usable

ADVICE = ("apply crds/rotatedsecrets.yaml", "grant it to the operator's ServiceAccount", "no answer in time")


NEEDED = ("resources", "leader", "journal")


def contact(*answers: ClusterError | None, timeout: float = 0.0, asks: str = "resources") -> int:
    """Returns how often the cluster was asked before it was usable, for one of the things that are needed of it."""
    left, asked = list(answers), []

    def check_access() -> None:
        asked.append(1)
        answer = left.pop(0)
        if answer is not None:
            raise answer

    parts: dict[str, Any] = {each: SimpleNamespace(check_access=lambda: None) for each in NEEDED}
    parts[asks] = SimpleNamespace(check_access=check_access)
    asyncio.run(wait_until_usable(parts["resources"], parts["leader"], parts["journal"], timeout))
    return len(asked)


@pytest.mark.parametrize("asks", NEEDED)
def test_usable_cluster_is_asked_once(asks: str) -> None:
    assert contact(None, asks=asks) == 1


@pytest.mark.parametrize("asks", NEEDED)
def test_permission_that_is_missing_for_any_of_them_is_told(asks: str) -> None:
    with pytest.raises(NotUsable, match=ADVICE[1]):
        contact(Forbidden("GET /x", 403), asks=asks)


@pytest.mark.parametrize(
    ("missing", "advice"),
    [
        (NotFound("GET /x", 404), ADVICE[0]),
        (Forbidden("GET /x", 403), ADVICE[1]),
        (Unreachable("GET /x: no answer in time"), ADVICE[2]),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(missing: ClusterError, advice: str) -> None:
    with pytest.raises(NotUsable, match=advice) as caught:
        contact(missing)
    assert [each for each in ADVICE if each in str(caught.value)] == [advice]


def test_what_comes_in_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "PAUSE", 0.0)
    assert contact(Unreachable("not yet"), NotFound("GET /x", 404), None, timeout=60.0) == 3
