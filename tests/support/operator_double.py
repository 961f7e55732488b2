"""The real operator process with a reconcile that only tells, on standard output, what it was asked to look at."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from datetime import datetime

from rotated_secrets.api.key import Key
from rotated_secrets.controller.process.main import run
from rotated_secrets.controller.services import Services
from rotated_secrets.controller.settings import Settings
from rotated_secrets.controller.work.queue import Reconcile


def tell(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def reconciler(services: Services) -> Reconcile:
    takes = float(os.environ.get("RECONCILE_TAKES", "0"))

    async def reconcile(key: Key) -> datetime | None:
        services.guard()
        resource = await services.limits.run(services.resources.read, key)
        tell("looked", key, "there" if resource else "gone")
        if takes:
            async with services.limits.host("database", "shop"):
                await services.limits.run(time.sleep, takes)
            await asyncio.sleep(0)
            services.guard()
            tell("finished", key)
        return None

    return reconcile


if __name__ == "__main__":
    sys.exit(run(Settings.parse(dict(each.split("=", 1) for each in sys.argv[1:])), reconciler))
