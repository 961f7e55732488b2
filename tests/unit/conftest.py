"""Thousands of short tests: what they cost beside themselves counts."""

from __future__ import annotations

import gc

# Collecting garbage as often as a server should takes a tenth of the time of these tests.
gc.set_threshold(200_000, 50, 50)
