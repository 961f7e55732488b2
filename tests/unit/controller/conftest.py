"""An operator on fakes that holds the Lease."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fake_operator import FakeOperator, fake_operator


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOperator]:
    with fake_operator(monkeypatch) as running:
        yield running
