"""The operator process from start to end, and its exit codes."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import Final

from rotated_secrets.cells import hide_memory
from rotated_secrets.cluster import ClusterError
from rotated_secrets.cluster_access import NoCluster
from rotated_secrets.controller.process.probes import CannotServe
from rotated_secrets.controller.process.replica import Replica
from rotated_secrets.controller.process.shutdown import Ended
from rotated_secrets.controller.process.startup import NotUsable, check_lease_namespace
from rotated_secrets.controller.services import Reconciler
from rotated_secrets.controller.settings import InvalidSettings, Settings
from rotated_secrets.observability import logs

log = logging.getLogger(__name__)

CANNOT_GO_ON, BAD_SETTINGS = 1, 2
"""Exit codes other than 0, which means that the process was asked to stop."""
SWITCH_INTERVAL: Final = 0.0005
"""Seconds for which one thread computes while others wait to. With Python's own 5 ms, a thread that makes 60 short
calls while two others compute takes ten times as long as with this; all together get as much done."""


def run(settings: Settings, reconciler: Reconciler) -> int:
    """Run until SIGTERM, SIGINT or an error that the operator cannot continue after. Returns the exit code."""
    hide_memory()
    logs.configure(settings.log_format, settings.log_level)
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        check_lease_namespace(settings)
        ended, drained = asyncio.run(_run(settings, reconciler))
    except InvalidSettings as error:
        log.error("%s", error)
        return BAD_SETTINGS
    except (NoCluster, NotUsable, ClusterError, CannotServe) as error:
        log.error("%s", error)
        return CANNOT_GO_ON
    except Exception:
        # Logged here and not by Python, which would print values that the exception's message quotes.
        log.exception("the operator has failed")
        return CANNOT_GO_ON
    if not drained:
        # Abandoned calls still occupy threads, and Python would wait for these at a normal exit.
        logging.shutdown()
        os._exit(ended.code)
    return ended.code


async def _run(settings: Settings, reconciler: Reconciler) -> tuple[Ended, bool]:
    replica = Replica(settings, reconciler)
    try:
        await replica.watch()
        await replica.lead()
        await replica.work()
    except Ended as ended:
        return ended, await replica.stop(drain_timeout=0 if ended.at_once else settings.drain_timeout)
    except BaseException:
        await replica.stop(drain_timeout=0)
        raise
