"""The end of the operator: the first reason counts, from any thread, and ends what waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

from rotated_secrets.observability.logs import describe

log = logging.getLogger(__name__)
T = TypeVar("T")


class Ended(Exception):
    """The operator ends now, with this exit code."""

    def __init__(self, code: int, *, at_once: bool = False) -> None:
        super().__init__(f"exit code {code}")
        self.code = code
        self.at_once = at_once
        """Whether running work must be cancelled instead of finished."""


class Shutdown:
    """Set once. Make it in the event loop that waits for it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reason: asyncio.Future[Ended] = self._loop.create_future()

    def __call__(self, code: int, why: str, *, at_once: bool = False) -> None:
        """End the operator. From any thread. Only the first call has an effect."""
        with contextlib.suppress(RuntimeError):  # the loop has already ended
            self._loop.call_soon_threadsafe(self._set, Ended(code, at_once=at_once), why)

    def on_signals(self) -> None:
        """End, with exit code 0, on SIGTERM and SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self, 0, f"{number.name} was received")

    def on_end_of(self, task: asyncio.Task[Any]) -> None:
        """End the operator when this task ends, which should run for ever."""

        def on_done(ended: asyncio.Task[Any]) -> None:
            if not ended.cancelled():
                error = ended.exception()
                log.error("%s has ended", task.get_name(), exc_info=error)
                self(1, f"{task.get_name()} has ended: {describe(error) if error else 'it gave no reason'}")

        task.add_done_callback(on_done)

    async def run_until_ended(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, or cancel it when the operator ends.

        Raises:
            Ended: the operator ended first.
        """
        task = asyncio.ensure_future(work)
        await asyncio.wait((task, self._reason), return_when=asyncio.FIRST_COMPLETED)
        if self._reason.done():
            task.cancel()
            await asyncio.wait((task,))
            raise self._reason.result()
        return task.result()

    async def wait(self) -> NoReturn:
        """Wait until the operator ends.

        Raises:
            Ended: always.
        """
        raise await asyncio.shield(self._reason)

    def _set(self, ended: Ended, why: str) -> None:
        if not self._reason.done():
            log.log(logging.ERROR if ended.code else logging.INFO, "stopping: %s", why)
            self._reason.set_result(ended)
