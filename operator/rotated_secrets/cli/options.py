"""Flags and arguments that several commands share, and the client and printer that follow from them.

Commands import this module whole and write ``options.Namespace``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from rotated_secrets.cli import completion, time_format
from rotated_secrets.cli.errors import CommandError
from rotated_secrets.cli.kube.rotated_secret import RotatedSecretView, read
from rotated_secrets.cli.view.printer import OutputFormat, Printer

if TYPE_CHECKING:
    from rotated_secrets.cli.kube.client import RotatedSecretClient

_CLUSTER = "Cluster"

Kubeconfig: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig",
        help="Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config, else the pod's ServiceAccount.",
        show_default=False,
        metavar="FILE",
        rich_help_panel=_CLUSTER,
    ),
]
Context: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--context",
        help="Context of the kubeconfig. Default: its current context.",
        show_default=False,
        metavar="NAME",
        autocompletion=completion.contexts,
        rich_help_panel=_CLUSTER,
    ),
]
Namespace: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        help="Namespace of the RotatedSecrets. Default: that of the context.",
        show_default=False,
        metavar="NAME",
        autocompletion=completion.namespaces,
        rich_help_panel=_CLUSTER,
    ),
]
Output: TypeAlias = Annotated[
    OutputFormat | None,
    typer.Option("--output", "-o", help="Print the result as JSON or YAML, for programs.", show_default=False),
]
Names: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        help="Names of RotatedSecrets, also as kubectl prints them: rotatedsecret/NAME.",
        show_default=False,
        autocompletion=completion.names,
    ),
]
OptionalNames: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        help="Names of RotatedSecrets. Default: all in the namespace.",
        show_default=False,
        autocompletion=completion.names,
    ),
]
Selector: TypeAlias = Annotated[
    str,
    typer.Option(
        "--selector",
        "-l",
        help="RotatedSecrets with these labels, written as for kubectl.",
        metavar="LABELS",
    ),
]
All: TypeAlias = Annotated[bool, typer.Option("--all", help="All RotatedSecrets in the namespace.")]
Wait: TypeAlias = Annotated[
    bool, typer.Option("--wait", "-w", help="Wait until the request has ended, and show its progress.")
]
Timeout: TypeAlias = Annotated[
    str, typer.Option("--timeout", help="Longest time to wait: 90s, 5m, 1h.", metavar="LENGTH", show_default=True)
]


def printer_for(context: typer.Context, output: OutputFormat | None) -> Printer:
    return Printer(output, program=context.find_root().info_name or "rotated-secrets")


def seconds(duration: str) -> float:
    """Read ``--timeout``. Raises CommandError if it is not a duration."""
    try:
        return time_format.parse_duration(duration)
    except ValueError as error:
        raise CommandError(f"--timeout: {error}") from None


def longest_wait(context: typer.Context, timeout: str, wait: bool) -> float | None:
    """Seconds to wait at most; None without ``--wait``.

    Raises:
        CommandError: ``--timeout`` is not a duration, or would have no effect.
    """
    longest, given = seconds(timeout), context.get_parameter_source("timeout")
    if wait:
        return longest
    if given is not None and given.name != "DEFAULT":
        raise CommandError("--timeout has no effect without --wait; add --wait, or leave --timeout out")
    return None


def connect(kubeconfig: Path | None, context: str | None, namespace: str | None) -> RotatedSecretClient:
    """Raises CommandError."""
    # The Kubernetes library takes a second to import, which --help should not take.
    from rotated_secrets.cli.kube.client import RotatedSecretClient  # noqa: PLC0415

    return RotatedSecretClient.connect(kubeconfig, context, namespace)


def bare_name(name: str) -> str:
    """Cut off the kind that kubectl writes before a name: ``rotatedsecret/orders-db``."""
    return name.rpartition("/")[2]


def select(
    client: RotatedSecretClient, names: list[str] | None, selector: str, everything: bool
) -> list[RotatedSecretView]:
    """Read the resources that the flags select, in the order of their names on the command line.

    Raises:
        CommandError: one of them does not exist, or the flags select none.
    """
    if sum((bool(names), bool(selector), everything)) != 1:
        raise CommandError("select RotatedSecrets by their names, by --selector or by --all: exactly one of the three")
    if names:
        return [read(client.get(each)) for each in dict.fromkeys(map(bare_name, names))]
    found = [read(each) for each in client.list_all(selector=selector)]
    if not found:
        matching = f" with labels {selector}" if selector else ""
        raise CommandError(f"there are no RotatedSecrets in namespace {client.namespace}{matching}")
    return sorted(found, key=lambda resource: resource.name)
