"""What can be asked about RotatedSecrets without asking the API server."""

from __future__ import annotations

from typing import Any

from rotated_secrets.api.key import Key
from rotated_secrets.controller.watch.index import Index
from rotated_secrets.values import Arn

ARN = Arn("arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/orders-AbCdEf")


def rotated_secret(name: str, secret_id: str = "shop/orders", *, second: int = 0, **changes: Any) -> dict[str, Any]:
    source = {"secretId": secret_id} | {key: changes[key] for key in ("region", "credentials") if key in changes}
    target = {"secretName": changes["target"]} if "target" in changes else {}
    return {
        "metadata": {
            "namespace": changes.get("namespace", "shop"),
            "name": name,
            "uid": changes.get("uid", f"uid-{name}"),
            "creationTimestamp": f"2026-11-22T00:00:{second:02}Z",
            "generation": changes.get("generation", 1),
            "annotations": changes.get("annotations", {}),
        },
        "spec": {"source": source, "target": target},
        "status": changes.get("status", {}),
    }


def known(*objects: dict[str, Any]) -> Index:
    registry = Index("eu-west-1")
    for each in objects:
        registry.observe(each)
    return registry


def test_only_what_a_person_changes_is_news() -> None:
    registry = known(rotated_secret("a"))
    assert not registry.observe(rotated_secret("a"))
    assert not registry.observe(rotated_secret("a", status={"engine": "postgres"}))
    assert registry.observe(rotated_secret("a", generation=2))
    assert registry.observe(rotated_secret("a", generation=2, annotations={"rotatedsecrets.io/rotate": "1"}))
    assert registry.observe(rotated_secret("a", generation=2, uid="recreated"))


def test_a_secret_is_the_same_by_name_by_region_and_by_arn() -> None:
    registry = known(
        rotated_secret("by-name"),
        rotated_secret("by-region", region="eu-west-1"),
        rotated_secret("by-arn", ARN),
        rotated_secret("elsewhere", region="us-east-1"),
        rotated_secret("another", "shop/orders-AbCdEf"),
        rotated_secret("other-account", ARN.replace("123456789012", "210987654321")),
    )
    assert registry.naming(ARN) == {Key("shop", name) for name in ("by-name", "by-region", "by-arn")}


def test_the_older_of_two_on_one_secret_wins_whatever_namespace_it_is_in() -> None:
    old, young = Key("other", "old"), Key("shop", "young")
    registry = known(rotated_secret("young", second=2), rotated_secret("old", ARN, second=1, namespace="other"))
    assert registry.older(young, ARN) == old
    assert registry.older(old, ARN) is None


def test_whom_the_operator_asks_for_as_itself_is_told_by_the_spec() -> None:
    registry = known(rotated_secret("own"), rotated_secret("role", ARN, credentials=BY_ROLE))
    assert registry.operators(ARN) == {Key("shop", "own")}


def test_one_that_may_not_have_the_secret_keeps_nobody_from_it() -> None:
    denied, rightful = Key("stranger", "old"), Key("shop", "young")
    stranger = rotated_secret("old")
    stranger["metadata"]["namespace"] = "stranger"
    registry = known(stranger, rotated_secret("young", second=9))
    assert registry.older(rightful, ARN) == denied
    assert registry.set_allowed(denied, False) == {rightful}
    assert registry.older(rightful, ARN) is None
    assert registry.set_allowed(denied, False) == set(), "nothing has changed, and nobody need look again"
    assert registry.set_allowed(denied, True) == {rightful}
    assert registry.older(rightful, ARN) == denied


BY_ROLE = {"roleArn": "arn:aws:iam::210987654321:role/orders"}
BY_ACCOUNT = {"serviceAccountName": "orders"}
ELSEWHERE = Arn(ARN.replace("123456789012", "210987654321"))


def test_one_name_is_another_secret_where_another_account_is_asked() -> None:
    own, role, account = (Key("shop", name) for name in ("own", "role", "account"))
    registry = known(
        rotated_secret("role", credentials=BY_ROLE),
        rotated_secret("account", credentials=BY_ACCOUNT, second=1),
        rotated_secret("own", second=2),
    )
    registry.at_home("123456789012")
    # Which account a ServiceAccount's role is of, its spec does not tell.
    assert registry.naming(ARN) == {own}
    assert registry.naming(ELSEWHERE) == {role}
    assert registry.older(own, ARN) is None
    assert registry.older(account, ELSEWHERE) == role, "it counts for itself"
    registry.asked_in(account, "210987654321")
    assert registry.naming(ARN) == {own}
    assert registry.naming(ELSEWHERE) == {role, account}
    registry.found(account, ELSEWHERE)
    assert registry.older(account, ELSEWHERE) == role


def test_one_whose_account_becomes_known_wakes_the_younger_that_did_not_count_it() -> None:
    account, role = Key("shop", "account"), Key("shop", "role")
    registry = known(
        rotated_secret("account", credentials=BY_ACCOUNT), rotated_secret("role", credentials=BY_ROLE, second=1)
    )
    assert registry.older(role, ELSEWHERE) is None
    registry.asked_in(account, "210987654321")
    assert registry.older(role, ELSEWHERE) == account
    assert registry.found(account, ELSEWHERE) == {role}
    assert registry.found(account, ELSEWHERE) == set(), "once"
    assert registry.found(role, ELSEWHERE) == set(), "the older need not look again"


def test_one_that_becomes_known_late_wakes_the_younger_on_its_secret() -> None:
    registry = known(rotated_secret("young", second=2))
    registry.found(Key("shop", "young"), ARN)
    registry.observe(rotated_secret("old", ARN, second=1))
    assert registry.found(Key("shop", "old"), ARN) == {Key("shop", "young")}


def test_an_arn_tells_the_account_whoever_asks() -> None:
    older, own = Key("shop", "older"), Key("shop", "own")
    for credentials in (BY_ROLE, BY_ACCOUNT):
        registry = known(rotated_secret("older", ARN, credentials=credentials), rotated_secret("own", second=1))
        registry.at_home("123456789012")
        assert registry.older(own, ARN) == older, "though nobody has looked at it since the start"
    registry = known(rotated_secret("older", ELSEWHERE), rotated_secret("role", credentials=BY_ROLE, second=1))
    registry.at_home("123456789012")
    assert registry.older(Key("shop", "role"), ELSEWHERE) == older


def test_where_the_operator_is_at_home_is_not_known_at_once() -> None:
    registry = known(rotated_secret("own"), rotated_secret("role", credentials=BY_ROLE, second=1))
    assert registry.older(Key("shop", "role"), ELSEWHERE) == Key("shop", "own")
    registry.at_home("123456789012")
    assert registry.older(Key("shop", "role"), ELSEWHERE) is None


def test_one_secret_is_the_same_whoever_asks_for_it() -> None:
    registry = known(rotated_secret("role", credentials=BY_ROLE), rotated_secret("own", ELSEWHERE, second=1))
    assert registry.older(Key("shop", "own"), ELSEWHERE) == Key("shop", "role")
    registry.found(Key("shop", "role"), ELSEWHERE)
    assert registry.older(Key("shop", "own"), ELSEWHERE) == Key("shop", "role")


def test_whoever_is_asked_now_may_find_another_secret_by_the_same_name() -> None:
    key = Key("shop", "account")
    registry = known(rotated_secret("account", credentials=BY_ACCOUNT))
    registry.found(key, ELSEWHERE)
    assert registry.naming(ARN) == set()
    registry.observe(rotated_secret("account", credentials={"serviceAccountName": "other"}, generation=2))
    assert registry.naming(ARN) == set(), "what was found counts until the next look"
    assert registry.found(key, ARN) == set()
    assert registry.naming(ARN) == {key}


def test_two_of_one_second_are_told_apart_by_their_uid() -> None:
    registry = known(rotated_secret("a", uid="2"), rotated_secret("b", uid="1"))
    assert registry.older(Key("shop", "a"), ARN) == Key("shop", "b")
    assert registry.older(Key("shop", "b"), ARN) is None


def test_when_the_older_goes_the_younger_is_named() -> None:
    registry = known(rotated_secret("old"), rotated_secret("young", second=1))
    assert registry.forget(Key("shop", "old")) == {Key("shop", "young")}
    assert registry.older(Key("shop", "young"), ARN) is None


def test_a_late_word_of_a_deletion_does_not_forget_what_was_made_since() -> None:
    registry = known(rotated_secret("a", uid="new"))
    assert registry.forget(Key("shop", "a"), "old") == set()
    assert registry.uid(Key("shop", "a")) == "new"


def test_owners_of_a_target_secret_follow_the_spec() -> None:
    registry = known(rotated_secret("a"), rotated_secret("b", target="a"), rotated_secret("a", namespace="other"))
    assert registry.owners_of(Key("shop", "a")) == {Key("shop", "a"), Key("shop", "b")}
    registry.observe(rotated_secret("b", target="moved", generation=2))
    assert registry.owners_of(Key("shop", "a")) == {Key("shop", "a")}
    assert registry.owners_of(Key("shop", "moved")) == {Key("shop", "b")}


def test_our_own_write_of_a_target_secret_is_known_until_its_owner_goes() -> None:
    key = Key("shop", "a")
    registry = known(rotated_secret("a"))
    registry.wrote_target(key, "17")
    assert registry.is_own_write(key, "17")
    assert not registry.is_own_write(key, "18")
    registry.forget(key)
    assert not registry.is_own_write(key, "17")


def test_nothing_is_left_of_what_was_forgotten() -> None:
    registry = known(rotated_secret("a"), rotated_secret("b", ARN, target="x"))
    registry.asked_in(Key("shop", "a"), "123456789012")
    registry.found(Key("shop", "a"), ARN)
    registry.set_allowed(Key("shop", "a"), allowed=False)
    for name in "ab":
        registry.forget(Key("shop", name))
        registry.set_allowed(Key("shop", name), allowed=False)
    assert not registry._known
    assert not registry._found
    assert not registry._told
    assert not registry._by_secret
    assert not registry._by_target
    assert not registry._denied


def test_one_made_again_under_the_name_of_one_that_was_denied_is_not_denied() -> None:
    registry, key = known(rotated_secret("a"), rotated_secret("young", second=5)), Key("shop", "a")
    registry.set_allowed(key, allowed=False)
    assert registry.older(Key("shop", "young"), ARN) is None
    registry.forget(key)
    registry.observe(rotated_secret("a", uid="again"))
    assert registry.older(Key("shop", "young"), ARN) == key


def test_a_secret_is_the_same_by_an_arn_without_its_suffix() -> None:
    registry = known(rotated_secret("old", ARN[:-7]), rotated_secret("young", ARN, second=5))
    assert registry.older(Key("shop", "young"), ARN) == Key("shop", "old")
