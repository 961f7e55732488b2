"""``run``: the operator itself. The only part of the command line that knows the controller."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo

from rotated_secrets.controller.process.main import run
from rotated_secrets.controller.reconcile.reconciler import reconciler
from rotated_secrets.controller.settings import InvalidSettings, Settings, flag, variable

app = typer.Typer(add_completion=False)


def run_operator(**given: str | None) -> None:
    """Run the operator, until it is told to stop.

    Lengths of time may be written as 90s, 10m or 4h.

    Exit code 0: it was told to stop, by SIGTERM or SIGINT.

    Exit code 1: it cannot go on, because another replica took the lead or the cluster cannot be worked with.

    Exit code 2: a setting makes no sense.
    """
    try:
        settings = Settings.parse(dict(given))
    except InvalidSettings as error:
        typer.echo(f"rotated-secrets: {error}", err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(run(settings, reconciler))


def _as_option(name: str) -> inspect.Parameter:
    """One setting as a flag that takes a text: what it may say is decided, and told, by the settings alone."""
    field = Settings.model_fields[name]
    extra: Any = field.json_schema_extra
    option = typer.Option(
        flag(name),
        envvar=variable(name),
        help=f"{field.description}{_default(field)}",
        rich_help_panel=extra["panel"],
        show_default=False,
        metavar="TEXT",
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
    )


def _default(field: FieldInfo) -> str:
    """A default as a person would write it; nothing where the description says what happens without."""
    value = field.default
    if value in (None, "", ()):
        return ""
    if isinstance(value, float):
        unit, size = next(each for each in (("h", 3600), ("m", 60), ("s", 1)) if value % each[1] == 0)
        return f" Default: {value // size:g}{unit}."
    return f" Default: {','.join(value) if isinstance(value, tuple) else value}."


_parameters = [_as_option(name) for name in Settings.model_fields]
run_operator.__signature__ = inspect.Signature(_parameters)  # type: ignore[attr-defined]
run_operator.__annotations__ = {each.name: each.annotation for each in _parameters}
app.command("run")(run_operator)
