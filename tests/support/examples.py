"""How many examples property tests try: always the same in ``make test``, and fresh ones in ``make fuzz``.

What ``make fuzz`` finds becomes an ``@example`` of the test that failed, so that ``make test`` tries it from then on.
"""

from __future__ import annotations

import os
from typing import Any, Final

from hypothesis import settings

FRESH: Final = int(os.environ.get("FUZZ_EXAMPLES") or 0)
"""How many fresh examples each property test tries; 0 where it tries those that it always tries."""


def load_profile() -> None:
    """Make this the default of every property test: a run fails for what changed, and never by chance."""
    # How long an example takes says more about the machine than about the code.
    settings.register_profile(
        "examples",
        max_examples=FRESH or 100,
        derandomize=not FRESH,
        database=None,
        deadline=None,
        print_blob=bool(FRESH),
    )
    settings.load_profile("examples")


def examples(count: int, **more: Any) -> settings:
    """Settings of one property test: so many examples, or as many fresh ones as ``make fuzz`` asks for."""
    return settings(max_examples=FRESH or count, **more)


def are_repeated() -> bool:
    """Whether property tests try the same examples in each run."""
    return settings().derandomize and settings().database is None
