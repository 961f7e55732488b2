"""Reads and writes target Secrets at the API server, and never changes a Secret of others without consent.

Every write carries the uid and resourceVersion that were read (or says that there was no Secret). If another program
creates or changes the Secret in between, the write fails and the Secret is read again. Errors of the API server may
repeat the request, so only their status, reason and field names are used.
"""

from __future__ import annotations

import base64
import contextlib
from typing import Final

from rotated_secrets.api.names import MANAGED_BY
from rotated_secrets.api.status import Reason
from rotated_secrets.cluster import METADATA, TOO_LARGE, Cluster, ClusterError, Json, ObjectTooLarge
from rotated_secrets.delivery.errors import (
    DeliveryDenied,
    DeliveryError,
    DeliveryRefused,
    DeliveryUnavailable,
    SecretConflict,
    SecretTooLarge,
)
from rotated_secrets.delivery.refusals import is_of_a_quota, which_failed, who_refused
from rotated_secrets.delivery.render import MAX_SECRET
from rotated_secrets.delivery.target import DesiredSecret, LiveSecret, TargetKind, applied, compare, replacement
from rotated_secrets.values import SecretText

CA_KEY: Final = "ca.crt"
"""The key of a Secret that holds a certificate authority, as cert-manager and others write it."""
MOST_AUTHORITIES: Final = 512 * 1024
"""Bytes of certificates, which a run holds while it waits for its host, and each cell parses. All that Mozilla
trusts have 220 KiB."""


MOST_ENTRIES: Final = 3_000
"""Keys, labels and annotations of one Secret, with those of others: the API server's answer has three values for each,
and must be read (:data:`rotated_secrets.cluster.MOST_VALUES`)."""
_MOST_ANNOTATIONS: Final = 256 * 1024
"""Bytes. Source: TotalAnnotationSizeLimitB of the API server's validation."""
_METHODS: Final = {"get": "GET", "create": "POST", "update": "PUT", "delete": "DELETE"}


class TargetSecrets:
    """The Secrets of one cluster. Safe to use from several threads."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def read(self, namespace: str, name: str) -> LiveSecret | None:
        """Read a Secret; None if it does not exist.

        Raises:
            DeliveryDenied: the operator may not read it.
            DeliveryRefused: it is larger than the operator reads.
            DeliveryUnavailable: the API server did not answer.
        """
        try:
            return LiveSecret.parse(self._request("get", namespace, name))
        except _Missing:
            return None

    def version(self, namespace: str, name: str) -> str | None:
        """Read only the resourceVersion of a Secret, which may be large; None if it does not exist.

        Raises:
            DeliveryDenied, DeliveryRefused, DeliveryUnavailable: as for :meth:`read`.
        """
        try:
            metadata = self._request("get", namespace, name, accept=METADATA)["metadata"]
        except _Missing:
            return None
        return str(metadata["resourceVersion"])

    def write(self, desired: DesiredSecret, live: LiveSecret | None) -> LiveSecret:
        """Write the desired Secret, provided that the present one is still ``live``. One that cannot be changed, and is
        to be immutable, is replaced.

        Raises:
            SecretConflict: the present Secret must not or cannot be changed; nothing was written.
            SecretTooLarge: it would be too large, so nothing was written; or it was written and is.
            DeliveryRefused: the API server rejects it.
            DeliveryDenied: a role, a policy, a webhook or a quota does not allow it.
            DeliveryUnavailable: it changed, appeared or was deleted in between, or the API server did not answer; read
                it again.
        """
        state = compare(live, desired)
        if state.kind is TargetKind.CONFLICT:
            raise SecretConflict(state.reason or Reason.SECRET_CONFLICT, state.message)
        namespace, name, written = desired.namespace, desired.name, applied(live, desired)
        _check_size(written)
        new = replacement(live, written)
        try:
            if new is not None:
                return self._replace(written, new)
            body = written.manifest()
            return LiveSecret.parse(self._request("create" if live is None else "update", namespace, name, body))
        except _Missing:
            raise DeliveryUnavailable(
                f"Secret {namespace}/{name}, or its namespace, was deleted while it was written; reading it again"
            ) from None

    def _replace(self, old: LiveSecret, new: LiveSecret) -> LiveSecret:
        """Delete a Secret, provided that it is what was read, and create another. A look after a crash between the two
        finds none, and creates it."""
        self._check_creation(new)
        preconditions = {"uid": old.uid, "resourceVersion": old.resource_version}
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        self._request("delete", old.namespace, old.name, options)
        return LiveSecret.parse(self._request("create", new.namespace, new.name, new.manifest()))

    def _check_creation(self, new: LiveSecret) -> None:
        """Have the API server check what takes the place of a Secret that is still there: if it is refused, that one
        stays. Raises: as :meth:`write`.

        Source: ``Store.Create`` of k8s.io/apiserver, which asks all admission plug-ins before it finds that the name is
        taken; seen on kube-apiserver 1.36. A quota that is used up has a place again when the other one is deleted.
        """
        with contextlib.suppress(_Taken, _QuotaUsedUp):
            self._request("create", new.namespace, new.name, new.manifest(), trial=True)

    def entry(self, namespace: str, name: str, key: str, field: str) -> SecretText:
        """Return what a Secret holds under a key, in base64; ``field`` of the spec names the Secret.

        Raises:
            DeliveryRefused: there is no such Secret, or nothing under this key.
            DeliveryDenied, DeliveryUnavailable: as for :meth:`read`.
        """
        live = self.read(namespace, name)
        if live is None:
            raise DeliveryRefused(f"Secret {namespace}/{name}, named by {field}, does not exist; create it")
        if key not in live.data:
            raise DeliveryRefused(f"Secret {namespace}/{name}, named by {field}, has no key {key}; add it")
        return live.data[key]

    def certificate_authorities(self, namespace: str, name: str, field: str = "database.tls.caSecretName") -> str:
        """Return the CA certificates (PEM) under ``ca.crt`` of a Secret; ``field`` of the spec names the Secret.

        Raises:
            DeliveryRefused: there is no such Secret, or no such certificates in it.
            DeliveryDenied, DeliveryUnavailable: as for :meth:`read`.
        """
        encoded = self.entry(namespace, name, CA_KEY, field)
        try:
            text = base64.b64decode(encoded.reveal()).decode("ascii")
        except ValueError:
            text = ""
        if "-----BEGIN CERTIFICATE-----" not in text:
            raise DeliveryRefused(
                f"Secret {namespace}/{name} holds no PEM certificates under the key {CA_KEY}; put them there"
            )
        if len(text) > MOST_AUTHORITIES:
            raise DeliveryRefused(
                f"Secret {namespace}/{name} holds {len(text) >> 10} KiB under the key {CA_KEY}, and the operator reads "
                f"{MOST_AUTHORITIES >> 10} KiB of certificates at most; leave those of the database's authorities"
            )
        return text

    def _request(
        self,
        verb: str,
        namespace: str,
        name: str,
        body: Json | None = None,
        *,
        accept: str = "application/json",
        trial: bool = False,
    ) -> Json:
        path = f"/api/v1/namespaces/{namespace}/secrets"
        if verb != "create":
            path += f"/{name}"
        query = {"fieldManager": MANAGED_BY} if verb in ("create", "update") else {}
        query |= {"dryRun": "All"} if trial else {}
        try:
            return self._cluster.request(_METHODS[verb], path, query=query, body=body, accept=accept)
        except ClusterError as error:
            failure = _translate(verb, namespace, name, error)
        # Raised outside the handler, so that the API server's message is not its context.
        raise failure


class _Missing(DeliveryError):
    """The Secret or its namespace does not exist."""


class _Taken(DeliveryUnavailable):
    """Another Secret has the name."""


class _QuotaUsedUp(DeliveryDenied):
    """The namespace has as many Secrets as it may."""


def _check_size(secret: LiveSecret) -> None:
    """Refuse what the API server would refuse, or what could not be read after it. Raises: SecretTooLarge."""
    who = f"Secret {secret}, with what others wrote into it, would have"
    entries = len(secret.data) + len(secret.labels) + len(secret.annotations)
    if entries > MOST_ENTRIES:
        raise SecretTooLarge(
            f"{who} {entries} keys, labels and annotations, and the operator reads {MOST_ENTRIES} at most; remove some "
            "that are not needed"
        )
    size = sum(len(text.reveal()) // 4 * 3 - text.reveal()[-2:].count("=") for text in secret.data.values())
    if size > MAX_SECRET:
        raise SecretTooLarge(f"{who} {size} bytes, and Kubernetes accepts {MAX_SECRET} at most; remove keys from it")
    size = sum(len(key.encode()) + len(text.encode()) for key, text in secret.annotations.items())
    if size > _MOST_ANNOTATIONS:
        raise SecretTooLarge(
            f"{who} {size} bytes of annotations, and Kubernetes accepts {_MOST_ANNOTATIONS} at most; remove some "
            "of them"
        )


def _translate(verb: str, namespace: str, name: str, error: ClusterError) -> DeliveryError:
    who = f"{verb} Secret {namespace}/{name}"
    if isinstance(error, ObjectTooLarge):
        written = "" if verb == "get" else "it was written, but cannot be read: "
        return SecretTooLarge(f"{who}: {written}{TOO_LARGE}; remove keys, labels or annotations that are not needed")
    said = str(error.answer.get("message", ""))
    # First: a webhook may answer with any status, and a policy with some.
    if refused := who_refused(said, verb, namespace):
        denied = _QuotaUsedUp if is_of_a_quota(said) else DeliveryDenied
        return denied(f"{who}: {refused}; it is tried again")
    match error.status:
        case 0:
            return DeliveryUnavailable(f"{who}: the API server did not answer; it is tried again")
        case 404:
            return _Missing(who)
        case 409:
            changed = _Taken if verb == "create" else DeliveryUnavailable
            return changed(f"{who}: it changed in the meantime; reading it again")
        case 401:
            return DeliveryDenied(f"{who}: the API server rejects the operator's token; check its ServiceAccount")
        case 403:
            return DeliveryDenied(
                f"{who}: the operator's ServiceAccount may not {verb} Secrets in namespace {namespace}, or an "
                "admission plug-in forbids this one; check its role and the policies; it is tried again"
            )
        case 400 | 413 | 422 if fields := _fields(error):
            return DeliveryRefused(
                f"{who}: the API server refuses it because of: {', '.join(fields)}; correct target of the RotatedSecret"
            )
        case 400 | 413 | 422:
            return DeliveryDenied(
                f"{who}: the API server refuses it ({error.status}) and names no field, as an admission policy does; "
                "ask who runs the cluster which one, or correct target of the RotatedSecret; it is tried again"
            )
        case status:
            failed = which_failed(said) or f"the API server answered {status}"
            return DeliveryUnavailable(f"{who}: {failed}; it is tried again")


def _fields(error: ClusterError) -> list[str]:
    causes = (error.answer.get("details") or {}).get("causes") or ()
    # Without a key of the data, which is one of the secret value and may be anything.
    fields = [str(cause.get("field")) for cause in causes if cause.get("field")]
    return sorted({"data" if field.startswith("data[") else field for field in fields})
