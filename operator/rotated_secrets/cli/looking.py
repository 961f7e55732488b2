"""``list``, ``describe`` and ``history``: what a person is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from rotated_secrets.cli import describing, listing, records, timeline
from rotated_secrets.cli.options import (
    All,
    Context,
    Kubeconfig,
    Names,
    Namespace,
    OutputFormat,
    Selector,
    SomeNames,
    chosen,
    connect,
    plain,
    screen_of,
)
from rotated_secrets.cli.problem import Problem
from rotated_secrets.cli.screen import Screen, Tone
from rotated_secrets.cli.seen import read


def show_list(
    ctx: typer.Context,
    names: SomeNames = None,
    everywhere: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="Those of all namespaces that you may list.")
    ] = False,
    selector: Selector = "",
    output: OutputFormat = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """List RotatedSecrets: whether they are ready, who is the active user, and what is due or in the way."""
    screen = screen_of(ctx, output)
    if names and (everywhere or selector):
        raise Problem("a name stands alone: leave --all-namespaces and --selector out")
    resources = connect(kubeconfig, context, namespace)
    objects = (
        [resources.get(plain(each)) for each in names]
        if names
        else resources.listed(everywhere=everywhere, selector=selector)
    )
    found = sorted(map(read, objects), key=lambda seen: (seen.namespace, seen.name))
    if output:
        screen.records([records.summary(each) for each in found])
    elif found:
        screen.show(listing.table(found, _now(), everywhere=everywhere, width=screen.width))
    else:
        where = "in any namespace" if everywhere else f"in namespace {resources.namespace}"
        matching = f" with labels {selector}" if selector else ""
        screen.note(f"there are no RotatedSecrets {where}{matching}")


def describe(
    ctx: typer.Context,
    names: Names = None,
    selector: Selector = "",
    everything: All = False,
    output: OutputFormat = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Tell everything about RotatedSecrets: conditions, versions, past and coming rotations, and what is in the way."""
    from rotated_secrets.cli.due import due_times  # noqa: PLC0415 - reading schedules is what `list` does without

    screen = screen_of(ctx, output)
    resources = connect(kubeconfig, context, namespace)
    now = _now()
    found = [(seen, due_times(seen, now)) for seen in chosen(resources, names, selector, everything)]
    if output:
        screen.records([records.full(seen, due) for seen, due in found])
        return
    for number, (seen, due) in enumerate(found):
        _separate(screen, number)
        screen.show(describing.description(seen, due, now, width=screen.width))


def history(
    ctx: typer.Context,
    names: Names = None,
    selector: Selector = "",
    everything: All = False,
    output: OutputFormat = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show the last rotations of RotatedSecrets, newest first: when, why, whose password, and how they ended."""
    screen = screen_of(ctx, output)
    resources = connect(kubeconfig, context, namespace)
    found = chosen(resources, names, selector, everything)
    if output:
        screen.records([records.history(each) for each in found])
        return
    for number, seen in enumerate(found):
        _separate(screen, number)
        if len(found) > 1:
            screen.show(Text(str(seen), Tone.STRONG))
        screen.show(timeline.past(seen.history, _now()))


def _separate(screen: Screen, number: int) -> None:
    if number:
        screen.show(Text())


def _now() -> datetime:
    return datetime.now(UTC)
