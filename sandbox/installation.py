"""The operator as Helm installs it: the chart's objects in the cluster, and a process that runs as its Deployment says.

There are no nodes, so nobody else starts it: image, probes and resources are the only parts of the Deployment that this
does not follow.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import yaml

from sandbox.helm import CHART, helm, rendered
from sandbox.kubernetes.client import Json, StatusError
from sandbox.kubernetes.provider import Rule
from sandbox.mounts import Mounts
from sandbox.operatorprocess import OperatorProcess
from sandbox.stack import LOOPBACK, Stack

Values = Mapping[str, Any]
RELEASE = "rotated-secrets"
CREDENTIALS = "aws-credentials"
"""The Secret with an access key, for the way to install that needs no cloud."""
OUTSIDE_A_POD = ("--probe-host=127.0.0.1", "--probe-port=0")
"""What the container has to itself, and a process on a shared machine has not."""


@cache
def operator_rules() -> tuple[Rule, ...]:
    """All that the chart's own values let the operator do, from all its Roles, by whatever name an object goes."""
    manifests = rendered()
    bound = {
        (each["roleRef"]["kind"], each["roleRef"]["name"])
        for each in manifests
        if each["kind"] in ("RoleBinding", "ClusterRoleBinding")
    }
    roles = (each for each in manifests if (each["kind"], each["metadata"]["name"]) in bound)
    rules = (rule for role in roles for rule in role["rules"])
    return tuple({key: value for key, value in rule.items() if key != "resourceNames"} for rule in rules)


def sandbox_values(stack: Stack) -> dict[str, Any]:
    """By which an installation finds the parts of the stack."""
    endpoint = stack.store_proxy.endpoint_url
    aws = {"region": stack.store.region, "endpointUrl": endpoint, "stsEndpointUrl": endpoint}
    databases = {"allowedNetworks": [LOOPBACK], "caBundle": stack.authority.certificate}
    return {"aws": aws | {"credentialsSecretName": CREDENTIALS}, "databases": databases}


def merged(below: Values, above: Values) -> dict[str, Any]:
    """As Helm merges values: maps by their keys, all else is replaced."""
    both = dict(below)
    for key, value in above.items():
        is_map = isinstance(value, Mapping) and isinstance(both.get(key), Mapping)
        both[key] = merged(both[key], value) if is_map else value
    return both


def create_credentials(stack: Stack, namespace: str) -> None:
    """The namespace, where it is not there, and in it the Secret with the sandbox's access key."""
    store = stack.store
    keys = {"AWS_ACCESS_KEY_ID": store.access_key_id, "AWS_SECRET_ACCESS_KEY": store.secret_access_key}
    for path, body in (
        ("/api/v1/namespaces", {"metadata": {"name": namespace}}),
        (f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": CREDENTIALS}, "stringData": keys}),
    ):
        try:
            stack.api.create(path, body)
        except StatusError as error:
            if error.code != 409:
                raise


@dataclass
class Installation:
    """A release of the chart."""

    stack: Stack
    release: str
    namespace: str
    said: str
    """By Helm, at the installation or the last upgrade."""
    _mounts: list[Mounts] = field(default_factory=list)

    def upgrade(self, values: Values) -> str:
        """To these values, and those of the sandbox; nothing of the values before stays. Returns what Helm says."""
        self.said = _helm(self.stack, "upgrade", self.release, self.namespace, values)
        return self.said

    def uninstall(self) -> str:
        """Returns what Helm says."""
        arguments = ("uninstall", self.release, "--namespace", self.namespace)
        return helm(*arguments, environment=self.stack.cluster.environment())

    def manifests(self) -> list[Json]:
        """What Helm has sent, as it is kept in the release."""
        arguments = ("get", "manifest", self.release, "--namespace", self.namespace)
        text = helm(*arguments, environment=self.stack.cluster.environment())
        return [each for each in yaml.safe_load_all(text) if each]

    def deployment(self) -> Json:
        """As it is in the cluster."""
        selector = f"app.kubernetes.io/instance={self.release},app.kubernetes.io/managed-by=Helm"
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments"
        (found,) = self.stack.api.get(path, labelSelector=selector)["items"]
        deployment: Json = found
        return deployment

    @property
    def account(self) -> str:
        """The ServiceAccount that its pods run as."""
        name: str = self.deployment()["spec"]["template"]["spec"]["serviceAccountName"]
        return name

    def operator(self, log_file: Path, *flags: str) -> OperatorProcess:
        """A replica that is not started yet; ``flags`` win over the Deployment's.

        Later changes of ConfigMaps reach it by :meth:`refresh_mounts`, those of the Deployment as in a cluster: never.
        """
        pod = self.deployment()["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        folder = Path(mkdtemp(prefix=f"{self.release}-", dir=self.stack.directory))
        mounts = Mounts(self.stack.api, self.namespace, folder / "root", pod, container)
        self._mounts.append(mounts)
        kubeconfig = self.stack.cluster.account_kubeconfig(
            self.namespace, pod["serviceAccountName"], folder / "kubeconfig"
        )
        arguments = [mounts.moved(each) for each in container["args"]]
        variables = {name: mounts.moved(value) for name, value in self._variables(container).items()}
        where = (f"--kubeconfig={kubeconfig}", *OUTSIDE_A_POD)
        variables["TMPDIR"] = str(mounts.folders["/tmp"])
        return OperatorProcess.told([*arguments, *where, *flags], variables, log_file, self.stack.interpreter)

    def refresh_mounts(self) -> None:
        """As the kubelet does within a minute or two, for every operator that was made of this."""
        for mounts in self._mounts:
            mounts.refresh()

    def _variables(self, container: Json) -> dict[str, str]:
        found: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            found |= self._secret(source["secretRef"]["name"])
        for variable in container.get("env", ()):
            found[variable["name"]] = variable["value"]
        return found

    def _secret(self, name: str) -> dict[str, str]:
        mounted = self.stack.api.get(f"/api/v1/namespaces/{self.namespace}/secrets/{name}")
        return {key: base64.b64decode(held).decode() for key, held in (mounted.get("data") or {}).items()}


def install(
    stack: Stack, *, values: Values | None = None, release: str = RELEASE, namespace: str = RELEASE
) -> Installation:
    """`helm install`; ``values`` win over those of the sandbox. The namespace and the access key are made before.

    Raises:
        HelmFailed: with Helm's words, which are the API server's where it refused an object.
    """
    create_credentials(stack, namespace)
    return Installation(stack, release, namespace, _helm(stack, "install", release, namespace, values or {}))


@contextmanager
def installed(stack: Stack, **arguments: Any) -> Iterator[Installation]:
    """:func:`install`, and uninstalled at the end."""
    installation = install(stack, **arguments)
    try:
        yield installation
    finally:
        installation.uninstall()


def command(action: str, release: str, namespace: str, chart: str, values: str) -> Sequence[str]:
    """Helm's arguments. No --wait: without nodes, a Deployment never becomes ready."""
    return (action, release, chart, "--namespace", namespace, "--values", values)


def _helm(stack: Stack, action: str, release: str, namespace: str, values: Values) -> str:
    text = yaml.safe_dump(merged(sandbox_values(stack), values))
    arguments = command(action, release, namespace, str(CHART), "-")
    return helm(*arguments, environment=stack.cluster.environment(), stdin=text)
