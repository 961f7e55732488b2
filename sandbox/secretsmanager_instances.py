"""Where the sandbox's RDS instances answer: the end points that moto makes up lead nowhere.

An instance with the tag ``sandbox:host`` has that host for its end point, so that a real server can stand in for it.
"""

from __future__ import annotations

from moto.rds import models

HOST = "sandbox:host"

_made_up = models.DBInstance.address


def install() -> None:
    """Make moto look at the tag; call it before the first request."""
    models.DBInstance.address = property(_address)  # type: ignore[method-assign, assignment]


def _address(instance: models.DBInstance) -> str:
    tags = {tag["Key"]: tag["Value"] for tag in instance.tags}
    made_up: str = _made_up.fget(instance)  # type: ignore[attr-defined]
    return str(tags.get(HOST, made_up))
