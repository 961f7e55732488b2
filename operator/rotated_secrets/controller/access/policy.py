"""The access policy: which namespaces may use which secrets in AWS.

The operator's AWS identity can read more secrets than one namespace should. Rules are matched against account, region
and name in the ARN that AWS returned, not against what the resource says. The requested name is checked before, so that
a denied name costs no call and does not show whether the secret exists. Knows neither AWS nor Kubernetes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Final

from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.rotation import Strategy
from rotated_secrets.values import Arn, SecretId

NAMESPACE: Final = "{namespace}"

_NAME: Final = re.compile(r"[A-Za-z0-9/_+=.@!-]{1,512}")
_NAME_CHARACTERS: Final = re.compile(r"[A-Za-z0-9/_+=.@!-]+")
_NAMESPACE_LABEL: Final = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"


class PolicyDenied(Exception):
    """The access policy denies a request; the message contains the rule that would allow it."""


class Use(Enum):
    """What a secret is requested for."""

    SOURCE = "source"
    ADMIN = "admin secret"


@dataclass(frozen=True)
class Home:
    """The account and region of the operator's own identity."""

    account: str
    region: str


@dataclass(frozen=True)
class Request:
    """A namespace requests the use of one secret."""

    namespace: str
    use: Use
    secret_id: SecretId
    """As the resource names it: a name or an ARN."""
    region: str
    """Where a name is looked up."""
    is_only_rotated: bool
    """Whether a source secret is rotated by SingleUser or External, and not delivered, sent to a webhook or used for
    verify queries: only then may an admin secret be a source."""
    account: str | None = None
    """Where a name is looked up; None is the operator's own account."""

    @property
    def lookup_region(self) -> str:
        """Region in which the secret is looked up: the ARN's, if there is one."""
        arn = Arn.parse(self.secret_id)
        return arn.region if arn is not None else self.region

    @classmethod
    def source(cls, resource: RotatedSecret, home: Home, account: str | None = None) -> Request:
        """The request of ``spec.source``; a name is looked up in ``account``, by default the operator's own."""
        spec = resource.spec
        # AlternatingUsers would give an admin's rights to a second user, a webhook receives the value, and the success
        # of a query that runs as admin reveals data that only an admin may read.
        keeps_users = spec.rotation.strategy in (Strategy.SINGLE_USER, Strategy.EXTERNAL)
        stays_inside = spec.webhook is None and not spec.rotation.verify_queries and not spec.target.is_delivered
        return cls(
            resource.namespace,
            Use.SOURCE,
            SecretId(resource.spec.source.secret_id),
            resource.spec.source.region or home.region,
            is_only_rotated=keeps_users and stays_inside,
            account=account,
        )

    @classmethod
    def admin(cls, resource: RotatedSecret, secret: SecretId, home: Home, account: str | None = None) -> Request:
        """The request of the spec's ``adminSecretId`` or the value's ``masterarn``, which are equally untrusted."""
        region = resource.spec.source.region or home.region
        return cls(resource.namespace, Use.ADMIN, secret, region, is_only_rotated=True, account=account)


@dataclass(frozen=True)
class _NamedSecret:
    """The properties of a secret that rules are matched against."""

    account: str
    region: str
    name: str


@dataclass(frozen=True)
class AccessRule:
    """What some namespaces may use. ``*`` matches any characters except ``!``: names of AWS's own secrets have it."""

    namespaces: tuple[str, ...]
    secrets: tuple[str, ...] = ()
    admin_secrets: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    """Empty means the operator's own."""
    regions: tuple[str, ...] = ()
    """Empty means the operator's own."""

    def applies_to(self, namespace: str) -> bool:
        return any(re.fullmatch(_expression_of(pattern), namespace) for pattern in self.namespaces)

    def covers(self, secret: _NamedSecret, home: Home) -> bool:
        """Whether the rule is for the secret's account and region."""
        return secret.account in (self.accounts or (home.account,)) and secret.region in (
            self.regions or (home.region,)
        )


def _expression_of(pattern: str) -> str:
    return re.escape(pattern).replace(r"\*", "[^!]*")


def _matches(patterns: tuple[str, ...], name: str, namespace: str) -> bool:
    """Whether a pattern matches the name, with ``{namespace}`` replaced by this namespace."""
    return any(re.fullmatch(_expression_of(pattern.replace(NAMESPACE, namespace)), name) for pattern in patterns)


@dataclass(frozen=True)
class AccessPolicy:
    """Rules, each of which allows something; everything else is denied."""

    rules: tuple[AccessRule, ...]

    @classmethod
    def default(cls) -> AccessPolicy:
        """Every namespace may use secrets whose names begin with its own, in the operator's account and region."""
        return cls((AccessRule(("*",), (f"{NAMESPACE}/*",), (f"{NAMESPACE}/admin/*",)),))

    def check_asked(self, request: Request, home: Home) -> None:
        """Check a request before AWS is called: deny it if it cannot be allowed, whatever AWS returns.

        Raises:
            PolicyDenied: no secret of this name may be used, whether it exists or not.
        """
        denied: PolicyDenied | None = None
        for secret in _possible(request, home):
            denial = self._denial(request, secret, home)
            if denial is None:
                return
            denied = denied or denial
        raise denied or PolicyDenied(
            f"the {request.use.value} in namespace {request.namespace} is neither the name nor the ARN of a secret; "
            "write one of them"
        )

    def check_returned(self, request: Request, arn: Arn, home: Home) -> None:
        """Check the ARN that AWS returned, before the secret is read or changed.

        Raises:
            PolicyDenied: this secret may not be used.
        """
        found = _secret_arn(arn)
        if found is None or not found.has_suffix:
            raise PolicyDenied(f"AWS returned {arn!r}, which is not the ARN of a secret")
        denied = self._denial(request, _NamedSecret(found.account, found.region, found.name), home)
        if denied is not None:
            raise denied

    def may_rotate(self, namespace: str, arn: Arn, home: Home) -> bool:
        """Whether a namespace may name this secret as a source, for whatever strategy and target."""
        request = Request(namespace, Use.SOURCE, SecretId(arn), arn.region, is_only_rotated=True)
        try:
            self.check_returned(request, arn, home)
        except PolicyDenied:
            return False
        return True

    def is_admin_secret(self, arn: Arn) -> bool:
        """Whether a rule makes this an admin secret, for any namespace."""
        found = _secret_arn(arn)
        return found is not None and self._is_admin_name(found.name)

    def _denial(self, request: Request, secret: _NamedSecret, home: Home) -> PolicyDenied | None:
        rules = [rule for rule in self.rules if rule.applies_to(request.namespace) and rule.covers(secret, home)]
        as_admin = any(_matches(rule.admin_secrets, secret.name, request.namespace) for rule in rules)
        if request.use is Use.ADMIN:
            return None if as_admin else _denied(request, secret, home, "adminSecrets")
        is_admin_secret = self._is_admin_name(secret.name)
        if is_admin_secret and not request.is_only_rotated:
            return PolicyDenied(
                f"{secret.name} is an admin secret in the operator's access policy, so namespace {request.namespace} "
                "may only have it rotated, not delivered or used: write rotation.strategy: SingleUser or External and "
                "target.creationPolicy: None, without rotation.verifyQueries and without database.webhook"
            )
        as_source = any(_matches(rule.secrets, secret.name, request.namespace) for rule in rules)
        if as_source or (is_admin_secret and as_admin):
            return None
        return _denied(request, secret, home, "secrets")

    def _is_admin_name(self, name: str) -> bool:
        """Whether a rule makes it the name of an admin secret, for any namespace: then it is delivered to none."""
        return any(expression.fullmatch(name) for expression in self._admin_expressions)

    @cached_property
    def _admin_expressions(self) -> tuple[re.Pattern[str], ...]:
        patterns = {pattern for rule in self.rules for pattern in rule.admin_secrets}
        return tuple(
            re.compile(_NAMESPACE_LABEL.join(_expression_of(part) for part in pattern.split(NAMESPACE)))
            for pattern in patterns
        )


def is_secret_arn(text: str) -> bool:
    """Whether a text has the form of a secret's ARN: then messages may show it."""
    return _secret_arn(text) is not None


def _possible(request: Request, home: Home) -> Iterator[_NamedSecret]:
    """The secrets that AWS might find: an ARN may lack its suffix, and a name may end like a suffix."""
    found = _secret_arn(request.secret_id)
    if found is not None:
        for name in dict.fromkeys((found.name, found.full_name)):
            yield _NamedSecret(found.account, found.region, name)
    elif _NAME.fullmatch(request.secret_id):
        yield _NamedSecret(request.account or home.account, request.region, request.secret_id)


def _secret_arn(text: str) -> Arn | None:
    """Parse the ARN of a secret; None for anything else, also for characters that AWS does not allow there."""
    found = Arn.parse(text)
    if found is None or not found.is_aws or found.service != "secretsmanager":
        return None
    return found if found.resource.startswith("secret:") and _NAME_CHARACTERS.fullmatch(found.full_name) else None


def _denied(request: Request, secret: _NamedSecret, home: Home, key: str) -> PolicyDenied:
    rule: dict[str, list[str]] = {"namespaces": [request.namespace], key: [secret.name]}
    if secret.account != home.account:
        rule["accounts"] = [secret.account]
    if secret.region != home.region:
        rule["regions"] = [secret.region]
    return PolicyDenied(
        f"namespace {request.namespace} may not use {secret.name} as {request.use.value}: no rule of the operator's "
        f"access policy allows it; ask the operator's administrator to add this rule: - {json.dumps(rule)}"
    )
