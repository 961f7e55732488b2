"""Who may ask for what: which namespaces may name which secrets in AWS.

The operator's AWS identity can read more than any one namespace should reach. Rules are matched on account, region and
name of the ARN that AWS returned, whatever the resource said; a look at what was asked comes first, so that a name that
is denied costs no call and tells nothing of whether it exists. Knows neither AWS nor Kubernetes.
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
    """The access policy forbids it; the message holds the rule that would allow it."""


class Use(Enum):
    """What a secret is asked for."""

    SOURCE = "source"
    ADMIN = "admin secret"


@dataclass(frozen=True)
class Home:
    """The account and region that the operator's own identity lives in."""

    account: str
    region: str


@dataclass(frozen=True)
class Request:
    """One namespace asks for one secret."""

    namespace: str
    use: Use
    asked: SecretId
    """As the resource names it: a name or an ARN."""
    region: str
    """Where a mere name is looked up."""
    keeps_to_itself: bool
    """Rotated by SingleUser or External, and neither delivered nor sent anywhere nor used for queries of the
    namespace's own, as an admin secret may be."""
    account: str | None = None
    """Where a mere name is looked up; None is the operator's own account."""

    @property
    def lookup_region(self) -> str:
        """Where the secret is looked up: an ARN says so itself."""
        arn = Arn.parse(self.asked)
        return arn.region if arn is not None else self.region

    @classmethod
    def source(cls, resource: RotatedSecret, home: Home, account: str | None = None) -> Request:
        """What ``spec.source`` asks for; a mere name in ``account``, which is the operator's own unless told."""
        spec = resource.spec
        # AlternatingUsers would give an admin's rights to a second user, a webhook gets the value, and a query run as
        # an admin tells, by its success alone, whatever an admin may read.
        alone = spec.rotation.strategy in (Strategy.SINGLE_USER, Strategy.EXTERNAL)
        kept = spec.webhook is None and not spec.rotation.verify_queries and not spec.target.is_delivered
        return cls(
            resource.namespace,
            Use.SOURCE,
            SecretId(resource.spec.source.secret_id),
            resource.spec.source.region or home.region,
            keeps_to_itself=alone and kept,
            account=account,
        )

    @classmethod
    def admin(cls, resource: RotatedSecret, secret: SecretId, home: Home, account: str | None = None) -> Request:
        """``adminSecretId`` of the spec or ``masterarn`` of a value: who wrote either may write the other."""
        region = resource.spec.source.region or home.region
        return cls(resource.namespace, Use.ADMIN, secret, region, keeps_to_itself=True, account=account)


@dataclass(frozen=True)
class _NamedSecret:
    """A secret by what the rules look at."""

    account: str
    region: str
    name: str


@dataclass(frozen=True)
class AccessRule:
    """What some namespaces may use. ``*`` stands for any characters but ``!``, which AWS services' own secrets have."""

    namespaces: tuple[str, ...]
    secrets: tuple[str, ...] = ()
    admin_secrets: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    """Empty means the operator's own."""
    regions: tuple[str, ...] = ()
    """Empty means the operator's own."""

    def concerns(self, namespace: str) -> bool:
        return any(re.fullmatch(_wild(pattern), namespace) for pattern in self.namespaces)

    def covers(self, secret: _NamedSecret, home: Home) -> bool:
        """Whether the account and the region are the rule's."""
        return secret.account in (self.accounts or (home.account,)) and secret.region in (
            self.regions or (home.region,)
        )


def _wild(pattern: str) -> str:
    return re.escape(pattern).replace(r"\*", "[^!]*")


def _matches(patterns: tuple[str, ...], name: str, namespace: str) -> bool:
    """Whether a name is one of those that the patterns give to this namespace."""
    return any(re.fullmatch(_wild(pattern.replace(NAMESPACE, namespace)), name) for pattern in patterns)


@dataclass(frozen=True)
class AccessPolicy:
    """Rules of which each one allows; what none allows is denied."""

    rules: tuple[AccessRule, ...]

    @classmethod
    def default(cls) -> AccessPolicy:
        """Every namespace has what begins with its name, in the operator's own account and region."""
        return cls((AccessRule(("*",), (f"{NAMESPACE}/*",), (f"{NAMESPACE}/admin/*",)),))

    def check_asked(self, request: Request, home: Home) -> None:
        """Before AWS is called: deny what could not be allowed, whatever AWS returned.

        Raises:
            PolicyDenied: no secret of this name, whether it exists or not, may be used.
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
        """After AWS has said which secret it is, and before anything of it is read or changed.

        Raises:
            PolicyDenied: this very secret may not be used.
        """
        found = _secret_arn(arn)
        if found is None or not found.has_suffix:
            raise PolicyDenied(f"AWS returned {arn!r}, which is not the ARN of a secret")
        denied = self._denial(request, _NamedSecret(found.account, found.region, found.name), home)
        if denied is not None:
            raise denied

    def is_for_admins(self, arn: Arn) -> bool:
        """Whether anyone may administer by this secret."""
        found = _secret_arn(arn)
        return found is not None and self._is_admin_secret(found.name)

    def _denial(self, request: Request, secret: _NamedSecret, home: Home) -> PolicyDenied | None:
        mine = [rule for rule in self.rules if rule.concerns(request.namespace) and rule.covers(secret, home)]
        as_admin = any(_matches(rule.admin_secrets, secret.name, request.namespace) for rule in mine)
        if request.use is Use.ADMIN:
            return None if as_admin else _denied(request, secret, home, "adminSecrets")
        is_admin_secret = self._is_admin_secret(secret.name)
        if is_admin_secret and not request.keeps_to_itself:
            return PolicyDenied(
                f"{secret.name} is an admin secret in the operator's access policy, so namespace {request.namespace} "
                "may only have it rotated, not delivered or used: write rotation.strategy: SingleUser or External and "
                "target.creationPolicy: None, without rotation.verifyQueries and without database.webhook"
            )
        as_source = any(_matches(rule.secrets, secret.name, request.namespace) for rule in mine)
        if as_source or (is_admin_secret and as_admin):
            return None
        return _denied(request, secret, home, "secrets")

    def _is_admin_secret(self, name: str) -> bool:
        """Whether it is one for any namespace: a secret that some may administer by is nobody's to deliver."""
        return any(expression.fullmatch(name) for expression in self._admin_expressions)

    @cached_property
    def _admin_expressions(self) -> tuple[re.Pattern[str], ...]:
        patterns = {pattern for rule in self.rules for pattern in rule.admin_secrets}
        return tuple(
            re.compile(_NAMESPACE_LABEL.join(_wild(part) for part in pattern.split(NAMESPACE))) for pattern in patterns
        )


def _possible(request: Request, home: Home) -> Iterator[_NamedSecret]:
    """The secrets that AWS might find: an ARN may lack its suffix, and a name may end as a suffix does."""
    found = _secret_arn(request.asked)
    if found is not None:
        for name in dict.fromkeys((found.name, found.full_name)):
            yield _NamedSecret(found.account, found.region, name)
    elif _NAME.fullmatch(request.asked):
        yield _NamedSecret(request.account or home.account, request.region, request.asked)


def _secret_arn(text: str) -> Arn | None:
    """The ARN of a secret that a text is, with no character that AWS would not have there."""
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
