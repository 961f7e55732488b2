"""What must be so after the demo's rotations, looked at from outside: in the database and in the store."""

from __future__ import annotations

from sandbox.application import Application


def what_is_wrong(application: Application, rotations: int, expected: int) -> list[str]:
    """Sentences; none where everything is as it should be."""
    return [*_counted(rotations, expected), *_users(application), *_stages(application)]


def _counted(rotations: int, expected: int) -> list[str]:
    return [] if rotations == expected else [f"there were {rotations} rotations instead of {expected}"]


def _users(application: Application) -> list[str]:
    """Nobody but the server's own superuser, the admin, and the two that alternate."""
    server = application.stack.database
    found = {name for (name,) in server.sql("SELECT rolname FROM pg_roles WHERE NOT starts_with(rolname, 'pg_')")}
    wanted = {application.user, application.clone}
    others = found - {server.admin_user, application.admin}
    return [] if others == wanted else [f"the users are {sorted(others)} instead of {sorted(wanted)}"]


def _stages(application: Application) -> list[str]:
    """AWSCURRENT and AWSPREVIOUS on a version each, with the two users; AWSPENDING on none."""
    stages = application.stages()
    if set(stages) != {"AWSCURRENT", "AWSPREVIOUS"} or any(len(versions) != 1 for versions in stages.values()):
        return [f"the stages are {stages}"]
    if stages["AWSCURRENT"] == stages["AWSPREVIOUS"]:
        return ["AWSCURRENT and AWSPREVIOUS are one version"]
    users = {stage: application.value(stage)["username"] for stage in stages}
    alternate = set(users.values()) == {application.user, application.clone}
    return [] if alternate else [f"the users of the versions are {users}"]
