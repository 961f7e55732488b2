"""``rotate``, ``resync``, ``suspend`` and ``resume``: what a person asks the operator for.

Requests are annotations of a fresh value, which acts once; see "Annotations and labels" in docs/reference.md.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from rotated_secrets.api.names import RESYNC_ANNOTATION, ROTATE_ANNOTATION
from rotated_secrets.cli import progress
from rotated_secrets.cli.answers import FAILED, Answer, Outcome, exit_code
from rotated_secrets.cli.asked import Asked, Judge
from rotated_secrets.cli.options import (
    All,
    Context,
    Kubeconfig,
    Names,
    Namespace,
    OutputFormat,
    Selector,
    Timeout,
    Wait,
    chosen,
    connect,
    screen_of,
    seconds,
)
from rotated_secrets.cli.problem import Problem
from rotated_secrets.cli.screen import Screen
from rotated_secrets.cli.seen import Seen, read

if TYPE_CHECKING:
    from rotated_secrets.cli.resources import Resources


def rotate(
    ctx: typer.Context,
    names: Names = None,
    selector: Selector = "",
    everything: All = False,
    wait: Wait = False,
    timeout: Timeout = "5m",
    output: OutputFormat = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Ask for a rotation now, once.

    Exit code 0: asked for; with --wait, done.

    Exit code 1: it failed, was rolled back or abandoned, did not end in time, or could not be asked for.

    Exit code 2: it is held, and the reason is told. Nothing is asked of a RotatedSecret that is suspended.

    Ctrl-C ends the waiting, not the rotation; the exit code is 130 then.
    """
    screen, longest = screen_of(ctx, output), seconds(timeout)
    resources = connect(kubeconfig, context, namespace)

    def ask(seen: Seen) -> Asked | Answer:
        if seen.suspended:
            how = f"{screen.program} resume -n {seen.namespace} {seen.name}"
            message = f"is suspended, so nothing was asked for; {how} lets it rotate"
            return Answer(seen.namespace, seen.name, None, Outcome.HELD, message)
        return _annotate(resources, seen, ROTATE_ANNOTATION, progress.of_rotation, "a rotation")

    found = chosen(resources, names, selector, everything)
    asked = [ask(each) for each in found]
    _follow(resources, asked, screen, timeout=longest if wait else None)


def resync(
    ctx: typer.Context,
    names: Names = None,
    selector: Selector = "",
    everything: All = False,
    wait: Wait = False,
    timeout: Timeout = "1m",
    output: OutputFormat = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Have everything looked at anew: the secret's versions, the login, and the Kubernetes Secret. Rotates nothing.

    Exit code 0: asked for; with --wait, looked at and Ready.

    Exit code 1: it is not Ready, was not looked at in time, or could not be asked for.
    """
    screen, longest = screen_of(ctx, output), seconds(timeout)
    resources = connect(kubeconfig, context, namespace)
    asked = [
        _annotate(resources, each, RESYNC_ANNOTATION, progress.of_resync, "a look at everything")
        for each in chosen(resources, names, selector, everything)
    ]
    _follow(resources, asked, screen, timeout=longest if wait else None)


def suspend(
    ctx: typer.Context,
    names: Names = None,
    selector: Selector = "",
    everything: All = False,
    output: OutputFormat = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Let no rotation start until it is resumed. One that has begun is brought to its end; the Secret is kept up."""
    screen = screen_of(ctx, output)
    resources = connect(kubeconfig, context, namespace)
    _set_suspend(resources, chosen(resources, names, selector, everything), screen, to=True)


def resume(
    ctx: typer.Context,
    names: Names = None,
    selector: Selector = "",
    everything: All = False,
    output: OutputFormat = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Let rotations start again. One that has become due meanwhile starts at once."""
    screen = screen_of(ctx, output)
    resources = connect(kubeconfig, context, namespace)
    _set_suspend(resources, chosen(resources, names, selector, everything), screen, to=False)


def _annotate(resources: Resources, seen: Seen, annotation: str, judge: Judge, what: str) -> Asked | Answer:
    """Ask by a value that was never there before, which also tells people when it was."""
    request = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}-{secrets.token_hex(4)}"
    try:
        written = resources.patch(seen.name, {"metadata": {"annotations": {annotation: request}}})
    except Problem as problem:
        return Answer(seen.namespace, seen.name, None, Outcome.FAILED, f"was not asked for {what}: {problem}")
    return Asked(request, read(written), written["metadata"]["resourceVersion"], judge, what, since=time.monotonic())


def _follow(resources: Resources, asked: Sequence[Asked | Answer], screen: Screen, *, timeout: float | None) -> None:
    """Tell what came of each; ``timeout`` is None where nobody waits."""
    answers: dict[str, Answer] = {}

    def done(answer: Answer) -> None:
        answers[answer.name] = answer
        if not answer.is_good:
            screen.note(answer.line())
        elif screen.output is None:
            screen.show(answer.line())

    waiting = [each for each in asked if isinstance(each, Asked)]
    for each in asked:
        if isinstance(each, Answer):
            done(each)
        elif timeout is None:
            done(each.answer(Outcome.ASKED, f"was asked for {each.what}"))
    if timeout is not None and waiting:
        from rotated_secrets.cli.waiting import wait  # noqa: PLC0415 - its moving pictures are slow to load

        wait(resources, waiting, screen, timeout=timeout, done=done)
    if screen.output:
        names = [each.name if isinstance(each, Answer) else each.before.name for each in asked]
        screen.records([answers[name].record() for name in names])
    raise typer.Exit(exit_code(answers.values()))


def _set_suspend(resources: Resources, chosen_ones: Sequence[Seen], screen: Screen, *, to: bool) -> None:
    records: list[dict[str, Any]] = []
    for before in chosen_ones:
        try:
            seen = read(resources.patch(before.name, {"spec": {"rotation": {"suspend": to}}}))
        except Problem as problem:
            what = f"was not {'suspended' if to else 'resumed'}: {problem}"
            screen.note(Answer(before.namespace, before.name, None, Outcome.FAILED, what).line())
            continue
        records.append({"namespace": seen.namespace, "name": seen.name, "suspended": seen.suspended})
        word = "suspended" if to else "resumed"
        if before.suspended is to:
            word = "was suspended already" if to else "was not suspended"
        if screen.output is None:
            screen.show(Text(f"{seen} {word}{_what_follows(before, seen)}"))
    if screen.output:
        screen.records(records)
    if len(records) < len(chosen_ones):
        raise typer.Exit(FAILED)


def _what_follows(before: Seen, seen: Seen) -> str:
    if seen.suspended and seen.claim is not None and seen.claim.version_id is not None:
        return f"; the rotation that has begun, at {seen.claim.step}, is brought to its end"
    overdue = seen.next_rotation is not None and seen.next_rotation <= datetime.now(UTC)
    return "; a rotation has become due meanwhile, and starts now" if before.suspended and overdue else ""
