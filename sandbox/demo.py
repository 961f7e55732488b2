"""`make demo`: the main job, shown. A database user is rotated four times while a client logs in ten times a second.

The last line it prints says how that went, and its exit code says the same.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from subprocess import CalledProcessError

import yaml

from sandbox.application import RESOURCES, Application, create_application
from sandbox.applications.base import ServerMissing
from sandbox.demo_checks import what_is_wrong
from sandbox.demo_engines import DEMO_ENGINES, DemoEngine
from sandbox.demo_installation import installed_operator, short
from sandbox.demo_screen import Screen
from sandbox.demo_steps import StepWatch
from sandbox.helm import HelmFailed
from sandbox.kubernetes.client import Json
from sandbox.kubernetes.provider import Choice, Cluster, running_cluster
from sandbox.operatorprocess import OperatorDied, OperatorProcess
from sandbox.packages import NotInstalled
from sandbox.pod import LOGINS_A_SECOND, Pod
from sandbox.stack import ROOT, Stack, running_stack
from sandbox.waiting import eventually

NAMESPACE, NAME, USER, DATABASE = "shop", "orders-db", "orders", "shop"
ON_DEMAND, SCHEDULED = 3, 1
SCHEDULE = "rate(1 minute)"
FOLDER = ROOT / ".cache" / "demo"
LOGINS_SHOWN = 15
"""How often the client logs in as the new user before the next rotation."""
PATIENCE = 30.0
"""Seconds until a rotation that was asked for has ended, or a resource is Ready."""


@dataclass(frozen=True)
class Demo:
    """What is up, once everything is."""

    engine: DemoEngine
    stack: Stack
    operator: OperatorProcess
    application: Application
    strangers: frozenset[str]
    """The database's users before there was an application."""
    pod: Pod
    screen: Screen
    folder: Path

    @property
    def cluster(self) -> Cluster:
        return self.stack.cluster

    def resource(self) -> Json:
        return self.stack.api.get(f"{RESOURCES}/namespaces/{NAMESPACE}/rotatedsecrets/{NAME}")

    def steps(self) -> StepWatch:
        metrics = partial(self.operator.get, "/metrics")
        return StepWatch(self.stack.api, NAMESPACE, NAME, self.engine.story.steps, metrics)

    def rotations(self) -> int:
        history = self.resource().get("status", {}).get("history", [])
        return sum(1 for entry in history if entry["outcome"] == "Succeeded")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--engine", choices=DEMO_ENGINES, default="postgres", help="whose user is rotated")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    parser.add_argument("--kube-context", help="run on the cluster of this context of the kubeconfig")
    parser.add_argument("--folder", type=Path, help="where the operator's log goes")
    arguments = parser.parse_args()
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _interrupt)
    screen = Screen()
    try:
        choice = Choice.make(context=arguments.kube_context)
    except ValueError as error:
        parser.error(str(error))
    with ExitStack() as everything:
        try:
            demo = everything.enter_context(
                _everything_up(choice, arguments.engine, screen, arguments.folder or FOLDER / arguments.engine)
            )
        except KeyboardInterrupt:
            return 130
        except ServerMissing as error:
            screen.bad(str(error))
            return 1
        except (OSError, RuntimeError, CalledProcessError, HelmFailed, NotInstalled) as error:
            screen.bad(f"the sandbox did not start: {error}")
            return 1
        wrong = _run(demo)
        if arguments.keep:
            _leave_running(demo)
        rotations, pod = demo.rotations(), demo.pod
    for sentence in wrong:
        screen.bad(sentence)
    for failure in dict.fromkeys(pod.failures):
        screen.bad(f"a login failed: {failure}")
    screen.last_line(f"demo: {rotations} rotations, {pod.logins} logins, {len(pod.failures)} failed")
    return 1 if wrong or pod.failures or not pod.logins else 0


def _run(demo: Demo) -> list[str]:
    """Show it all; returns what went wrong, as sentences."""
    try:
        _apply(demo)
        for number in range(1, ON_DEMAND + 1):
            _rotate_on_demand(demo, number)
        _see_retired(demo)
        _rotate_by_schedule(demo)
        demo.screen.title("What is left")
        demo.screen.command(f"kubectl -n {NAMESPACE} describe rsec {NAME}")
        demo.screen.output(demo.cluster.kubectl("-n", NAMESPACE, "describe", "rsec", NAME).stdout)
        _show_stages(demo)
        wrong = [*_miscounted(demo), *what_is_wrong(demo.application, demo.engine.story, demo.strangers)]
        if not wrong:
            demo.screen.good(demo.engine.story.well)
    except KeyboardInterrupt:
        return ["interrupted"]
    except (TimeoutError, OperatorDied, CalledProcessError) as error:
        return [str(error), f"the operator's log is in {demo.folder}"]
    return wrong


@contextmanager
def _everything_up(choice: Choice, engine_name: str, screen: Screen, folder: Path) -> Iterator[Demo]:
    engine = DEMO_ENGINES[engine_name]
    folder.mkdir(parents=True, exist_ok=True)
    screen.title("A database user that nobody has to know the password of")
    with ExitStack() as parts:
        with screen.waiting(f"starting Kubernetes: {choice.description}"):
            cluster = parts.enter_context(running_cluster(choice))
        screen.good(f"Kubernetes: {cluster.description}")
        with screen.waiting(f"starting Secrets Manager and {engine.title}"):
            stack = parts.enter_context(running_stack(cluster, engine_name, with_crd=False))
        screen.good(f"Secrets Manager: moto at {stack.store.endpoint_url}")
        tls = "with TLS" if stack.side.ca_pem else "without TLS, which this build lacks"
        screen.good(f"{stack.side.product}: {tls}, at {stack.side.host}:{stack.side.port}")
        operator = parts.enter_context(installed_operator(stack, screen, folder))
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))
        strangers = frozenset(stack.side.users(""))
        application = create_application(stack, NAMESPACE, NAME, user=USER, database=DATABASE)
        screen.good(
            f"user {USER}, admin {application.admin}, and their secrets in the store: "
            f"{application.secret_id}, {application.admin_secret_id}"
        )
        pod = Pod(stack.api, stack.side, NAMESPACE, NAME)
        demo = Demo(engine, stack, operator, application, strangers, pod, screen, folder)
        with demo.pod:
            screen.good(f"a client logs in {LOGINS_A_SECOND} times a second with what Secret {NAMESPACE}/{NAME} says")
            yield demo


def _apply(demo: Demo) -> None:
    target = {"template": {"DATABASE_URL": demo.engine.url}}
    manifest = demo.application.manifest({"target": target}, **demo.engine.story.rotation, schedule=SCHEDULE)
    text = yaml.safe_dump(manifest, sort_keys=False, width=200)
    demo.screen.title("A RotatedSecret")
    demo.screen.yaml(text)
    demo.screen.command("kubectl apply -f orders-db.yaml")
    demo.screen.output(demo.cluster.kubectl("apply", "-f", "-", stdin=text).stdout)
    with demo.screen.waiting("waiting for it to be Ready"):
        eventually(lambda: _is_ready(demo.resource()), f"RotatedSecret {NAMESPACE}/{NAME} is Ready", seconds=PATIENCE)
    _show(demo)


def _is_ready(resource: Json) -> bool:
    conditions = resource.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _rotate_on_demand(demo: Demo, number: int) -> None:
    demo.screen.title(f"Rotation {number} of {ON_DEMAND + SCHEDULED}, on demand")
    request = ["annotate", "rsec", NAME, f"rotatedsecrets.io/rotate=demo-{number}", "--overwrite"]
    demo.screen.command(f"kubectl -n {NAMESPACE} {' '.join(request)}")
    with demo.steps() as steps:
        demo.cluster.kubectl("-n", NAMESPACE, *request)
        demo.screen.steps(steps.until_rotated(PATIENCE))
    _show(demo)


def _see_retired(demo: Demo) -> None:
    """Until the old password has ended, where the strategy keeps one."""
    seconds = demo.engine.story.retire_seconds
    if seconds is None:
        return
    demo.screen.title(f"The old password retires, {seconds} seconds after the new one was delivered")
    with demo.screen.waiting("both passwords log in until then"):
        patience = seconds + PATIENCE
        eventually(lambda: not demo.resource()["status"].get("retiring"), "the old password retires", seconds=patience)
    demo.screen.good("the password before the present one logs in no longer")
    _show_database(demo)


def _rotate_by_schedule(demo: Demo) -> None:
    demo.screen.title(f"Rotation {ON_DEMAND + SCHEDULED} of {ON_DEMAND + SCHEDULED}, by schedule: {SCHEDULE}")
    due = datetime.fromisoformat(demo.resource()["status"]["nextRotationTime"])
    with demo.steps() as steps:
        seconds = (due - datetime.now(UTC)).total_seconds()
        with demo.screen.countdown(f"due at {due:%H:%M:%S} UTC", seconds) as advance:
            while (left := (due - datetime.now(UTC)).total_seconds()) > 0:
                advance(left, f"{demo.pod.logins} logins, {len(demo.pod.failures)} failed")
                time.sleep(min(0.2, left))
        demo.screen.steps(steps.until_rotated(PATIENCE))
    _show(demo)


def _show(demo: Demo) -> None:
    """The state after a rotation, once the client has moved to the new credential."""
    current = demo.application.account()
    enough = demo.pod.logins_by_account[current] + LOGINS_SHOWN
    says = f"the client logs in as {current.user} with the new password"
    with demo.screen.waiting(says):
        eventually(lambda: demo.pod.logins_by_account[current] >= enough, says)
    demo.screen.command(f"kubectl -n {NAMESPACE} get rsec")
    demo.screen.output(demo.cluster.kubectl("-n", NAMESPACE, "get", "rsec").stdout)
    _show_database(demo)


def _show_database(demo: Demo) -> None:
    story = demo.engine.story
    demo.screen.table(story.columns, story.rows(demo.application, demo.pod))


def _show_stages(demo: Demo) -> None:
    application = demo.application
    demo.screen.output(f"\nsecret {application.secret_id} in the store:")
    rows = (
        (version, stage, application.account(stage).user)
        for stage, versions in sorted(application.stages().items())
        for version in versions
    )
    demo.screen.table(("version", "stage", "user"), rows)


def _miscounted(demo: Demo) -> list[str]:
    rotations, wanted = demo.rotations(), ON_DEMAND + SCHEDULED
    return [] if rotations == wanted else [f"there were {rotations} rotations instead of {wanted}"]


def _leave_running(demo: Demo) -> None:
    environment = demo.folder / "environment"
    _write_environment(demo, environment)
    demo.screen.look_around(
        {
            f"source {short(environment)}": f"first: KUBECONFIG, and how to reach AWS and {demo.engine.title}",
            f"kubectl -n {NAMESPACE} get rsec -w": "the schedule goes on, a rotation a minute",
            f"kubectl -n {NAMESPACE} annotate rsec {NAME} --overwrite rotatedsecrets.io/rotate=$RANDOM": "rotate now",
            f"kubectl -n {NAMESPACE} delete secret {NAME}": "it is back within a second",
            f"aws secretsmanager describe-secret --secret-id {NAMESPACE}/{NAME}": "the store's own view",
            demo.engine.look: "the users",
            f"tail -f {short(demo.folder / 'operator.log')}": "the operator's log",
        }
    )
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        demo.screen.good("stopping everything")
    finally:
        environment.unlink(missing_ok=True)


def _write_environment(demo: Demo, file: Path) -> None:
    variables = {
        "PATH": f"{Path(sys.executable).parent}:$PATH",
        "KUBECONFIG": str(demo.cluster.kubeconfig),
        **demo.stack.store.environment(),
        **demo.engine.variables(demo.stack, DATABASE),
    }
    file.touch(mode=0o600)
    file.write_text("".join(f'export {name}="{value}"\n' for name, value in variables.items()))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
