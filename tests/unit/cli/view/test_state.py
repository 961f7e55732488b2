"""The state is the most important thing to know about a resource."""

from __future__ import annotations

import pytest

from rotated_secrets.api.status import ConditionType, Reason, Step
from rotated_secrets.cli.view.state import state_of
from tests.support.cli.resource_builders import Conditions, claim_of, status_of, view_of

READY, ROTATED, HELD = ConditionType.READY, ConditionType.ROTATED, ConditionType.HELD


@pytest.mark.parametrize(
    ("conditions", "status", "rotation", "output"),
    [
        ({READY: (False, Reason.ACCESS_DENIED, "no")}, {}, {}, "AccessDenied"),
        ({READY: (False, Reason.LOGIN_FAILED, "no")}, {}, {}, "LoginFailed"),
        ({HELD: (True, Reason.SUSPENDED, "held")}, {}, {"suspend": True}, "Suspended"),
        ({HELD: (True, Reason.UNSYNCED, "held")}, {"rotation": claim_of()}, {}, "held: Unsynced"),
        (
            {ROTATED: (False, Reason.CREATE_FAILED, "no"), HELD: (True, Reason.SUSPENDED, "held")},
            {"rotation": claim_of(attempt=2, step=Step.CREATE, version_id=None)},
            {"suspend": True},
            "CreateFailed, Suspended",
        ),
        (
            {ROTATED: (False, Reason.ROLLED_BACK, ""), HELD: (True, Reason.UNSYNCED, "")},
            {},
            {},
            "RolledBack, held: Unsynced",
        ),
        ({}, {}, {"suspend": True}, "Suspended"),
        ({ROTATED: (None, Reason.ROTATING, "")}, {"rotation": claim_of()}, {}, "SetSecret"),
        ({ROTATED: (None, Reason.ROTATING, "")}, {"rotation": claim_of(attempt=2)}, {}, "SetSecret (2/3)"),
        (
            {ROTATED: (False, Reason.SET_FAILED, "again")},
            {"rotation": claim_of()},
            {},
            "SetFailed, retries",
        ),
        (
            {ROTATED: (False, Reason.ROLLED_BACK, "")},
            {"rotation": claim_of(attempt=2, step=Step.CREATE, version_id=None)},
            {},
            "retries (2/3)",
        ),
        ({ROTATED: (False, Reason.ROLLED_BACK, "")}, {}, {}, "RolledBack"),
        ({ROTATED: (None, Reason.NEVER_ROTATED, "")}, {}, {}, ""),
        ({}, {}, {}, ""),
    ],
)
def test_the_state_is_the_most_important_thing_to_know(
    conditions: Conditions, status: dict[str, object], rotation: dict[str, object], output: str
) -> None:
    assert state_of(view_of(status_of(conditions, **status), **rotation))[0] == output
