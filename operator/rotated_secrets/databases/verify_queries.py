"""Run the verify queries of a resource. One loop for all engines; how one query is run is the engine's part.

No message holds the text of a query or anything that it returned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

CUT_AFTER_SECONDS = 1.0
"""How long after the server's own time limit the connection of a query is cut."""


class OutOfTime(Exception):
    """The time of all queries together is used up."""


class SessionOver(Exception):
    """The query ended the session, so no other can run on it. The message completes a sentence about the query."""


@dataclass(frozen=True)
class Query:
    """One verify query, and until when it may run."""

    number: int
    text: str
    end: float
    """On the monotonic clock, the same for all queries."""

    def __str__(self) -> str:
        return f"verify query {self.number}"

    @property
    def left(self) -> float:
        """Seconds until the end, at least a millisecond: some servers take 0 for no limit."""
        return max(self.end - time.monotonic(), 0.001)

    @property
    def is_late(self) -> bool:
        return time.monotonic() >= self.end


class VerifyQueries:
    """All verify queries of one resource, and the time that they may take together, on however many servers."""

    def __init__(self, texts: Sequence[str], seconds: float) -> None:
        self._texts = texts
        self._seconds = seconds
        self._used = 0.0

    def failures(self, run: Callable[[Query], str | None]) -> Iterator[str]:
        """Run each query on one session, and yield a sentence for each that failed.

        ``run`` returns how a query failed, in words that complete a sentence about it, or None where it succeeded.
        It may raise OutOfTime and SessionOver, which end the loop, and Unavailable where the query may succeed later.
        """
        begun = time.monotonic()
        end = begun + self._seconds - self._used
        try:
            for number, text in enumerate(self._texts, start=1):
                query = Query(number, text, end)
                failure = run(query)
                if failure:
                    yield f"{query} {failure}"
        except OutOfTime:
            yield (
                f"verify queries took longer than {self._seconds:g} s together (at query {query.number}); "
                f"make them cheaper"
            )
        except SessionOver as over:
            yield f"{query} {over}"
        finally:
            self._used += time.monotonic() - begun
