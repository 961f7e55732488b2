"""An account of Secrets Manager for each test."""

from __future__ import annotations

import pytest

from sandbox.secretsmanager import SecretsManager


@pytest.fixture
def store(running_store: SecretsManager) -> SecretsManager:
    """An account that holds nothing yet."""
    return running_store.empty_account()
