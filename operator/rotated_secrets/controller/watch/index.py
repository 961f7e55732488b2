"""Every RotatedSecret that is known, as far as others must ask about it without waiting: which secret it names, which
target Secret it writes, how old it is.

Filled before work starts, kept by the watch, put right by the resync. Knows nothing of the API server. Safe from any
thread.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rotated_secrets.api.key import Key
from rotated_secrets.values import Arn

HOME = "home"
"""Stands for the operator's own account."""


@dataclass(frozen=True)
class _Known:
    uid: str
    created: str
    secret: str
    target: str
    account: str | None
    """Where the secret is, as far as the spec tells."""
    as_operator: bool
    """Whether the operator asks for the secret as itself."""
    seen: str
    """What of the object is worth a look when it changes."""

    @property
    def age(self) -> tuple[str, str]:
        """Sorts the older first; RFC 3339 in UTC sorts as text."""
        return (self.created, self.uid)


class Index:
    """What is known of each RotatedSecret by its key."""

    def __init__(self, default_region: str) -> None:
        self._default_region = default_region
        self._lock = threading.RLock()
        self._known: dict[Key, _Known] = {}
        self._by_secret: defaultdict[str, set[Key]] = defaultdict(set)
        self._by_target: defaultdict[Key, set[Key]] = defaultdict(set)
        self._written: dict[Key, str] = {}
        self._denied: set[Key] = set()
        self._found: dict[Key, Arn] = {}
        self._told: dict[Key, str] = {}
        self._home: str | None = None

    def __len__(self) -> int:
        return len(self._known)

    def uids(self) -> dict[Key, str]:
        """Everything that is known now."""
        with self._lock:
            return {key: known.uid for key, known in self._known.items()}

    def uid(self, key: Key) -> str | None:
        """The uid under which an object is known."""
        with self._lock:
            known = self._known.get(key)
            return known.uid if known else None

    def observe(self, obj: Mapping[str, Any]) -> bool:
        """Take in an object as the API server has it.

        Returns:
            Whether anything but its status is new: our own status writes come back through the watch.
        """
        metadata, spec = obj["metadata"], obj.get("spec") or {}
        key = Key(metadata["namespace"], metadata["name"])
        now = _Known(
            uid=metadata["uid"],
            created=metadata["creationTimestamp"],
            secret=self._form(spec),
            account=_account(spec),
            as_operator=not (spec.get("source") or {}).get("credentials"),
            target=str((spec.get("target") or {}).get("secretName") or key.name),
            seen=_seen(metadata),
        )
        with self._lock:
            before = self._known.get(key)
            if before == now:
                return False
            if before is not None:
                self._drop(key, before)
                if (before.uid, before.secret, before.account) != (now.uid, now.secret, now.account):
                    self._found.pop(key, None)
                    self._told.pop(key, None)
            self._known[key] = now
            self._by_secret[now.secret].add(key)
            self._by_target[Key(key.namespace, now.target)].add(key)
            return True

    def forget(self, key: Key, uid: str | None = None) -> set[Key]:
        """This object is gone; with ``uid``, only if it is still that object.

        Returns:
            Others that name the same secret, and may now be the oldest that does.
        """
        with self._lock:
            known = self._known.get(key)
            if known is None or uid not in (None, known.uid):
                return set()
            del self._known[key]
            self._written.pop(key, None)
            self._denied.discard(key)
            self._drop(key, known)
            rivals = self._rivals(key, known)
            self._found.pop(key, None)
            self._told.pop(key, None)
            return rivals

    def at_home(self, account: str) -> None:
        """Where names are looked up that nobody else is asked for: the operator's own account."""
        self._home = account

    def asked_in(self, key: Key, account: str) -> None:
        """Where the name is looked up of a RotatedSecret whose spec leaves that to a ServiceAccount."""
        with self._lock:
            if key in self._known:
                self._told[key] = account

    def found(self, key: Key, arn: Arn) -> set[Key]:
        """The store has said which secret a RotatedSecret names: one name is several secrets, in several accounts.

        Returns:
            Others that were thought to name the same, or another; and all younger ones on this secret, which may have
            been looked at before this one was known to name it.
        """
        with self._lock:
            known = self._known.get(key)
            if known is None or self._found.get(key) == arn:
                return set()
            before = self._rivals(key, known)
            self._found[key] = arn
            now = self._rivals(key, known)
            return (before ^ now) | {each for each in now if self._known[each].age > known.age}

    def naming(self, arn: Arn) -> set[Key]:
        """The RotatedSecrets that name this secret, by its ARN or by its name where they have that looked up."""
        with self._lock:
            return {key for form in _forms(arn) for key in self._by_secret.get(form, ()) if self._may_mean(key, arn)}

    def operators(self, arn: Arn) -> set[Key]:
        """Those of them for which the operator asks as itself."""
        with self._lock:
            return {key for key in self.naming(arn) if self._known[key].as_operator}

    def older(self, key: Key, arn: Arn) -> Key | None:
        """The oldest other RotatedSecret on the same secret, if it is older than this one: it alone may rotate it."""
        with self._lock:
            named = (self.naming(arn) - self._denied) | ({key} & self._known.keys())
            oldest = min(named, key=lambda each: self._known[each].age, default=None)
            return None if oldest == key else oldest

    def set_allowed(self, key: Key, allowed: bool) -> set[Key]:
        """Whether the access policy lets this RotatedSecret have its secret: if not, it has no say in who rotates it.

        Returns:
            Others that name the same secret, where this changes anything for them.
        """
        with self._lock:
            known = self._known.get(key)
            if known is None or allowed != (key in self._denied):
                return set()
            (self._denied.discard if allowed else self._denied.add)(key)
            return self._rivals(key, known)

    def owners_of(self, target: Key) -> set[Key]:
        """The RotatedSecrets whose target Secret this is."""
        with self._lock:
            return set(self._by_target.get(target, ()))

    def wrote_target(self, key: Key, resource_version: str) -> None:
        """We have written this RotatedSecret's target Secret: its echo through the watch is no news."""
        with self._lock:
            if key in self._known:
                self._written[key] = resource_version

    def is_own_write(self, key: Key, resource_version: str) -> bool:
        """Whether this version of the target Secret is the one that we wrote."""
        with self._lock:
            return self._written.get(key) == resource_version

    def _rivals(self, key: Key, known: _Known) -> set[Key]:
        """Others that name the same secret, or may."""
        arn = self._found.get(key)
        return (self.naming(arn) if arn else self._by_secret.get(known.secret, set())) - {key}

    def _may_mean(self, key: Key, arn: Arn) -> bool:
        found, known = self._found.get(key), self._known[key]
        if found is not None:
            return found == arn
        account = arn.account
        if known.account == HOME:
            return self._home in (None, account)
        # Whose account nobody knows yet is in nobody's way: the name may be anybody's.
        return (known.account or self._told.get(key)) == account

    def _drop(self, key: Key, known: _Known) -> None:
        for index, entry in ((self._by_secret, known.secret), (self._by_target, Key(key.namespace, known.target))):
            index[entry].discard(key)  # type: ignore[index]
            if not index[entry]:  # type: ignore[index]
                del index[entry]  # type: ignore[arg-type]

    def _form(self, spec: Mapping[str, Any]) -> str:
        source = spec.get("source") or {}
        secret_id = str(source.get("secretId") or "")
        if secret_id.startswith("arn:"):
            return secret_id
        return f"{source.get('region') or self._default_region}/{secret_id}"


def _account(spec: Mapping[str, Any]) -> str | None:
    """That in the secret's ARN, or of the role that a spec names, or the operator's; not known where it is for a
    ServiceAccount to name the role."""
    source = spec.get("source") or {}
    if str(source.get("secretId") or "").startswith("arn:"):
        return _account_in(str(source["secretId"]))
    if not (credentials := source.get("credentials")):
        return HOME
    return _account_in(str(credentials.get("roleArn") or ""))


def _account_in(arn: str) -> str | None:
    parsed = Arn.parse(arn)
    return parsed.account if parsed is not None else None


def _forms(arn: Arn) -> tuple[str, ...]:
    """The ways to name a secret: its ARN, its ARN without the suffix, or its name in its region."""
    return arn, arn.removesuffix(arn.full_name) + arn.name, f"{arn.region}/{arn.name}"


def _seen(metadata: Mapping[str, Any]) -> str:
    return json.dumps(
        [metadata.get("generation"), metadata.get("deletionTimestamp"), metadata.get("annotations")], sort_keys=True
    )
