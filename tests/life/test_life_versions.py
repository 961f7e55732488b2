"""The servers are what they are named: what is tried on another version, or in another language, is tried there."""

from __future__ import annotations

import pytest

from sandbox.applications.base import Account, LoginFailed
from sandbox.applications.versions import Version
from tests.life.conftest import PlaceFor, for_engine
from tests.support.life import DATABASE

REJECTED_IN_GERMAN = {"postgres": "fehlgeschlagen", "mysql": "Zugriffsberechtigung", "mariadb": "Zugriffsberechtigung"}
"""A word of what a server says to a wrong password."""


@for_engine(*REJECTED_IN_GERMAN)
def test_server_rejects_a_login_in_the_language_that_it_was_started_with(
    engine: str, version: Version, place_for: PlaceFor
) -> None:
    with pytest.raises(LoginFailed) as rejected:
        place_for(engine).side.log_in(Account("owner", "wrong", DATABASE))
    assert (REJECTED_IN_GERMAN[engine] in str(rejected.value)) is (version.language is not None)
