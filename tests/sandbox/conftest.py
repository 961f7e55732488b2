"""One Secrets Manager for all tests of the sandbox, an account of its own for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.secretsmanager import SecretsManager, secrets_manager


@pytest.fixture(scope="session")
def running_store() -> Iterator[SecretsManager]:
    with secrets_manager() as store:
        yield store


@pytest.fixture
def store(running_store: SecretsManager) -> SecretsManager:
    """An account that holds nothing yet."""
    return running_store.empty_account()
