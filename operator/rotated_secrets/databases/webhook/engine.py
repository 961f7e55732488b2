"""The engine that asks a webhook to set and test credentials. One for each resource.

The wire contract is in docs/webhook.md. A webhook has no lock, and cannot lock a user out. Instead of the lock, a
receiver can tell every request from older ones, and setting twice has the effect of setting once.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import stamina

from rotated_secrets.api.rotation import Rights, Strategy
from rotated_secrets.databases.base import AdminSession, PasswordLimits, Refused, RightsReport, Server, Users
from rotated_secrets.databases.base_classes import BaseAdminSession
from rotated_secrets.databases.webhook.answers import Answer, TryAgain, Verb, understood
from rotated_secrets.databases.webhook.receiver import HTTPS_PORT, Receiver
from rotated_secrets.databases.webhook.redaction import Hidden
from rotated_secrets.databases.webhook.signing import SigningKey
from rotated_secrets.databases.webhook.transport import post
from rotated_secrets.json_object import BYTE_ORDER_MARK, is_standard
from rotated_secrets.values import Arn, Credential, SecretValue, VersionId

CONTRACT = "rotated_secrets.v1"
"""Begins the type of every request. What receivers rely on does not change under this name."""
CALL_SECONDS = 15.0
"""What one request may take with all its repetitions."""
ATTEMPTS = 3
LONGEST_PAUSE = 2.0
"""Seconds that a repetition waits, where the receiver asks for it; what asks for more is left to the next look."""

_NAMESPACE = uuid.UUID("0d9e4a0c-6f52-5b7c-9a53-6d1c1d3a7e55")
"""Never changes: two operators that send the same request must give it the same id."""


@dataclass(frozen=True)
class Purpose:
    """What the requests are about: the same for all of one look at a resource."""

    namespace: str
    name: str
    strategy: Strategy
    keys: tuple[str, ...]
    """The keys of the value that a rotation replaces; empty where it replaces plain text."""
    users: Users | None
    """The two users, with AlternatingUsers."""
    settled: Collection[VersionId]
    """Versions that had been current before this look: to set one of them is to go back."""


class WebhookEngine:
    """Sends `set` and `test`."""

    default_port = HTTPS_PORT
    strategies = frozenset({Strategy.RANDOM_VALUE, Strategy.SINGLE_USER, Strategy.ALTERNATING_USERS})
    passwords = PasswordLimits()

    call_seconds = CALL_SECONDS

    def __init__(self, receiver: Receiver, key: SigningKey, purpose: Purpose) -> None:
        self._receiver = receiver
        self._key = key
        self._purpose = purpose
        self._was_set: list[VersionId | None] = []
        self._latest = 0

    def check_username(self, username: str) -> None:
        """Accept every name: only the receiver knows which names are valid."""

    def verify(
        self,
        server: Server,
        credential: Credential,
        users: Users,  # noqa: ARG002
        queries: Sequence[str] = (),  # noqa: ARG002 - the spec refuses them beside a webhook
    ) -> list[str]:
        answer = self.call(server, Verb.TEST, credential, str(uuid.uuid4()))
        return [answer.failed_check] if answer.failed_check else []

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:  # noqa: ARG002
        """Connects to nothing: each request is by itself."""
        return _Session(self, server)

    def set(self, server: Server, credential: Credential, rights: Rights) -> RightsReport:
        version = credential.version_id
        request_id = self._id_of_set(credential.arn, version)
        self._was_set.append(version)
        return self.call(server, Verb.SET, credential, request_id, rights).rights

    def call(
        self, server: Server, verb: Verb, credential: Credential, request_id: str, rights: Rights | None = None
    ) -> Answer:
        """Send one request, again under the same id where it did not get through.

        Raises:
            AuthenticationFailed, Refused, Unavailable: see :func:`answers.understood`.
        """
        content = credential.value.fields if credential.value else None
        value = dict(content) if content is not None else credential.value and credential.value.text.reveal()
        body = self._body(verb, credential, rights)
        hidden, whom = Hidden(value), f"webhook {self._receiver}, asked to {verb} {self._whose(credential)},"
        until = time.monotonic() + self.call_seconds
        sent_at = 0

        def signed() -> dict[str, str]:
            # Later than any before it, also within one second: a receiver tells a repetition from a replay by it.
            nonlocal sent_at
            sent_at = self._latest = max(int(time.time()), self._latest, sent_at + 1)
            return self._key.headers(request_id, sent_at, body)

        for attempt in stamina.retry_context(
            on=_pause, attempts=ATTEMPTS, timeout=self.call_seconds, wait_initial=0.2, wait_max=1.0, wait_jitter=0.2
        ):
            with attempt:
                reply = post(server, self._receiver, body, signed, until=until)
                return understood(reply, verb, whom, hidden)
        raise AssertionError("the last attempt returns or raises")

    def _id_of_set(self, arn: Arn | None, version: VersionId | None) -> str:
        """Return the same id for each attempt to set a new version, so that a receiver recognises repetitions.

        Going back to an older version gets a new id each time, because what was done once must then be done again.
        """
        again = version in self._was_set and self._was_set[-1] != version
        if again or version in self._purpose.settled:
            return str(uuid.uuid4())
        return str(uuid.uuid5(_NAMESPACE, f"{arn}|{version}"))

    def _body(self, verb: Verb, credential: Credential, rights: Rights | None) -> bytes:
        """The same bytes for the same request, with the value as it is written. Raises: Refused."""
        purpose = self._purpose
        users = {"base": purpose.users.base, "clone": purpose.users.clone} if purpose.users else None
        data = {
            "resource": {"namespace": purpose.namespace, "name": purpose.name},
            "secret": {"arn": credential.arn, "versionId": credential.version_id},
            "strategy": purpose.strategy,
            "keys": purpose.keys,
            "users": users,
            **({"rights": rights} if rights is not None and users else {}),
        }
        request = json.dumps({"type": f"{CONTRACT}.{verb}", "data": data})
        # Half of a surrogate pair becomes the escape that JSON has for it.
        return f'{request[:-2]}, "value": {_written(credential.value)}}}}}'.encode(errors="backslashreplace")

    def _whose(self, credential: Credential) -> str:
        return f"the credential of user {credential.username}" if credential.username else "the value"


class _Session(BaseAdminSession):
    """Stands for an admin's session. It holds no connection and no lock."""

    def __init__(self, engine: WebhookEngine, server: Server) -> None:
        self._engine = engine
        self._server = server

    def close(self) -> None:
        """There is no connection to close."""

    def try_lock(self, base_user: str) -> bool:  # noqa: ARG002
        """Succeed without a lock: two operators at once send the same requests, under the same ids."""
        return True

    def check_users(self, users: Users) -> None:
        """The receiver knows its users, and may refuse."""

    def set_password(
        self,
        users: Users,  # noqa: ARG002
        credential: Credential,
        rights: Rights,
        keep: Credential | None = None,  # noqa: ARG002 - DualPassword is none of its strategies
    ) -> RightsReport:
        return self._engine.set(self._server, credential, rights)

    def disable_login(self, user: str) -> None:
        raise Refused(
            f"a webhook cannot lock a user out; user {user} keeps the new password, if the receiver has set it"
        )

    def sessions_of(self, user: str) -> None:  # noqa: ARG002
        return None


def _written(value: SecretValue | None) -> str:
    """Return a value as JSON: an object as it is written, any other text as a string. Raises: Refused."""
    if value is None:
        return "null"
    text = value.text.reveal()
    if value.fields is None:
        return json.dumps(text)
    if not is_standard(text):
        raise Refused(
            "the secret value holds a number that JSON does not have (NaN, Infinity), and cannot be sent to a webhook; "
            "correct it"
        )
    return text.removeprefix(BYTE_ORDER_MARK).strip()


def _pause(error: Exception) -> bool | float:
    """Whether to send it again and, where the receiver says so, after how many seconds."""
    if not isinstance(error, TryAgain):
        return False
    if error.after is None:
        return True
    return max(error.after, 0.1) if error.after <= LONGEST_PAUSE else False
