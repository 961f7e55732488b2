"""The loop of a rotation: observe, plan, act, report. Everything that drives a rotation uses it.

The plan decides and the steps act; this module holds the loop around them, the handling of each kind of error, and the
report at the end. Knows other packages only by protocols (:mod:`rotated_secrets.rotation.ports`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace

from rotated_secrets.databases.base import DatabaseError, Unavailable
from rotated_secrets.delivery.errors import DeliveryError
from rotated_secrets.rotation.actions import Action, Doing, Hold, Retry, Sleep, Waiting
from rotated_secrets.rotation.clock_errors import without_future_times
from rotated_secrets.rotation.observation import Login, Observation, Terms
from rotated_secrets.rotation.plan import plan
from rotated_secrets.rotation.ports import LookAgain, Ports
from rotated_secrets.rotation.report import final_status
from rotated_secrets.rotation.rollout import restarts_retried_at
from rotated_secrets.rotation.steps import Steps
from rotated_secrets.rotation.unfinished import after_failure
from rotated_secrets.secretstores.base import StoreError
from rotated_secrets.values import InvalidSecretValue

STALE_AFTER = 0.5
"""Seconds after which the target Secret is read again before a rotation continues."""


class TryAgain(Exception):
    """A run ended early, for a reason that is already reported: run again after a pause."""

    def __init__(self, message: str, not_before: float = 0.0) -> None:
        super().__init__(message)
        self.not_before = not_before
        """Seconds before which another run cannot succeed."""


class Run:
    """One run over one secret, from the first observation until the plan waits. Every method may block.

    A run has two phases: :meth:`advance` without a database and, if the plan needs one, with it. In between the caller
    waits for a free slot at the database's host.
    """

    def __init__(self, terms: Terms, seen: Observation, ports: Ports, *, generation: int) -> None:
        """``seen`` is the first observation; its target Secret was just read. ``generation`` is the resource's."""
        self.terms = terms
        self.seen = seen
        self.waiting: Waiting | None = None
        """How the plan ended; None while there is more to do."""
        self._ports = ports
        self._generation = generation
        self._observed_at = time.monotonic()
        self._not_before = 0.0
        self._trouble = ""
        self._steps = Steps(terms, ports)

    def next_action(self) -> Action:
        """Ask the plan."""
        now = self._ports.now()
        self.seen = without_future_times(self.seen, now)  # each time: the clock may be set at any moment
        return plan(self.seen, self.terms, now)

    def advance(self, *, database: bool) -> bool:
        """Act until the plan waits or, without ``database``, until it needs one. Returns whether it waits.

        Raises:
            TryAgain: the run has ended; the reason is reported.
            Unavailable: the database does not answer; this is reported, and :meth:`conclude` may follow.
        """
        if database:
            self._refresh_stale_target()
        while self.waiting is None:
            if not self.step(database=database):
                return False
        return True

    def step(self, *, database: bool = True) -> bool:
        """Do the next action, or store how the plan waits. Returns False if the action needs a database.

        Raises: as :meth:`advance`.
        """
        action = self.next_action()
        if isinstance(action, Waiting):
            self.waiting = action
        elif action.needs_database and not database and self.terms.has_database:
            return False
        else:
            self._act(action)
        return True

    def conclude(self) -> Hold | Sleep:
        """Write the status at the end of the run, and return how long to wait.

        Raises:
            TryAgain: a temporary obstacle stopped the run.
        """
        waiting = self.waiting
        if waiting is None:
            raise TryAgain(self._trouble)
        now, seen = self._ports.now(), self.seen
        self._ports.guard()
        self._ports.reports.concluding(seen)
        with self._errors_final_status():
            status = final_status(seen, self.terms, waiting, generation=self._generation, now=now)
            self._ports.reports.concluded(status)  # also where the status cannot be written
            self._ports.status.write(status)
        if isinstance(waiting, Retry):
            raise TryAgain(waiting.message, self._not_before)
        if seen.login is Login.UNREACHABLE:
            raise TryAgain(seen.login_message, self._not_before)
        return self._with_restarts(waiting)

    def database_is_unreachable(self, message: str, for_seconds: float) -> None:
        """Continue without the database; a retry cannot succeed within ``for_seconds``."""
        self._not_before = for_seconds
        self.seen = replace(self.seen, login=Login.UNREACHABLE, login_message=message)

    def raise_if_unreachable(self) -> None:
        """Raises: Unavailable, if a login found that the server does not answer."""
        if self.seen.login is Login.UNREACHABLE:
            raise Unavailable(self.seen.login_message)

    def close(self) -> None:
        """Close the admin session, which releases its lock, and what else is open at the database."""
        self._steps.close()
        if self._ports.database is not None:
            self._ports.database.close()

    def _act(self, action: Doing) -> None:
        with self._errors_final_status(), self._ports.reports.acting(action):
            self.seen = self._steps.act(action, self.seen)
        self._ports.reports.acted(action, self.seen)

    def _refresh_stale_target(self) -> None:
        """Read the target Secret again after a wait: what pods use now decides whether a password may change."""
        target, waited = self._ports.target, time.monotonic() - self._observed_at
        if target is not None and self.seen.claim is not None and waited > STALE_AFTER:
            with self._errors_final_status():
                self.seen = replace(self.seen, target=target.look_again(self.seen.current))

    def _with_restarts(self, waiting: Hold | Sleep) -> Hold | Sleep:
        """Shorten the wait if restarts that failed are due to be tried again."""
        again = restarts_retried_at(self.seen, self._ports.now())
        if again is None:
            return waiting
        until = waiting.until if isinstance(waiting, Sleep) else None
        return Sleep(min(again, until) if until else again)

    @contextlib.contextmanager
    def _errors_final_status(self) -> Iterator[None]:
        """Report errors and end the run by TryAgain. Errors about leadership pass through."""
        reports = self._ports.reports
        try:
            yield
        except LookAgain as error:
            raise TryAgain(str(error)) from None
        except (StoreError, DatabaseError, DeliveryError, InvalidSecretValue) as error:
            reports.failed(error, after_failure(self.seen, self.terms, error))
            if isinstance(error, Unavailable):
                self._trouble = str(error)
                raise
            raise TryAgain(str(error)) from error
