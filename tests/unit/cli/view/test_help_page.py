"""Commands name the section of the documents about what is wrong."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from rotated_secrets.api.names import TROUBLESHOOTING
from rotated_secrets.api.status import ConditionType, Reason
from rotated_secrets.cli import main
from rotated_secrets.cli.view.help_page import HELP, help_about
from tests.support.cli.resource_builders import Conditions, object_of, status_of, view_of, with_condition
from tests.support.cli.scripted_api import Answer, ScriptedApi, list_of, refusal
from tests.support.documents import ROOT, anchors

READY, SYNCED = ConditionType.READY, ConditionType.SYNCED
ROTATED, HELD = ConditionType.ROTATED, ConditionType.HELD
WRONG: list[tuple[Conditions, str]] = [
    ({READY: (False, Reason.LOGIN_FAILED, "")}, "loginfailed"),
    ({READY: (None, Reason.STORE_UNAVAILABLE, "")}, "storeunavailable"),
    ({READY: (False, Reason.SYNC_FAILED, ""), SYNCED: (False, Reason.NOT_OURS, "")}, "notours"),
    ({READY: (False, Reason.SYNC_FAILED, ""), SYNCED: (None, Reason.STORE_UNAVAILABLE, "")}, "syncfailed"),
    ({READY: (False, Reason.ACCESS_DENIED, ""), HELD: (True, Reason.SUSPENDED, "")}, "accessdenied"),
    ({HELD: (True, Reason.UNSYNCED, "")}, "unsynced"),
    ({HELD: (True, Reason.UNSYNCED, ""), ROTATED: (False, Reason.ROLLED_BACK, "")}, "unsynced"),
    ({ROTATED: (False, Reason.ROLLED_BACK, "")}, "rolledback"),
    ({HELD: (True, Reason.SUSPENDED, ""), ROTATED: (False, Reason.ROLLED_BACK, "")}, "rolledback"),
]
FINE: list[Conditions] = [
    {},
    {ROTATED: (None, Reason.ROTATING, "")},
    {ROTATED: (None, Reason.NEVER_ROTATED, "")},
    {HELD: (True, Reason.SUSPENDED, "")},
]
runner = CliRunner()


@pytest.mark.parametrize(("conditions", "anchor"), WRONG)
def test_what_is_wrong_leads_to_its_section(conditions: Conditions, anchor: str) -> None:
    assert help_about(view_of(status_of(conditions))) == f"{HELP}#{anchor}"
    assert HELP.endswith(TROUBLESHOOTING)
    assert anchor in anchors(ROOT / TROUBLESHOOTING)


@pytest.mark.parametrize("conditions", FINE)
def test_where_nothing_is_wrong_there_is_no_line(conditions: Conditions) -> None:
    assert help_about(view_of(status_of(conditions))) == ""
    assert help_about(view_of()) == ""


def test_a_word_that_is_no_name_leads_to_the_page() -> None:
    resource = view_of(status_of({READY: (False, Reason.LOGIN_FAILED, "")}))
    for word in ("", "Not a name", "\x1b[2J", "A" * 65):
        assert help_about(with_condition(resource, READY, reason=word)) == HELP


def test_describe_names_the_section_of_each_resource(api: ScriptedApi) -> None:
    wrong = status_of({READY: (False, Reason.LOGIN_FAILED, "x")})
    api.answers += [Answer(body=object_of(wrong, name="a")), Answer(body=object_of(status_of(), name="b"))]
    output = runner.invoke(main.app, ["describe", "a", "b"]).stdout
    assert output.count(TROUBLESHOOTING) == 1
    assert f"\n\n{HELP}#loginfailed\n\nshop/b" in output


def test_list_names_the_page_once_beside_its_table(api: ScriptedApi) -> None:
    wrong = status_of({READY: (False, Reason.LOGIN_FAILED, "x")})
    api.answers += [list_of(object_of(wrong, name="a"), object_of(wrong, name="b")), list_of(object_of(status_of()))]
    result = runner.invoke(main.app, ["list"])
    assert result.stderr == f"{HELP}\n"
    assert TROUBLESHOOTING not in result.stdout
    assert runner.invoke(main.app, ["list"]).stderr == ""


def test_a_request_that_did_not_succeed_names_the_page(api: ScriptedApi) -> None:
    api.answers += [Answer(body=object_of(status_of(), name="a")), refusal(403)]
    result = runner.invoke(main.app, ["rotate", "a"])
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == HELP
