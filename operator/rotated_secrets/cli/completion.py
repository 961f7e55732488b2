"""What the shell offers for TAB: names from the cluster, if it answers soon.

Errors are not reported here: the shell would print them into the line that is being typed. It offers nothing then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import typer

TIMEOUT = 3.0
"""Seconds that one request may take while a person waits for TAB."""


def names(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Names of RotatedSecrets in the namespace that are not on the command line yet, with their strategies."""
    already = set(ctx.params.get("names") or ())
    with contextlib.suppress(Exception):
        from rotated_secrets.cli.kube.client import RotatedSecretClient  # noqa: PLC0415

        given = ctx.params
        client = RotatedSecretClient.connect(
            given.get("kubeconfig"), given.get("context"), given.get("namespace"), timeout=TIMEOUT
        )
        for each in client.list_all():
            name = each["metadata"]["name"]
            if name.startswith(incomplete) and name not in already:
                yield name, each.get("spec", {}).get("rotation", {}).get("strategy", "")


def contexts(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Contexts of the kubeconfig."""
    with contextlib.suppress(Exception):
        from rotated_secrets.cli.kube import kubeconfig  # noqa: PLC0415

        yield from (each for each in kubeconfig.contexts(ctx.params.get("kubeconfig")) if each.startswith(incomplete))


def namespaces(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Namespaces that have RotatedSecrets. Listing namespaces themselves needs a right that the person may not have."""
    with contextlib.suppress(Exception):
        from rotated_secrets.cli.kube.client import RotatedSecretClient  # noqa: PLC0415

        client = RotatedSecretClient.connect(
            ctx.params.get("kubeconfig"), ctx.params.get("context"), None, timeout=TIMEOUT
        )
        found = {each["metadata"]["namespace"] for each in client.list_all(everywhere=True)}
        yield from sorted(each for each in found if each.startswith(incomplete))
