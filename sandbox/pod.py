"""A client that lives as a pod does: it logs in with whatever its mounted Secret says, again and again.

What the kubelet does to a mounted Secret, a watch does here. Every login is counted, and every failed one remembered.
"""

from __future__ import annotations

import base64
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

from urllib3.exceptions import HTTPError

from sandbox.application import account_in
from sandbox.applications.base import Account, DatabaseSide, LoginFailed
from sandbox.kubernetes.client import Api, Json, StatusError

LOGINS_A_SECOND = 10
_WATCH_SECONDS = 5


class Pod:
    """Logs in ten times a second, or as often as it is told, while the ``with`` lasts.

    It goes to the server itself, past the operator's proxy.
    """

    def __init__(
        self,
        api: Api,
        side: DatabaseSide,
        namespace: str,
        secret_name: str,
        logins_a_second: float = LOGINS_A_SECOND,
    ) -> None:
        self._api = api
        self._side = side
        self._secrets = f"/api/v1/namespaces/{namespace}/secrets"
        self._name = secret_name
        self._every = 1 / logins_a_second
        self._mounted: dict[str, str] = {}
        self._ending = threading.Event()
        self._following = threading.Thread(target=self._follow, daemon=True)
        self._logging_in = threading.Thread(target=self._log_in_again, daemon=True)
        self.logins_by_account: Counter[Account] = Counter()
        self.failures: list[str] = []

    @property
    def logins(self) -> int:
        return self.logins_by_account.total()

    @property
    def logins_by_user(self) -> Counter[str]:
        by_user: Counter[str] = Counter()
        for account, logins in tuple(self.logins_by_account.items()):
            by_user[account.user] += logins
        return by_user

    def __enter__(self) -> Self:
        self._following.start()
        self._logging_in.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._logging_in.join()  # the other one only reads, and ends with its watch

    def _follow(self) -> None:
        while not self._ending.is_set():
            try:
                self._mount(self._api.get(f"{self._secrets}/{self._name}"))
                selector = f"metadata.name={self._name}"
                for event in self._api.watch(self._secrets, seconds=_WATCH_SECONDS, fieldSelector=selector):
                    if event["type"] in ("ADDED", "MODIFIED"):
                        self._mount(event["object"])
                    if self._ending.is_set():
                        return
            except (StatusError, OSError, HTTPError):
                self._ending.wait(0.1)  # not there yet, or the API server is away: what is mounted stays

    def _mount(self, secret: Json) -> None:
        self._mounted = {key: base64.b64decode(text).decode() for key, text in (secret.get("data") or {}).items()}

    def _log_in_again(self) -> None:
        due = time.monotonic()
        while not self._ending.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._every, time.monotonic())
            if self._mounted:
                self._log_in(self._mounted)

    def _log_in(self, mounted: dict[str, str]) -> None:
        account = account_in(mounted)
        try:
            self._side.log_in(account)
        except LoginFailed as error:
            self.failures.append(str(error))
        else:
            self.logins_by_account[account] += 1
