"""What a shell offers when a person presses TAB: names out of the cluster, as far as it answers soon.

Whatever goes wrong is not told here, for nobody asked anything yet: there is nothing to offer then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import typer

PATIENCE = 3.0
"""Seconds that a person waits for TAB."""


def names(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Those in the namespace that is meant and not named yet, with what they are."""
    already = set(ctx.params.get("names") or ())
    with contextlib.suppress(Exception):
        from rotated_secrets.cli.resources import Resources  # noqa: PLC0415

        given = ctx.params
        resources = Resources.connect(
            given.get("kubeconfig"), given.get("context"), given.get("namespace"), timeout=PATIENCE
        )
        for each in resources.listed():
            name = each["metadata"]["name"]
            if name.startswith(incomplete) and name not in already:
                yield name, each.get("spec", {}).get("rotation", {}).get("strategy", "")


def contexts(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Of the kubeconfig."""
    with contextlib.suppress(Exception):
        from rotated_secrets.cli import kubeconfig  # noqa: PLC0415

        yield from (each for each in kubeconfig.contexts(ctx.params.get("kubeconfig")) if each.startswith(incomplete))


def namespaces(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Those with RotatedSecrets in them: every namespace may not be the person's to list."""
    with contextlib.suppress(Exception):
        from rotated_secrets.cli.resources import Resources  # noqa: PLC0415

        resources = Resources.connect(ctx.params.get("kubeconfig"), ctx.params.get("context"), None, timeout=PATIENCE)
        found = {each["metadata"]["namespace"] for each in resources.listed(everywhere=True)}
        yield from sorted(each for each in found if each.startswith(incomplete))
