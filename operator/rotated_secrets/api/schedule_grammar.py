"""The grammar of schedule expressions, for the CRD and for the parser. Imports no models, which are slow to import."""

from __future__ import annotations

from typing import Final

RATE_PATTERN: Final = "rate[(]([1-9][0-9]{0,2} days?|[1-9][0-9]{0,4} hours?|[1-9][0-9]{0,6} minutes?)[)]"
CRON_PATTERN: Final = "cron[(][^()]+[)]"
