"""A client that logs in with whatever is delivered, again and again, as a pod does that never keeps a connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from sandbox.applications.base import Account, LoginFailed

SHARE = 0.25
"""How much of the time it knocks: the rest of the machine is for those whom it watches."""


class Client:
    """Logs in while the ``with`` lasts; its end asserts that it did, and was never refused."""

    def __init__(self, held: Callable[[], Account], log_in: Callable[[Account], None]) -> None:
        self._held = held
        self._log_in = log_in
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)
        self.logins = 0
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()
        if error is None:
            assert not self.failures, self.failures[0]
            assert self.logins

    def _go(self) -> None:
        while True:
            held, began = self._held(), time.monotonic()
            try:
                self._log_in(held)
            except LoginFailed as error:
                # What was delivered while we knocked is another matter: a pod, too, reads its Secret again.
                if self._held() == held:
                    self.failures.append(str(error))
            else:
                self.logins += 1
            if self._ending.wait((time.monotonic() - began) * (1 / SHARE - 1)):
                return
