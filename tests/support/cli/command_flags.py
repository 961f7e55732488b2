"""Read the commands and flags of a typer app."""

from __future__ import annotations

import typer


def flags_by_command(app: typer.Typer) -> dict[str, set[str]]:
    """Flags of each command, long and short."""
    group: typer.core.TyperGroup = typer.main.get_command(app)  # type: ignore[assignment]
    context = typer.Context(group, **group.context_settings)
    found = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        params = command.get_params(context) if name != "run" else []
        found[name] = {each for param in params for each in param.opts if each.startswith("-")}
    return found
