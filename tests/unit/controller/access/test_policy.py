"""What the access policy allows, and known ways to get around it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.controller.access.policy import AccessPolicy, AccessRule, Home, PolicyDenied, Request, Use
from rotated_secrets.controller.access.policy_file import parse_policy
from rotated_secrets.values import Arn, SecretId

HOME = Home("123456789012", "eu-west-1")
DEFAULT = AccessPolicy.default()


def _arn(name: str, *, account: str = HOME.account, region: str = HOME.region, suffix: str = "-AbCdEf") -> Arn:
    return Arn(f"arn:aws:secretsmanager:{region}:{account}:secret:{name}{suffix}")


def _request(
    asked: str, *, namespace: str = "shop", use: Use = Use.SOURCE, region: str = HOME.region, only_rotated: bool = False
) -> Request:
    return Request(namespace, use, SecretId(asked), region, is_only_rotated=only_rotated)


def _allows(policy: AccessPolicy, request: Request, arn: Arn | None = None) -> bool:
    """Whether both checks allow a request; ``arn`` is what AWS returns for it."""
    try:
        policy.check_asked(request, HOME)
        policy.check_returned(request, arn or _arn(request.secret_id), HOME)
    except PolicyDenied:
        return False
    return True


def _message(policy: AccessPolicy, request: Request) -> str:
    with pytest.raises(PolicyDenied) as caught:
        policy.check_asked(request, HOME)
    return str(caught.value)


def test_namespace_may_use_names_that_begin_with_its_own() -> None:
    assert _allows(DEFAULT, _request("shop/orders"))
    assert _allows(DEFAULT, _request("shop/a/b/orders"))
    assert _allows(DEFAULT, _request(_arn("shop/orders")), _arn("shop/orders"))
    assert _allows(DEFAULT, _request("shop/admin/orders", use=Use.ADMIN))


@pytest.mark.parametrize(
    "name", ["orders", "shop", "shop-admin/orders", "shopping/orders", "other/orders", "a/shop/orders", "Shop/orders"]
)
def test_namespace_may_use_no_other_name(name: str) -> None:
    assert not _allows(DEFAULT, _request(name))
    assert not _allows(DEFAULT, _request(_arn(name)), _arn(name))


def test_name_is_denied_before_aws_is_called() -> None:
    for asked in ("other/orders", _arn("other/orders"), _arn("other/orders", suffix="")):
        with pytest.raises(PolicyDenied):
            DEFAULT.check_asked(_request(asked), HOME)


def test_arn_of_another_account_or_region_is_denied() -> None:
    for place in ({"account": "210987654321"}, {"region": "us-east-1"}):
        arn = _arn("shop/orders", **place)
        assert not _allows(DEFAULT, _request(arn), arn)


def test_another_region_in_the_spec_is_denied() -> None:
    request = _request("shop/orders", region="us-east-1")
    assert not _allows(DEFAULT, request, _arn("shop/orders", region="us-east-1"))


@pytest.mark.parametrize("returned", ["other/orders", "shop/admin/orders"])
def test_policy_checks_the_arn_that_aws_returned(returned: str) -> None:
    with pytest.raises(PolicyDenied):
        DEFAULT.check_returned(_request("shop/orders"), _arn(returned), HOME)


def test_partial_arn_is_checked_by_the_secret_that_aws_finds() -> None:
    """AWS may take the end of a name for the six characters, or the other way round."""
    policy = parse_policy('rules: [{namespaces: [shop], secrets: ["shared/db-master"]}]')
    partial = _request(_arn("shared/db-master", suffix=""))
    assert _allows(policy, partial, _arn("shared/db-master"))
    assert not _allows(policy, partial, _arn("shared/db"))
    assert not _allows(policy, _request(_arn("shared/db-master-AbCdEf")), _arn("shared/db-master-AbCdEf"))


@pytest.mark.parametrize("arn", ["", "shop/orders", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/orders"])
def test_returned_text_that_is_not_a_full_arn_is_denied(arn: str) -> None:
    with pytest.raises(PolicyDenied):
        DEFAULT.check_returned(_request("shop/orders"), Arn(arn), HOME)


def test_admin_secret_is_not_delivered_to_pods() -> None:
    assert not _allows(DEFAULT, _request("shop/admin/orders"))
    assert "target.creationPolicy: None" in _message(DEFAULT, _request("shop/admin/orders"))
    assert _allows(DEFAULT, _request("shop/admin/orders", only_rotated=True))
    assert not _allows(DEFAULT, _request("other/admin/orders", only_rotated=True))


def test_admin_secret_is_not_delivered_in_another_namespace_whose_rule_matches_it() -> None:
    policy = parse_policy(
        'rules: [{namespaces: ["*"], secrets: ["{namespace}/*"], adminSecrets: ["{namespace}/admin/*"]},'
        ' {namespaces: [shop], secrets: ["platform/*"]}]'
    )
    assert _allows(policy, _request("platform/orders"))
    assert not _allows(policy, _request("platform/admin/orders"))
    assert not _allows(policy, _request("platform/admin/orders", use=Use.ADMIN))


def test_secret_that_is_not_an_admin_secret_cannot_be_used_as_one() -> None:
    assert not _allows(DEFAULT, _request("shop/orders", use=Use.ADMIN))


def test_masterarn_in_a_value_is_checked_like_admin_secret_id() -> None:
    resource = _resource()
    request = Request.admin(resource, SecretId(_arn("other/admin/orders")), HOME)
    assert not _allows(DEFAULT, request, _arn("other/admin/orders"))
    assert _allows(DEFAULT, Request.admin(resource, SecretId("shop/admin/a"), HOME))


@pytest.mark.parametrize(
    "asked", ["", "a b", "shop/admin/a\n", "pässword", "arn:aws:iam::123456789012:role/x", "x" * 513]
)
def test_masterarn_that_names_no_secret_is_denied_and_not_quoted(asked: str) -> None:
    message = _message(DEFAULT, _request(asked, use=Use.ADMIN))
    assert not asked or asked not in message


def test_secrets_that_aws_services_own_need_an_explicit_rule() -> None:
    everything = parse_policy('rules: [{namespaces: ["*"], secrets: ["*"], adminSecrets: ["*"]}]')
    assert not _allows(everything, _request("rds!db-1", use=Use.ADMIN))
    assert not _allows(everything, _request("rds!db-1", only_rotated=True))
    explicit = parse_policy('rules: [{namespaces: [shop], adminSecrets: ["rds!cluster-*"]}]')
    assert _allows(explicit, _request("rds!cluster-1", use=Use.ADMIN))
    assert not _allows(explicit, _request("rds!db-1", use=Use.ADMIN))
    assert not _allows(explicit, _request("rds!cluster-1", use=Use.ADMIN, namespace="other"))


def test_rules_can_open_accounts_and_regions() -> None:
    policy = parse_policy(
        'rules: [{namespaces: ["team-*"], secrets: ["{namespace}/*"],'
        ' accounts: ["210987654321"], regions: [us-east-1]}]'
    )
    there = _arn("team-a/x", account="210987654321", region="us-east-1")
    assert _allows(policy, _request(there, namespace="team-a"), there)
    assert not _allows(policy, _request(there, namespace="team-b"), there)
    assert not _allows(policy, _request("team-a/x", namespace="team-a")), "its own account is no longer meant"


@pytest.mark.parametrize(
    ("request_", "arn"),
    [
        (_request("other/orders"), _arn("other/orders")),
        (_request("rds!db-1", use=Use.ADMIN), _arn("rds!db-1")),
        (_request(_arn("x/y", account="210987654321")), _arn("x/y", account="210987654321")),
        (_request("shop/orders", region="us-east-1"), _arn("shop/orders", region="us-east-1")),
        (_request("shop/orders", use=Use.ADMIN), _arn("shop/orders")),
    ],
)
def test_denial_contains_the_rule_that_would_allow_it(request_: Request, arn: Arn) -> None:
    message = _message(DEFAULT, request_)
    written = yaml.safe_load(message[message.index("- {") :])
    opened = AccessPolicy((*DEFAULT.rules, *parse_policy(yaml.safe_dump({"rules": written})).rules))
    assert _allows(opened, request_, arn)
    assert not _allows(
        opened, _request(request_.secret_id, namespace="third", use=request_.use, region=request_.region), arn
    )


def _resource(**spec: Any) -> RotatedSecret:
    metadata = {
        "namespace": "shop",
        "name": "x",
        "uid": "u",
        "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    whole = {"source": {"secretId": "shop/admin/a"}, "rotation": {"strategy": "SingleUser"}, **spec}
    return RotatedSecret.parse({"metadata": metadata, "spec": whole})


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ({"target": {"creationPolicy": "None"}}, True),
        ({}, False),
        ({"target": {"creationPolicy": "Merge", "deletionPolicy": "Retain"}}, False),
        ({"target": {"creationPolicy": "None"}, "rotation": {"strategy": "External"}}, True),
        ({"rotation": {"strategy": "External"}}, False),
        (
            {
                "target": {"creationPolicy": "None"},
                "rotation": {"strategy": "SingleUser", "verifyQueries": ["SELECT 1 FROM another_tenants_table"]},
            },
            False,
        ),
        (
            {
                "target": {"creationPolicy": "None"},
                "database": {"webhook": {"url": "https://hooks.example.com", "authSecretName": "auth"}},
            },
            False,
        ),
        ({"target": {"creationPolicy": "None"}, "rotation": {"strategy": "AlternatingUsers"}}, False),
        ({"target": {"creationPolicy": "None"}, "rotation": {"strategy": "RandomValue"}}, False),
    ],
)
def test_admin_secret_may_only_be_a_source_without_clone_delivery_queries_or_webhook(
    spec: dict[str, Any], allowed: bool
) -> None:
    assert _allows(DEFAULT, Request.source(_resource(**spec), HOME)) is allowed


def test_request_is_for_the_region_in_the_spec() -> None:
    spec = {"source": {"secretId": "shop/a", "region": "us-east-1"}}
    assert Request.source(_resource(**spec), HOME).region == "us-east-1"
    assert Request.admin(_resource(**spec), SecretId("a"), HOME).region == "us-east-1"
    assert Request.source(_resource(), HOME).region == "eu-west-1"


@pytest.mark.parametrize(
    ("partition", "region"),
    [
        ("aws-us-gov", "us-gov-west-1"),
        ("aws-cn", "cn-northwest-1"),
        ("aws-eusc", "eusc-de-east-1"),
        ("aws-iso", "us-iso-east-1"),
        ("aws-iso-b", "us-isob-east-1"),
        ("aws-iso-e", "eu-isoe-west-1"),
        ("aws-iso-f", "us-isof-south-1"),
    ],
)
def test_secret_of_every_partition_is_allowed_by_the_same_rule(partition: str, region: str) -> None:
    home = Home(HOME.account, region)
    arn = Arn(f"arn:{partition}:secretsmanager:{region}:{HOME.account}:secret:shop/orders-AbCdEf")
    for asked in ("shop/orders", arn):
        request = _request(asked, region=region)
        DEFAULT.check_asked(request, home)
        DEFAULT.check_returned(request, arn, home)
    with pytest.raises(PolicyDenied):
        DEFAULT.check_returned(_request("shop/orders", region=region), Arn(arn.replace("shop/", "team/")), home)


@pytest.mark.parametrize("written", ["us-east-1", "us-east-1-fips", "fips-us-east-1"])
def test_rule_that_names_a_region_as_for_fips_endpoints_is_for_that_region(written: str) -> None:
    policy = parse_policy(f'rules: [{{namespaces: ["*"], secrets: ["{{namespace}}/*"], regions: [{written}]}}]')
    request = _request("shop/orders", region="us-east-1")
    policy.check_asked(request, HOME)
    policy.check_returned(request, _arn("shop/orders", region="us-east-1"), HOME)


_LABELS = st.from_regex(re.compile("[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?"), fullmatch=True)
_NAMES = st.from_regex(re.compile("[a-z0-9/_+=.@!-]{1,20}"), fullmatch=True)


@given(_LABELS, _LABELS, _NAMES)
def test_default_policy_keeps_namespaces_apart(mine: str, theirs: str, rest: str) -> None:
    assume(mine != theirs)
    name = f"{theirs}/{rest}"
    for use in Use:
        for only_rotated in (True, False):
            request = _request(name, namespace=mine, use=use, only_rotated=only_rotated)
            assert not _allows(DEFAULT, request)
            by_arn = _request(_arn(name), namespace=mine, use=use, only_rotated=only_rotated)
            assert not _allows(DEFAULT, by_arn, _arn(name))


@given(_NAMES, st.sampled_from(["shop/*", "*", "{namespace}/*", "a*b", "rds!*", "shop/a.b"]))
def test_check_before_the_call_never_denies_what_the_check_after_it_allows(name: str, pattern: str) -> None:
    policy = AccessPolicy((AccessRule(("*",), (pattern,)),))
    arn = _arn(name)
    try:
        policy.check_returned(_request(name), arn, HOME)
    except PolicyDenied:
        return
    for asked in (name, arn, _arn(name, suffix="")):
        policy.check_asked(_request(asked), HOME)


def test_secrets_that_a_rule_names_as_admin_secrets_are_admin_secrets_for_all() -> None:
    assert DEFAULT.is_admin_secret(_arn("shop/admin/orders"))
    assert not DEFAULT.is_admin_secret(_arn("shop/orders"))
    assert not DEFAULT.is_admin_secret(Arn("arn:aws:iam::123456789012:role/shop/admin/orders"))


def test_secret_is_looked_up_in_the_region_of_its_arn() -> None:
    assert _request("shop/orders", region="eu-west-1").lookup_region == "eu-west-1"
    assert _request(_arn("shop/orders", region="us-east-1"), region="eu-west-1").lookup_region == "us-east-1"


def test_policy_says_which_namespaces_may_rotate_a_secret() -> None:
    assert DEFAULT.may_rotate("shop", _arn("shop/orders"), HOME)
    assert DEFAULT.may_rotate("shop", _arn("shop/admin/orders"), HOME)
    assert not DEFAULT.may_rotate("stranger", _arn("shop/orders"), HOME)
    assert not DEFAULT.may_rotate("shop", Arn(_arn("shop/orders").replace("eu-west-1", "us-east-1")), HOME)
