"""``run``: start the operator. The only module of the command line that may import the controller."""

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
    """Run the operator until SIGTERM or SIGINT.

    Lengths of time can be written as 90s, 10m or 4h.

    Exit code 0: stopped by SIGTERM or SIGINT.

    Exit code 1: the operator cannot continue, because another replica has become the leader or the cluster is unusable.

    Exit code 2: a setting is invalid.
    """
    try:
        settings = Settings.parse(dict(given))
    except InvalidSettings as error:
        typer.echo(f"rotated-secrets: {error}", err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(run(settings, reconciler))


def _as_option(name: str) -> inspect.Parameter:
    """Make a flag from a setting. The flag takes any text; only the settings validate it and report errors."""
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
    """Write the default for a person. Empty where the description says what happens without a value."""
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
