"""Index of all RotatedSecrets: which secret each names, which target Secret it writes, and how old it is.

Answers without a request. Filled before work starts, updated by the watch, corrected by the resync. Knows nothing of
the API server. Safe from any thread.

A namespace may have thousands that name one secret. To go through them takes long, so what is only read is read from a
copy, without the lock, for which the watch of all namespaces would wait else.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rotated_secrets.api.key import Key
from rotated_secrets.controller.watch.transform import FOLLOWS
from rotated_secrets.values import Arn, VersionId

OWN_ACCOUNT = "own"
"""Stands for the operator's own account, whose number is not known at first."""


@dataclass(frozen=True)
class _Known:
    uid: str
    created: str
    fingerprint: str
    """The parts of the object other than its status: a change of them needs a look."""
    secret: str = ""
    target: str = ""
    account: str | None = None
    """Account of the secret, if the spec says it."""
    as_operator: bool = False
    """Whether the secret is requested with the operator's own identity."""

    follows: bool = False
    """Whether it delivers what others rotate, and rotates nothing."""

    @property
    def age(self) -> tuple[bool, str, str]:
        """Sort key, the older first, those that only follow last; RFC 3339 in UTC sorts as text."""
        return (self.follows, self.created, self.uid)


class Index:
    """RotatedSecrets by key, by secret and by target Secret."""

    def __init__(self, default_region: str) -> None:
        self._default_region = default_region
        self._lock = threading.RLock()
        self._known: dict[Key, _Known] = {}
        self._by_secret: defaultdict[str, set[Key]] = defaultdict(set)
        self._by_target: defaultdict[Key, set[Key]] = defaultdict(set)
        self._written: dict[Key, str] = {}
        """Versions of target Secrets that we wrote."""
        self._shown: dict[Key, set[str]] = {}
        """Versions that the watch has shown of target Secrets that are being written now."""
        self._denied: set[Key] = set()
        self._arns: dict[Key, Arn] = {}
        self._accounts: dict[Key, str] = {}
        self._currents: dict[Arn, VersionId] = {}
        self._own_account: str | None = None

    def __len__(self) -> int:
        return len(self._known)

    def uids(self) -> dict[Key, str]:
        """The uid of each RotatedSecret that is known now."""
        with self._lock:
            return {key: known.uid for key, known in self._known.items()}

    def uid(self, key: Key) -> str | None:
        """The uid of a known RotatedSecret; None if it is not known."""
        with self._lock:
            known = self._known.get(key)
            return known.uid if known else None

    def observe(self, obj: Mapping[str, Any]) -> bool:
        """Record what :func:`~rotated_secrets.controller.watch.transform.transform` left of an object.

        Returns:
            Whether anything except its status changed: our own status writes come back through the watch.
        """
        metadata, spec = obj["metadata"], obj.get("spec")
        key = Key(metadata["namespace"], metadata["name"])
        if spec is None:
            # Too large to be kept, so it is refused: it names nothing that it could take from others.
            now = _Known(metadata["uid"], metadata["creationTimestamp"], fingerprint=_fingerprint(metadata))
        else:
            now = _Known(
                uid=metadata["uid"],
                created=metadata["creationTimestamp"],
                secret=self._secret_form(spec),
                account=_account(spec),
                as_operator=not (spec.get("source") or {}).get("credentials"),
                target=str((spec.get("target") or {}).get("secretName") or key.name),
                fingerprint=_fingerprint(metadata),
                follows=bool(spec.get(FOLLOWS)),
            )
        with self._lock:
            before = self._known.get(key)
            if before == now:
                return False
            if before is not None:
                self._drop(key, before)
                if (before.uid, before.secret, before.account) != (now.uid, now.secret, now.account):
                    self._arns.pop(key, None)
                    self._accounts.pop(key, None)
            self._known[key] = now
            if spec is not None:
                self._by_secret[now.secret].add(key)
                self._by_target[Key(key.namespace, now.target)].add(key)
            return True

    def forget(self, key: Key, uid: str | None = None) -> set[Key]:
        """Remove an object that is gone; with ``uid``, only if the known object still has this uid.

        Returns:
            Younger ones that name the same secret: one of them may be the oldest now.
        """
        with self._lock:
            known = self._known.get(key)
            if known is None or uid not in (None, known.uid):
                return set()
            del self._known[key]
            self._written.pop(key, None)
            self._denied.discard(key)
            self._drop(key, known)
            rivals = self._younger_rivals(key, known)
            arn = self._arns.pop(key, None)
            self._accounts.pop(key, None)
            if arn is not None and not self.naming(arn):
                self._currents.pop(arn, None)
            return rivals

    def record_own_account(self, account: str) -> None:
        """Record the operator's own account, in which it looks up names with its own identity."""
        self._own_account = account

    def record_account(self, key: Key, account: str) -> None:
        """Record the account of the role that a RotatedSecret uses, for specs that do not name it."""
        with self._lock:
            if key in self._known:
                self._accounts[key] = account

    def record_arn(self, key: Key, arn: Arn) -> set[Key]:
        """Record which secret the store found: the same name may be another secret in another account.

        Returns:
            Others that are now known, or no longer thought, to name the same secret; and all younger ones on this
            secret, which may have been looked at before this one was known to name it.
        """
        with self._lock:
            known = self._known.get(key)
            if known is None or self._arns.get(key) == arn:
                return set()
            before = self._rivals(key, known)
            self._arns[key] = arn
            now = self._rivals(key, known)
            return (before ^ now) | self._younger(now, known)

    def record_current(self, key: Key, arn: Arn, version_id: VersionId) -> set[Key]:
        """Record which version this RotatedSecret found, or made, AWSCURRENT.

        Returns:
            If another version was AWSCURRENT until now, the others that were found to name this secret and may use it:
            they do not know yet.
        """
        if self._currents.get(arn) == version_id:
            return set()
        with self._lock:
            followers = {each for each in self.naming(arn) if self._arns.get(each) == arn}
            before = self._currents.get(arn)
            if followers:
                self._currents[arn] = version_id
            return followers - self._denied - {key} if before not in (None, version_id) else set()

    def naming(self, arn: Arn) -> set[Key]:
        """The RotatedSecrets that name this secret, by its ARN, or by its name in the account of their identity."""
        keys = {key for form in _secret_forms(arn) for key in tuple(self._by_secret.get(form, ()))}
        return {key for key in keys if self._names(key, arn)}

    def named_by_operator(self, arn: Arn) -> set[Key]:
        """Those of :meth:`naming` whose secret is requested with the operator's own identity."""
        return {key for key in self.naming(arn) if (known := self._known.get(key)) and known.as_operator}

    def oldest_rival(self, key: Key, arn: Arn, may_use: Callable[[Key], bool] = lambda _: True) -> Key | None:
        """The oldest other RotatedSecret on the same secret, if it is older than this one: only it may rotate it. One
        that only follows what others rotate counts as younger than all that rotate.

        ``may_use`` says whether one may use the secret, since there may have been no look at it yet.
        """
        known = self._known.get(key)
        older = [
            (rival.age, each)
            for each in self.naming(arn) - self._denied - {key}
            if (rival := self._known.get(each)) and (known is None or rival.age < known.age) and may_use(each)
        ]
        return min(older)[1] if older else None

    def set_allowed(self, key: Key, allowed: bool) -> set[Key]:
        """Record whether this RotatedSecret may use its secret: one that may not does not block younger ones.

        Returns:
            Younger ones that name the same secret, if this changed. Older ones do not depend on it: else a namespace
            could have those of others looked at again and again.
        """
        with self._lock:
            known = self._known.get(key)
            if known is None or allowed != (key in self._denied):
                return set()
            (self._denied.discard if allowed else self._denied.add)(key)
            return self._younger_rivals(key, known)

    def owners_of(self, target: Key) -> set[Key]:
        """The RotatedSecrets whose target Secret this is."""
        with self._lock:
            return set(self._by_target.get(target, ()))

    def begin_target_write(self, key: Key) -> None:
        """Record that we are about to write the target Secret: the watch may show it before the response has come."""
        with self._lock:
            if key in self._known:
                self._shown[key] = set()

    def end_target_write(self, key: Key, resource_version: str | None) -> bool:
        """Record the version that we wrote; None if it failed, or if that is not known.

        Returns:
            Whether the watch has shown another version meanwhile, which needs a look.
        """
        with self._lock:
            shown = self._shown.pop(key, set())
            if resource_version is not None and key in self._known:
                self._written[key] = resource_version
            return bool(shown - {resource_version})

    def needs_look(self, key: Key, resource_version: str) -> bool:
        """Whether others wrote this version of the target Secret; while we write it, the end of that will tell."""
        with self._lock:
            if (shown := self._shown.get(key)) is not None:
                shown.add(resource_version)
                return False
            return self._written.get(key) != resource_version

    def _rivals(self, key: Key, known: _Known) -> set[Key]:
        """Others that name, or may name, the same secret."""
        arn = self._arns.get(key)
        return (self.naming(arn) if arn else self._by_secret.get(known.secret, set())) - {key}

    def _younger_rivals(self, key: Key, known: _Known) -> set[Key]:
        return self._younger(self._rivals(key, known), known)

    def _younger(self, rivals: set[Key], known: _Known) -> set[Key]:
        return {each for each in rivals if self._known[each].age > known.age}

    def _names(self, key: Key, arn: Arn) -> bool:
        """Whether a RotatedSecret whose secret looks like this one names it, as far as accounts are known."""
        resolved, known = self._arns.get(key), self._known.get(key)
        if resolved is not None or known is None:
            return resolved == arn
        account = arn.account
        if known.account == OWN_ACCOUNT:
            return self._own_account in (None, account)
        # While its account is not known, it does not block others: its name may be of any account's secret.
        return (known.account or self._accounts.get(key)) == account

    def _drop(self, key: Key, known: _Known) -> None:
        for index, entry in ((self._by_secret, known.secret), (self._by_target, Key(key.namespace, known.target))):
            index[entry].discard(key)  # type: ignore[index]
            if not index[entry]:  # type: ignore[index]
                del index[entry]  # type: ignore[arg-type]

    def _secret_form(self, spec: Mapping[str, Any]) -> str:
        source = spec.get("source") or {}
        secret_id = str(source.get("secretId") or "")
        if secret_id.startswith("arn:"):
            return secret_id
        return f"{source.get('region') or self._default_region}/{secret_id}"


def _account(spec: Mapping[str, Any]) -> str | None:
    """Account of the secret: from its ARN, from the role in the spec, or the operator's own; None if a ServiceAccount
    names the role."""
    source = spec.get("source") or {}
    if str(source.get("secretId") or "").startswith("arn:"):
        return _account_in(str(source["secretId"]))
    if not (credentials := source.get("credentials")):
        return OWN_ACCOUNT
    return _account_in(str(credentials.get("roleArn") or ""))


def _account_in(arn: str) -> str | None:
    parsed = Arn.parse(arn)
    return parsed.account if parsed is not None else None


def _secret_forms(arn: Arn) -> tuple[str, ...]:
    """The ways to name a secret: its ARN, its ARN without the suffix, or its name in its region."""
    return arn, arn.removesuffix(arn.full_name) + arn.name, f"{arn.region}/{arn.name}"


def _fingerprint(metadata: Mapping[str, Any]) -> str:
    return json.dumps(
        [metadata.get("generation"), metadata.get("deletionTimestamp"), metadata.get("annotations")], sort_keys=True
    )
