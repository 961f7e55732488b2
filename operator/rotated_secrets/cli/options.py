"""The flags and arguments that several commands share, and the way from them to the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from rotated_secrets.cli import completion, moments
from rotated_secrets.cli.problem import Problem
from rotated_secrets.cli.screen import Output, Screen
from rotated_secrets.cli.seen import Seen, read

if TYPE_CHECKING:
    from rotated_secrets.cli.resources import Resources

_CLUSTER = "Cluster"

Kubeconfig: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig",
        help="File that says where the cluster is. Default: $KUBECONFIG, else ~/.kube/config, else the pod's own.",
        show_default=False,
        metavar="FILE",
        rich_help_panel=_CLUSTER,
    ),
]
Context: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--context",
        help="Context of that file. Default: its current one.",
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
        help="Namespace to look in. Default: the context's.",
        show_default=False,
        metavar="NAME",
        autocompletion=completion.namespaces,
        rich_help_panel=_CLUSTER,
    ),
]
OutputFormat: TypeAlias = Annotated[
    Output | None,
    typer.Option("--output", "-o", help="Print the result for programs: json or yaml.", show_default=False),
]
Names: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        help="RotatedSecrets, by their names; also as kubectl prints them, rotatedsecret/NAME.",
        show_default=False,
        autocompletion=completion.names,
    ),
]
SomeNames: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        help="RotatedSecrets, by their names. Default: all of the namespace.",
        show_default=False,
        autocompletion=completion.names,
    ),
]
Selector: TypeAlias = Annotated[
    str,
    typer.Option(
        "--selector",
        "-l",
        help="Those whose labels match, as kubectl takes it.",
        metavar="LABELS",
    ),
]
All: TypeAlias = Annotated[bool, typer.Option("--all", help="All RotatedSecrets of the namespace.")]
Wait: TypeAlias = Annotated[bool, typer.Option("--wait", "-w", help="Wait until it has come to an end, and show how.")]
Timeout: TypeAlias = Annotated[
    str, typer.Option("--timeout", help="Longest wait: 90s, 5m, 1h.", metavar="LENGTH", show_default=True)
]


def screen_of(context: typer.Context, output: Output | None) -> Screen:
    return Screen(output, program=context.find_root().info_name or "rotated-secrets")


def seconds(length: str) -> float:
    """Raises Problem where it is no length of time."""
    try:
        return moments.seconds(length)
    except ValueError as error:
        raise Problem(f"--timeout: {error}") from None


def connect(kubeconfig: Path | None, context: str | None, namespace: str | None) -> Resources:
    """Raises Problem."""
    from rotated_secrets.cli.resources import Resources  # noqa: PLC0415 - a second, which --help should not take

    return Resources.connect(kubeconfig, context, namespace)


def plain(name: str) -> str:
    """A name without the kind that kubectl writes before it."""
    return name.rpartition("/")[2]


def chosen(resources: Resources, names: list[str] | None, selector: str, everything: bool) -> list[Seen]:
    """Those that are meant, in the order in which they were named. Raises Problem where one of them is not there."""
    if sum((bool(names), bool(selector), everything)) != 1:
        raise Problem("name the RotatedSecrets, or say which by --selector or --all: one of the three")
    if names:
        return [read(resources.get(each)) for each in dict.fromkeys(map(plain, names))]
    found = [read(each) for each in resources.listed(selector=selector)]
    if not found:
        matching = f" with labels {selector}" if selector else ""
        raise Problem(f"there are no RotatedSecrets in namespace {resources.namespace}{matching}")
    return sorted(found, key=lambda seen: seen.name)
