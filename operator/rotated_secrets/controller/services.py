"""The services that a reconcile uses. Made once, by :mod:`rotated_secrets.controller.process.replica`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rotated_secrets.api.key import Key
from rotated_secrets.cluster import Cluster
from rotated_secrets.controller.aws.change_feeds import ChangeFeeds
from rotated_secrets.controller.aws.identities import Identities
from rotated_secrets.controller.journal import Journal
from rotated_secrets.controller.settings import Settings
from rotated_secrets.controller.watch.index import Index
from rotated_secrets.controller.watch.resources import Resources
from rotated_secrets.controller.work.limits import Limits
from rotated_secrets.controller.work.observed_cache import ObservedCache
from rotated_secrets.controller.work.queue import Reconcile
from rotated_secrets.databases.base import Engine
from rotated_secrets.databases.logins import Logins
from rotated_secrets.delivery.rendering import Renderer
from rotated_secrets.observability.events import Events
from rotated_secrets.observability.metrics import Metrics


@dataclass(frozen=True)
class Services:
    """Shared by all reconciles of one operator."""

    settings: Settings
    cluster: Cluster
    resources: Resources
    index: Index
    journal: Journal
    identities: Identities
    feeds: ChangeFeeds
    limits: Limits
    observed: ObservedCache
    logins: Callable[[Engine, str, str], Logins]
    """Makes the logins of one run, for an engine, its name and the namespace."""
    renderer: Renderer
    events: Events
    metrics: Metrics
    guard: Callable[[], None]
    """Call before every side effect, from any thread; raises LeadershipLost."""
    look: Callable[[Key], None]
    """Enqueue a RotatedSecret, from any thread."""

    def look_again(self, keys: Iterable[Key]) -> None:
        """Enqueue RotatedSecrets for which something changed that their objects do not show."""
        for key in keys:
            self.observed.invalidate(key)
            self.look(key)


Reconciler = Callable[[Services], Reconcile]
"""Makes the reconcile of one operator. May raise InvalidSettings."""
