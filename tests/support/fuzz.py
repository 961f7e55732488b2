"""How long the models of a rotation are run: the same examples each time, or fresh ones for as long as one likes.

``make fuzz`` sets what is read here.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from rotated_secrets.api.rotation import Strategy
from tests.support.examples import FRESH, examples
from tests.support.world import OURS

_STRATEGY = os.environ.get("FUZZ_STRATEGY")
STRATEGIES = [Strategy(_STRATEGY)] if _STRATEGY else OURS
"""Those that are tried."""


def model_settings(max_examples: int, steps: int) -> settings:
    """Settings of a state machine: so many examples, always the same, or ``FUZZ_EXAMPLES`` fresh ones."""
    return examples(
        max_examples, stateful_step_count=60 if FRESH else steps, suppress_health_check=[HealthCheck.too_slow]
    )
