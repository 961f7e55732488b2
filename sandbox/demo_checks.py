"""What must be so after the demo's rotations, whatever the strategy: in the database and in the store."""

from __future__ import annotations

from collections.abc import Iterator, Set

from sandbox.application import Application
from sandbox.demo_stories import Story


def what_is_wrong(application: Application, story: Story, strangers: Set[str]) -> Iterator[str]:
    """Sentences; none where everything is as it should be. ``strangers`` are the users that were there before."""
    others = application.stack.side.users("") - strangers - application.users() - {application.admin}
    if others:
        yield f"there are users that nobody asked for: {sorted(others)}"
    stages = application.stages()
    if set(stages) != {"AWSCURRENT", "AWSPREVIOUS"} or any(len(versions) != 1 for versions in stages.values()):
        yield f"the stages are {stages}"
    elif stages["AWSCURRENT"] == stages["AWSPREVIOUS"]:
        yield "AWSCURRENT and AWSPREVIOUS are one version"
    else:
        yield from story.wrong(application)
