"""What is prepared before cells are forked."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from rotated_secrets.databases import postgres, redshift
from rotated_secrets.databases.postgres.warm_up import warm_up


@pytest.fixture(autouse=True)
def cold() -> None:
    warm_up.cache_clear()


def open_files() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir() if each.exists()}


def children() -> set[str]:
    return {child for each in Path("/proc/self/task").glob("*/children") for child in each.read_text().split()}


def test_tls_begins_and_nothing_is_left_open() -> None:
    before = open_files(), threading.active_count(), children()
    assert warm_up()
    assert (open_files(), threading.active_count(), children()) == before


def test_it_is_done_once_for_both_engines_that_use_libpq() -> None:
    assert postgres.warm_up()
    redshift.warm_up()
    assert warm_up.cache_info().misses == 1


def test_a_machine_without_a_further_process_or_loopback_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "fork", refused)
    assert not warm_up()
