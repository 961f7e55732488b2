"""What a run of the rotation loop reports, kept for tests, and places where a test may step in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from rotated_secrets.api.status import ConditionType, RotatedSecretStatus
from rotated_secrets.rotation.actions import Doing
from rotated_secrets.rotation.observation import Observation
from rotated_secrets.rotation.ports import PasswordSet
from rotated_secrets.rotation.report import Finding


@dataclass
class Recorded:
    """Has the protocol ``Reports``."""

    passwords: list[PasswordSet] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    conclusions: list[Observation] = field(default_factory=list)
    """What was known at the end of each run."""
    before: Callable[[Doing], object] = lambda action: None
    """Called before each action; may raise."""
    after: Callable[[Doing, Observation], object] = lambda action, seen: None
    """Called after each action, with what is known then; may raise."""

    @contextmanager
    def acting(self, action: Doing) -> Iterator[None]:
        self.before(action)
        yield

    def acted(self, action: Doing, seen: Observation) -> None:
        self.after(action, seen)

    def set_password(self, report: PasswordSet) -> None:
        self.passwords.append(report)

    def failed(self, error: Exception, findings: Mapping[ConditionType, Finding]) -> None:
        self.errors.append(f"{type(error).__name__}: {error}")

    def concluding(self, seen: Observation) -> None:
        self.conclusions.append(seen)

    def concluded(self, status: RotatedSecretStatus) -> None:
        return
