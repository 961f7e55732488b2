"""The first requests to the cluster: log what is missing, wait for it for a limited time, then fill the index."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from rotated_secrets.api.key import Key
from rotated_secrets.api.names import GROUP, PLURAL
from rotated_secrets.cells import CellFailed, Cells
from rotated_secrets.cells.limits import MIB
from rotated_secrets.cluster import Cluster, ClusterError, Forbidden, NotFound
from rotated_secrets.cluster_access import configuration
from rotated_secrets.controller.journal import Journal
from rotated_secrets.controller.process.leader import Leader, leaders_in
from rotated_secrets.controller.settings import InvalidSettings, Settings
from rotated_secrets.controller.watch.handlers import Handlers
from rotated_secrets.controller.watch.resources import Resources

log = logging.getLogger(__name__)

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""The memory limit of this container. Source: "Control Group v2", Linux kernel documentation."""
OWN_MEMORY = 200 * MIB
"""Bytes for the operator and the process that cells are forked from, with a thousand RotatedSecrets."""
PAUSE = 2.0
"""Seconds between two checks."""


class NotUsable(Exception):
    """The cluster or this machine cannot be used; the message says what is missing."""


def check_lease_namespace(settings: Settings) -> None:
    """Refuse to guess where the Lease is: in any other namespace, this would be a second operator that works.

    Raises:
        InvalidSettings: it is not known; the message says who leads in the cluster.
        NoCluster: no kubeconfig and no ServiceAccount name the API server.
    """
    if settings.lease_namespace:
        return
    found = configuration(settings.kubeconfig, settings.kube_context)
    cluster = Cluster(found, timeout=settings.api_timeout, connections=1, retries=0)
    try:
        leaders = ", ".join(leaders_in(cluster))
        who = f"there leads now: {leaders}" if leaders else "no operator was found leading there"
    except ClusterError as error:
        who = f"who leads there could not be found out: {error}"
    finally:
        cluster.close()
    raise InvalidSettings(
        f"--lease-namespace: outside of a pod, write the namespace of the Lease by which one of all operators of the "
        f"cluster at {found.host} leads; with another Lease, this one would work beside it; {who}"
    )


def check_memory(cells_memory: int, limit_file: Path = CGROUP_LIMIT) -> None:
    """Warn where the container's limit is lower than what the operator and its cells may use: all would be ended."""
    try:
        limit = int(limit_file.read_text())
    except (OSError, ValueError):
        return  # there is none, or none to be seen
    if limit < cells_memory + OWN_MEMORY:
        log.warning(
            "the container's memory limit of %d MiB is less than --cells-memory (%d MiB) and %d MiB for the operator; "
            "one database server could have the whole container ended: raise the limit, or lower --cells-memory",
            *(size // MIB for size in (limit, cells_memory, OWN_MEMORY)),
        )


async def first_contact(
    cells: Cells, resources: Resources, leader: Leader, journal: Journal, handlers: Handlers, timeout: float
) -> int:
    """Start what cells are forked from and, meanwhile, wait for a usable cluster and fill the index.

    Returns:
        The number of RotatedSecrets.

    Raises:
        NotUsable: one of both cannot be used; the other is not waited for.
        ClusterError: the RotatedSecrets cannot be listed.
    """

    async def known() -> int:
        await wait_until_usable(resources, leader, journal, timeout)
        return await asyncio.to_thread(fill_index, resources, handlers)

    _, count = await asyncio.gather(asyncio.to_thread(start_cells, cells), known())
    return count


def start_cells(cells: Cells) -> None:
    """Start what cells are forked from. Blocks.

    Raises:
        NotUsable: it does not start here.
    """
    try:
        landlock = cells.start()
    except CellFailed as failed:
        raise NotUsable(f"a process for database clients {failed}") from None
    if landlock:
        log.info(
            "database clients, webhooks and templates run in processes of their own, confined by Landlock %d", landlock
        )
    else:
        log.warning(
            "this kernel has no Landlock: a database client that a server took over could read the operator's files; "
            "see docs/security.md"
        )


async def wait_until_usable(resources: Resources, leader: Leader, journal: Journal, timeout: float) -> None:
    """Wait until the API server answers, the CRD exists and permissions suffice, for at most ``timeout`` seconds.

    Raises:
        NotUsable: something is still missing.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            await asyncio.to_thread(resources.check_access)
            await asyncio.to_thread(leader.check_access)
            await asyncio.to_thread(journal.check_access)
        except ClusterError as error:
            missing = _advice(error)
            if time.monotonic() >= deadline:
                raise NotUsable(f"{missing}; gave up after {timeout:.0f} s") from error
            log.warning("%s; waiting for it", missing)
            await asyncio.sleep(PAUSE)
        else:
            return


async def load_journal(journal: Journal) -> list[Key]:
    """Read which rotations are unfinished, however long the API server takes. Returns their RotatedSecrets."""
    while True:
        try:
            return await asyncio.to_thread(journal.load)
        except ClusterError as error:
            log.warning("could not read the journal; tries again in %.0f s: %s", PAUSE, error)
            await asyncio.sleep(PAUSE)


def fill_index(resources: Resources, handlers: Handlers) -> int:
    """Add every RotatedSecret to the index and the work queue, before work starts. Blocks.

    Returns:
        The number of RotatedSecrets.
    """
    count = 0
    for page in resources.pages():
        for obj in page:
            handlers.rotated_secret(None, obj)
            count += 1
    return count


def _advice(error: ClusterError) -> str:
    if isinstance(error, NotFound):
        return (
            f"the CustomResourceDefinition {PLURAL}.{GROUP} is not installed; apply crds/rotatedsecrets.yaml ({error})"
        )
    if isinstance(error, Forbidden):
        return f"a permission is missing; grant it to the operator's ServiceAccount ({error})"
    return str(error)
