"""What the index knows of RotatedSecrets without a request to the API server."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from rotated_secrets.api.key import Key
from rotated_secrets.controller.watch.index import Index
from rotated_secrets.values import Arn, VersionId

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
        "spec": {"source": source, "target": target} | ({"follows": True} if changes.get("follows") else {}),
        "status": changes.get("status", {}),
    }


def known(*objects: dict[str, Any]) -> Index:
    index = Index("eu-west-1")
    for each in objects:
        index.observe(each)
    return index


def test_observe_reports_every_change_except_of_the_status() -> None:
    index = known(rotated_secret("a"))
    assert not index.observe(rotated_secret("a"))
    assert not index.observe(rotated_secret("a", status={"engine": "postgres"}))
    assert index.observe(rotated_secret("a", generation=2))
    assert index.observe(rotated_secret("a", generation=2, annotations={"rotatedsecrets.io/rotate": "1"}))
    assert index.observe(rotated_secret("a", generation=2, uid="recreated"))


def too_large(name: str, **changes: Any) -> dict[str, Any]:
    """What the transform leaves of an object that is too large."""
    return {"metadata": rotated_secret(name, **changes)["metadata"]}


def test_resource_that_is_too_large_is_known_and_names_nothing() -> None:
    large, young = Key("shop", "large"), Key("shop", "young")
    index = known(rotated_secret("large", second=1), rotated_secret("young", second=2))
    assert index.oldest_rival(young, ARN) == large
    assert index.observe(too_large("large", second=1))
    assert (index.uid(large), len(index)) == ("uid-large", 2)
    assert index.oldest_rival(young, ARN) is None
    assert index.owners_of(large) == set()
    assert not index.observe(too_large("large", second=1)), "an echo of our own write needs no look"
    assert index.observe(too_large("large", second=1, generation=2))
    assert index.observe(rotated_secret("large", second=1, generation=2)), "it was made smaller"
    assert index.oldest_rival(young, ARN) == large
    index.observe(too_large("large", second=1))
    index.observe(too_large("another", second=1))
    assert index.forget(large) == set()
    assert index.uid(large) is None


def test_secret_is_the_same_by_name_by_region_and_by_arn() -> None:
    index = known(
        rotated_secret("by-name"),
        rotated_secret("by-region", region="eu-west-1"),
        rotated_secret("by-arn", ARN),
        rotated_secret("elsewhere", region="us-east-1"),
        rotated_secret("another", "shop/orders-AbCdEf"),
        rotated_secret("other-account", ARN.replace("123456789012", "210987654321")),
    )
    assert index.naming(ARN) == {Key("shop", name) for name in ("by-name", "by-region", "by-arn")}


def test_oldest_on_a_secret_wins_in_any_namespace() -> None:
    old, young = Key("other", "old"), Key("shop", "young")
    index = known(rotated_secret("young", second=2), rotated_secret("old", ARN, second=1, namespace="other"))
    assert index.oldest_rival(young, ARN) == old
    assert index.oldest_rival(old, ARN) is None


def test_one_that_only_follows_never_keeps_another_from_rotating() -> None:
    index = known(
        rotated_secret("young", second=3),
        rotated_secret("follows", ARN, second=1, namespace="billing", follows=True),
        rotated_secret("follows", ARN, second=2, namespace="reports", follows=True),
    )
    young, first, second = Key("shop", "young"), Key("billing", "follows"), Key("reports", "follows")
    assert index.oldest_rival(young, ARN) is None
    assert index.oldest_rival(first, ARN) == index.oldest_rival(second, ARN) == young
    index.forget(young)
    assert index.oldest_rival(first, ARN) is None
    assert index.oldest_rival(second, ARN) == first, "only one requests rotations of AWS"


def test_spec_says_which_secrets_the_operators_identity_requests() -> None:
    index = known(rotated_secret("own"), rotated_secret("role", ARN, credentials=BY_ROLE))
    assert index.named_by_operator(ARN) == {Key("shop", "own")}


def test_resource_that_is_denied_its_secret_does_not_block_younger_ones() -> None:
    denied, rightful = Key("stranger", "old"), Key("shop", "young")
    stranger = rotated_secret("old")
    stranger["metadata"]["namespace"] = "stranger"
    index = known(stranger, rotated_secret("young", second=9))
    assert index.oldest_rival(rightful, ARN) == denied
    assert index.set_allowed(denied, False) == {rightful}
    assert index.oldest_rival(rightful, ARN) is None
    assert index.set_allowed(denied, False) == set(), "nothing changed, so no other needs a look"
    assert index.set_allowed(denied, True) == {rightful}
    assert index.oldest_rival(rightful, ARN) == denied


def test_resource_that_may_not_use_the_secret_is_no_rival() -> None:
    index = known(rotated_secret("old"), rotated_secret("young", second=9), rotated_secret("youngest", second=10))
    young, youngest = Key("shop", "young"), Key("shop", "youngest")
    assert index.oldest_rival(young, ARN, lambda key: key.name != "old") is None
    assert index.oldest_rival(youngest, ARN, lambda key: key.name != "old") == young


def test_younger_resource_of_a_stranger_has_no_older_one_looked_at() -> None:
    """A namespace could create, have denied and delete one again and again."""
    stranger = rotated_secret("young", second=9)
    stranger["metadata"]["namespace"] = "stranger"
    index, young = known(rotated_secret("old"), stranger), Key("stranger", "young")
    assert index.set_allowed(young, False) == set()
    assert index.set_allowed(young, True) == set()
    assert index.forget(young) == set()


BY_ROLE = {"roleArn": "arn:aws:iam::210987654321:role/orders"}
BY_ACCOUNT = {"serviceAccountName": "orders"}
ELSEWHERE = Arn(ARN.replace("123456789012", "210987654321"))


def test_same_name_in_another_account_is_another_secret() -> None:
    own, role, account = (Key("shop", name) for name in ("own", "role", "account"))
    index = known(
        rotated_secret("role", credentials=BY_ROLE),
        rotated_secret("account", credentials=BY_ACCOUNT, second=1),
        rotated_secret("own", second=2),
    )
    index.record_own_account("123456789012")
    # Which account a ServiceAccount's role is of, its spec does not tell.
    assert index.naming(ARN) == {own}
    assert index.naming(ELSEWHERE) == {role}
    assert index.oldest_rival(own, ARN) is None
    assert index.oldest_rival(account, ELSEWHERE) == role, "it counts for itself"
    index.record_account(account, "210987654321")
    assert index.naming(ARN) == {own}
    assert index.naming(ELSEWHERE) == {role, account}
    index.record_arn(account, ELSEWHERE)
    assert index.oldest_rival(account, ELSEWHERE) == role


def test_resource_whose_account_becomes_known_wakes_younger_ones() -> None:
    account, role = Key("shop", "account"), Key("shop", "role")
    index = known(
        rotated_secret("account", credentials=BY_ACCOUNT), rotated_secret("role", credentials=BY_ROLE, second=1)
    )
    assert index.oldest_rival(role, ELSEWHERE) is None
    index.record_account(account, "210987654321")
    assert index.oldest_rival(role, ELSEWHERE) == account
    assert index.record_arn(account, ELSEWHERE) == {role}
    assert index.record_arn(account, ELSEWHERE) == set(), "once"
    assert index.record_arn(role, ELSEWHERE) == set(), "the older need not look again"


def test_resource_that_becomes_known_late_wakes_younger_ones_on_its_secret() -> None:
    index = known(rotated_secret("young", second=2))
    index.record_arn(Key("shop", "young"), ARN)
    index.observe(rotated_secret("old", ARN, second=1))
    assert index.record_arn(Key("shop", "old"), ARN) == {Key("shop", "young")}


def test_arn_says_the_account_with_any_identity() -> None:
    older, own = Key("shop", "older"), Key("shop", "own")
    for credentials in (BY_ROLE, BY_ACCOUNT):
        index = known(rotated_secret("older", ARN, credentials=credentials), rotated_secret("own", second=1))
        index.record_own_account("123456789012")
        assert index.oldest_rival(own, ARN) == older, "although there was no look at it since the start"
    index = known(rotated_secret("older", ELSEWHERE), rotated_secret("role", credentials=BY_ROLE, second=1))
    index.record_own_account("123456789012")
    assert index.oldest_rival(Key("shop", "role"), ELSEWHERE) == older


def test_names_match_any_account_until_the_operators_own_is_known() -> None:
    index = known(rotated_secret("own"), rotated_secret("role", credentials=BY_ROLE, second=1))
    assert index.oldest_rival(Key("shop", "role"), ELSEWHERE) == Key("shop", "own")
    index.record_own_account("123456789012")
    assert index.oldest_rival(Key("shop", "role"), ELSEWHERE) is None


def test_secret_is_the_same_with_any_identity() -> None:
    index = known(rotated_secret("role", credentials=BY_ROLE), rotated_secret("own", ELSEWHERE, second=1))
    assert index.oldest_rival(Key("shop", "own"), ELSEWHERE) == Key("shop", "role")
    index.record_arn(Key("shop", "role"), ELSEWHERE)
    assert index.oldest_rival(Key("shop", "own"), ELSEWHERE) == Key("shop", "role")


def test_another_identity_may_find_another_secret_by_the_same_name() -> None:
    key = Key("shop", "account")
    index = known(rotated_secret("account", credentials=BY_ACCOUNT))
    index.record_arn(key, ELSEWHERE)
    assert index.naming(ARN) == set()
    index.observe(rotated_secret("account", credentials={"serviceAccountName": "other"}, generation=2))
    assert index.naming(ARN) == set(), "what was found counts until the next look"
    assert index.record_arn(key, ARN) == set()
    assert index.naming(ARN) == {key}


def test_resources_created_in_the_same_second_are_ordered_by_uid() -> None:
    index = known(rotated_secret("a", uid="2"), rotated_secret("b", uid="1"))
    assert index.oldest_rival(Key("shop", "a"), ARN) == Key("shop", "b")
    assert index.oldest_rival(Key("shop", "b"), ARN) is None


def test_forget_returns_the_younger_ones() -> None:
    index = known(rotated_secret("old"), rotated_secret("young", second=1))
    assert index.forget(Key("shop", "old")) == {Key("shop", "young")}
    assert index.oldest_rival(Key("shop", "young"), ARN) is None


def test_late_deletion_event_does_not_remove_a_recreated_object() -> None:
    index = known(rotated_secret("a", uid="new"))
    assert index.forget(Key("shop", "a"), "old") == set()
    assert index.uid(Key("shop", "a")) == "new"


def test_owners_of_a_target_secret_follow_the_spec() -> None:
    index = known(rotated_secret("a"), rotated_secret("b", target="a"), rotated_secret("a", namespace="other"))
    assert index.owners_of(Key("shop", "a")) == {Key("shop", "a"), Key("shop", "b")}
    index.observe(rotated_secret("b", target="moved", generation=2))
    assert index.owners_of(Key("shop", "a")) == {Key("shop", "a")}
    assert index.owners_of(Key("shop", "moved")) == {Key("shop", "b")}


def test_own_write_of_a_target_secret_needs_no_look_until_its_owner_is_gone() -> None:
    key = Key("shop", "a")
    index = known(rotated_secret("a"))
    index.begin_target_write(key)
    assert not index.end_target_write(key, "17")
    assert not index.needs_look(key, "17")
    assert index.needs_look(key, "18")
    index.forget(key)
    assert index.needs_look(key, "17")


@pytest.mark.parametrize(
    ("shown", "written", "looks"),
    [
        ([], "17", False),
        (["17"], "17", False),
        (["16", "17"], "17", True),
        (["17", "18"], "17", True),
        (["16"], None, True),
    ],
)
def test_version_of_a_target_secret_that_is_shown_while_it_is_written_is_compared_at_the_end(
    shown: list[str], written: str | None, looks: bool
) -> None:
    """The watch may be faster than the response."""
    key = Key("shop", "a")
    index = known(rotated_secret("a"))
    index.begin_target_write(key)
    assert [index.needs_look(key, version) for version in shown] == [False] * len(shown)
    assert index.end_target_write(key, written) == looks
    assert index.needs_look(key, "19")


def test_forget_leaves_nothing_behind() -> None:
    index = known(rotated_secret("a"), rotated_secret("b", ARN, target="x"))
    index.record_account(Key("shop", "a"), "123456789012")
    index.record_arn(Key("shop", "a"), ARN)
    index.set_allowed(Key("shop", "a"), allowed=False)
    for name in "ab":
        index.forget(Key("shop", name))
        index.set_allowed(Key("shop", name), allowed=False)
    assert not index._known
    assert not index._arns
    assert not index._accounts
    assert not index._by_secret
    assert not index._by_target
    assert not index._denied


def test_recreated_resource_is_not_denied_like_the_one_before() -> None:
    index, key = known(rotated_secret("a"), rotated_secret("young", second=5)), Key("shop", "a")
    index.set_allowed(key, allowed=False)
    assert index.oldest_rival(Key("shop", "young"), ARN) is None
    index.forget(key)
    index.observe(rotated_secret("a", uid="again"))
    assert index.oldest_rival(Key("shop", "young"), ARN) == key


def test_secret_is_the_same_by_arn_without_suffix() -> None:
    index = known(rotated_secret("old", ARN[:-7]), rotated_secret("young", ARN, second=5))
    assert index.oldest_rival(Key("shop", "young"), ARN) == Key("shop", "old")


def test_account_that_was_recorded_for_another_secret_does_not_count() -> None:
    key, other = Key("shop", "account"), Arn(ELSEWHERE.replace("shop/orders", "shop/other"))
    index = known(rotated_secret("account", credentials=BY_ACCOUNT))
    index.record_account(key, "210987654321")
    assert index.naming(ELSEWHERE) == {key}
    index.observe(rotated_secret("account", "shop/other", credentials=BY_ACCOUNT, generation=2))
    assert index.naming(other) == set()
    index.record_account(key, "210987654321")
    assert index.naming(other) == {key}


def test_arn_of_one_that_was_made_again_for_another_secret_does_not_count() -> None:
    registry, key = known(rotated_secret("a"), rotated_secret("young", second=5)), Key("shop", "a")
    registry.record_arn(key, ARN)
    registry.observe(rotated_secret("a", "shop/other", uid="again"))
    assert registry.oldest_rival(Key("shop", "young"), ARN) is None
    other = Arn(ARN.replace("orders", "other"))
    assert registry.naming(other) == {key}


def test_what_looks_read_waits_for_no_lock() -> None:
    """To go through thousands takes long, and the watch of all namespaces needs the lock for each event."""
    keys = [Key("shop", name) for name in "abc"]
    index = known(*(rotated_secret(key.name, second=number) for number, key in enumerate(keys)))
    for key in keys:
        index.record_arn(key, ARN)
    index.record_current(keys[2], ARN, VersionId("one"))
    read: list[object] = []

    def look() -> None:
        read.append(index.oldest_rival(keys[2], ARN))
        read.append(index.record_current(keys[2], ARN, VersionId("one")))
        read.append(index.named_by_operator(ARN))

    thread = threading.Thread(target=look)
    with index._lock:
        thread.start()
        thread.join(20)
        assert read == [keys[0], set(), set(keys)]
