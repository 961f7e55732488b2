"""The operator process from start to end, and what its exit code says."""

from __future__ import annotations

import asyncio
import logging
import os

from rotated_secrets.cluster import ClusterError, NoCluster
from rotated_secrets.controller.process.probes import CannotServe
from rotated_secrets.controller.process.replica import Replica
from rotated_secrets.controller.process.shutdown import Ended
from rotated_secrets.controller.process.startup import NotUsable
from rotated_secrets.controller.services import Reconciler
from rotated_secrets.controller.settings import InvalidSettings, Settings
from rotated_secrets.observability import logs

log = logging.getLogger(__name__)

CANNOT_GO_ON, BAD_SETTINGS = 1, 2
"""Exit codes beside 0, which says that it was told to stop."""


def run(settings: Settings, reconciler: Reconciler) -> int:
    """Run until SIGTERM, SIGINT or something that cannot be gone on with. Returns the exit code."""
    logs.configure(settings.log_format, settings.log_level)
    try:
        ended, drained = asyncio.run(_run(settings, reconciler))
    except InvalidSettings as error:
        log.error("%s", error)
        return BAD_SETTINGS
    except (NoCluster, NotUsable, ClusterError, CannotServe) as error:
        log.error("%s", error)
        return CANNOT_GO_ON
    except Exception:
        # Told here, not by Python, which would print what the exception quotes.
        log.exception("the operator has failed")
        return CANNOT_GO_ON
    if not drained:
        # Calls that nobody waits for any more still hold threads, and Python would wait for those.
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
