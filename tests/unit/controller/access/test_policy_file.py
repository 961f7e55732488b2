"""The file of the access policy: what is refused, and what happens when it changes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from rotated_secrets.controller.access.policy import AccessPolicy, AccessRule
from rotated_secrets.controller.access.policy_file import AccessPolicyFile, InvalidPolicy, parse_policy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "write one key, rules"),
        ("rules: [", "it is not YAML"),
        ("[]", "write one key, rules"),
        ("rules: {}", "write one key, rules"),
        ("rules: []\nmore: 1", "write one key, rules"),
        ("rules: [a]", "rules[0]: write a rule with the keys namespaces"),
        ("rules: [{namespaces: [a], secret: [b]}]", "rules[0]: there is no key secret"),
        ("rules: [{secrets: [a]}]", "rules[0].namespaces: name the namespaces"),
        ("rules: [{namespaces: [a]}]", "rules[0]: write secrets, or adminSecrets, or both"),
        ("rules: [{namespaces: a, secrets: [b]}]", "rules[0].namespaces: write a list of strings"),
        ("rules: [{namespaces: [a], secrets: [{namespace}/*]}]", "it is not YAML"),
        ("rules: [{namespaces: [a], secrets: [b], accounts: [123456789012]}]", "quote numbers"),
        ('rules: [{namespaces: [a], secrets: [b], accounts: ["1"]}]', "twelve digits in quotes"),
        ("rules: [{namespaces: [a], secrets: [b], regions: [Ireland]}]", "write a region, such as eu-west-1"),
        ("rules: [{namespaces: [A], secrets: [b]}]", "rules[0].namespaces: 'A' is not valid"),
        ('rules: [{namespaces: [a], secrets: ["{name}/*"]}]', "rules[0].secrets: '{name}/*' is not a pattern"),
        ('rules: [{namespaces: [a], secrets: ["[a]"]}]', "is not a pattern"),
        ('rules: [{namespaces: ["*"], secrets: ["{namespace}*"]}]', "put a / between {namespace} and *"),
        ('rules: [{namespaces: ["*"], secrets: ["{namespace}-*"]}]', "put a / between {namespace} and *"),
        ('rules: [{namespaces: ["*"], adminSecrets: ["x/*{namespace}/y"]}]', "put a / between {namespace} and *"),
    ],
)
def test_invalid_policy_error_says_where_and_what_to_write(text: str, message: str) -> None:
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(text)
    assert message in str(caught.value)


def test_a_policy_is_read_as_written() -> None:
    text = """
    rules:
    - namespaces: [shop, team-*]
      secrets: ["{namespace}/*"]
      adminSecrets: [rds!cluster-*]
      accounts: ["123456789012"]
      regions: [eu-west-1]
    """
    rule = AccessRule(("shop", "team-*"), ("{namespace}/*",), ("rds!cluster-*",), ("123456789012",), ("eu-west-1",))
    assert parse_policy(text) == AccessPolicy((rule,))


def test_without_a_file_the_default_is_in_force() -> None:
    assert AccessPolicyFile(None).current() == AccessPolicy.default()


def test_a_bad_file_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidPolicy, match="FileNotFoundError"):
        AccessPolicyFile(tmp_path / "none.yaml")
    path = tmp_path / "policy.yaml"
    path.write_text("rules: 1")
    with pytest.raises(InvalidPolicy, match=r"policy\.yaml: write one key"):
        AccessPolicyFile(path)


ONE, OTHER = "rules: [{namespaces: [a], secrets: [one]}]", "rules: [{namespaces: [a], secrets: [two]}]"


def test_valid_change_is_in_force_at_once_and_an_invalid_one_never(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(ONE)
    policy = AccessPolicyFile(path)
    assert policy.current() == parse_policy(ONE)
    path.write_text(OTHER)
    assert policy.current() == parse_policy(OTHER)
    with caplog.at_level(logging.ERROR):
        path.write_text("rules: 1")
        assert policy.current() == parse_policy(OTHER)
        assert policy.current() == parse_policy(OTHER)
    assert [record.levelname for record in caplog.records] == ["ERROR"], "said once"
    assert policy.problem is not None
    assert not policy.is_current()
    assert "the previous policy stays in force" in caplog.text
    path.unlink()
    assert policy.current() == parse_policy(OTHER)
    assert policy.problem is not None
    assert "FileNotFoundError" in policy.problem
    path.write_text(OTHER)
    assert policy.current() == parse_policy(OTHER)
    assert policy.problem is None
    assert policy.is_current()


def test_is_current_reads_the_file_without_a_call_of_current(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(ONE)
    policy = AccessPolicyFile(path)
    assert policy.is_current()
    path.write_text("rules: 1")
    assert not policy.is_current()
    assert AccessPolicyFile(None).is_current()


def test_a_mounted_config_map_is_followed(tmp_path: Path) -> None:
    """The kubelet swaps a symbolic link to a directory; the path itself never changes."""
    for name, text in (("1", ONE), ("2", OTHER)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.yaml").write_text(text)
    (tmp_path / "data").symlink_to("1")
    policy = AccessPolicyFile(tmp_path / "data" / "policy.yaml")
    (tmp_path / "swap").symlink_to("2")
    (tmp_path / "swap").rename(tmp_path / "data")
    assert policy.current() == parse_policy(OTHER)
