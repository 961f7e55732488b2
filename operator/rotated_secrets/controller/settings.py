"""The settings of the operator, from flags or variables ``ROTATED_SECRETS_*``.

Each field is one flag (``--aws-region``) and one variable (``ROTATED_SECRETS_AWS_REGION``). The command line and the
table in docs/reference.md are generated from this model. Holds no secret: those come from AWS's own credential chain.
"""

from __future__ import annotations

import os
import re
import socket
import uuid
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from rotated_secrets.cluster_access import is_of_this_pod
from rotated_secrets.databases.registry import enabled_engines
from rotated_secrets.databases.webhook.receiver import check_pattern
from rotated_secrets.observability.logs import LogFormat, LogLevel
from rotated_secrets.secretstores.own_identity import configured_region

SERVICE_ACCOUNT_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_BYTES = {"": 1, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}


class InvalidSettings(Exception):
    """A setting is not valid; the message names the flag and says what to write instead."""


def _seconds(value: Any) -> Any:
    """Convert ``90``, ``90s``, ``1m30s`` or ``4h`` to seconds."""
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return float(text)
    if not re.fullmatch(r"([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+", text):
        raise ValueError(f"{value!r} is not a length of time; write for example 90s, 10m or 4h")
    return sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)", text))


def _bytes(value: Any) -> Any:
    """Convert ``64Mi`` or ``1Gi`` to bytes, as Kubernetes writes quantities."""
    if not isinstance(value, str):
        return value
    if not (found := re.fullmatch(r"([0-9]+)(Ki|Mi|Gi)?", value.strip())):
        raise ValueError(f"{value!r} is not an amount of memory; write for example 64Mi")
    return int(found[1]) * _BYTES[found[2] or ""]


def _list(value: Any) -> Any:
    """Split ``a,b`` into two items."""
    return tuple(item.strip() for item in value.split(",") if item.strip()) if isinstance(value, str) else value


def _network(value: Any) -> Any:
    try:
        return ip_network(value)
    except ValueError as error:
        raise ValueError(f"{error}; write networks as 10.0.0.0/8") from None


def _cluster_name(value: str) -> str:
    # Source: AWS's reference of AssumeRole on the characters and the length of an ExternalId, which also holds the
    # namespace.
    if not re.fullmatch(r"[A-Za-z0-9+=,.@:_-]{1,512}", value):
        raise ValueError(f"{value!r} is not a valid cluster name; write up to 512 letters, digits and +=,.@:_-")
    return value


def _engines(value: tuple[str, ...]) -> tuple[str, ...]:
    if value:
        enabled_engines(value)
    return value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, allow_inf_nan=False)]
Memory = Annotated[int, BeforeValidator(_bytes), Field(ge=8 * 1024**2)]
Names = Annotated[tuple[str, ...], BeforeValidator(_list)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_list)]
HostPattern = Annotated[str, AfterValidator(check_pattern)]
HostPatterns = Annotated[tuple[HostPattern, ...], BeforeValidator(_list)]
Engines = Annotated[tuple[str, ...], BeforeValidator(_list), AfterValidator(_engines)]
Count = Annotated[int, Field(ge=1)]
Panel = Literal["AWS", "Databases", "Rotation", "Kubernetes", "Leader election", "Work", "Observability"]


def _field(default: Any, panel: Panel, help_text: str) -> Any:
    return Field(default, description=help_text, json_schema_extra={"panel": panel})


class Settings(BaseModel):
    """The settings of one operator process."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    aws_region: str | None = _field(
        None,
        "AWS",
        "Region of secrets whose RotatedSecret names no region. Default: the region of AWS's configuration.",
    )
    aws_endpoint_url: str | None = _field(
        None,
        "AWS",
        "URL of the Secrets Manager API in the region of `--aws-region`; not used for other regions nor for STS. "
        "Default: AWS's own. A RotatedSecret cannot set it.",
    )
    aws_connect_timeout: Seconds = _field(5.0, "AWS", "Longest wait for a connection to AWS, in seconds.")
    aws_read_timeout: Seconds = _field(10.0, "AWS", "Longest wait for a response from AWS, in seconds.")
    aws_write_rate: Count = _field(
        40, "AWS", "Most PutSecretValue and UpdateSecretVersionStage requests per second in one region (AWS allows 50)."
    )
    poll_interval: Seconds = _field(
        60.0,
        "AWS",
        "How often ListSecrets is called to find changed secrets, in seconds; one request per 100 secrets in the "
        "account.",
    )

    database_ca_file: Path | None = _field(
        None,
        "Databases",
        "PEM file of the certificate authorities to trust for databases. Default: those of the system.",
    )
    allowed_networks: Networks = _field(
        (),
        "Databases",
        "Networks of database hosts to allow although they are refused by default (loopback, link-local and metadata "
        "addresses), comma-separated. The API server's address is refused at every port; if this allows its network, "
        "only at the API server's own port.",
    )
    denied_networks: Networks = _field(
        (),
        "Databases",
        "Networks of database hosts to refuse always, comma-separated. Takes precedence over `--allowed-networks`.",
    )

    engines: Engines = _field(
        (),
        "Databases",
        "Engines that secret values may name, comma-separated, as `postgres,aurora-postgresql`, those of plug-ins and "
        "`webhook` among them. Any other is switched off: it is never loaded, and a RotatedSecret that needs it gets "
        "AccessDenied. Default: all.",
    )
    webhook_hosts: HostPatterns = _field(
        (),
        "Databases",
        "Hosts that a RotatedSecret may name as its webhook, comma-separated: `hooks.example.com`, or "
        "`*.hooks.example.com` for every host below; add a port if it is not 443. Default: none, so that no "
        "RotatedSecret may have a webhook.",
    )

    access_policy_file: Path | None = _field(
        None,
        "Rotation",
        "YAML file that says which namespaces may name which secrets. Default: a namespace may name secrets called "
        "`{namespace}/*` and admin secrets called `{namespace}/admin/*`.",
    )
    cluster_name: Annotated[str, AfterValidator(_cluster_name)] | None = _field(
        None,
        "AWS",
        "Name of this cluster, unique among clusters that share AWS accounts: the first part of the ExternalId "
        "`CLUSTER/NAMESPACE` that the operator sends when it assumes a role of `spec.source.credentials`. Default: "
        "none, so that no RotatedSecret may name a role without a ServiceAccount.",
    )
    minimum_interval: Seconds = _field(
        4 * 3600.0, "Rotation", "Shortest time between two scheduled rotations, in seconds; 4h is AWS's own limit."
    )
    clone_suffixes: Names = _field(
        ("_clone", "_CLONE"),
        "Rotation",
        "Suffixes that a RotatedSecret may append to a user's name to name its clone, comma-separated.",
    )

    kubeconfig: Path | None = _field(
        None,
        "Kubernetes",
        "Kubeconfig file of the cluster. Default: the pod's own ServiceAccount, else the file in `$KUBECONFIG`.",
    )
    kube_context: str | None = _field(
        None, "Kubernetes", "Context of the kubeconfig file. Default: its current context."
    )
    namespaces: Names = _field((), "Kubernetes", "Namespaces to serve, comma-separated. Default: all.")
    api_timeout: Seconds = _field(10.0, "Kubernetes", "Longest wait for a response of the API server, in seconds.")
    watch_timeout: Annotated[Seconds, Field(ge=1)] = _field(
        300.0, "Kubernetes", "How long one watch lasts before it is opened again, in seconds."
    )
    startup_timeout: Seconds = _field(
        60.0,
        "Kubernetes",
        "How long to try again if the API server, the CRD or a permission is missing at the start, in seconds.",
    )
    resync_interval: Seconds = _field(
        600.0, "Kubernetes", "How often all RotatedSecrets are listed and checked again, in seconds."
    )

    lease_name: str = _field("rotated-secrets", "Leader election", "Name of the Lease that the leader holds.")
    lease_namespace: str = _field(
        "", "Leader election", "Namespace of the Lease. Default: the pod's own; required outside of a pod."
    )
    lease_duration: Seconds = _field(
        15.0,
        "Leader election",
        "How long other replicas wait before they replace a leader that no longer renews its Lease, in seconds.",
    )
    renew_deadline: Seconds = _field(
        10.0, "Leader election", "How long the leader continues to work while it cannot renew its Lease, in seconds."
    )
    retry_period: Seconds = _field(
        2.0,
        "Leader election",
        "How often the leader renews its Lease, and other replicas try to acquire it, in seconds.",
    )
    identity: str = _field("", "Leader election", "Name of this replica. Default: the host name and a random suffix.")

    threads: Count = _field(
        24,
        "Work",
        "Blocking calls at the same time: so many to databases, and half as many others (AWS, Kubernetes). A namespace "
        "gets at most half of what the others leave.",
    )
    cell_memory: Memory = _field(
        "64Mi",
        "Work",
        "Most memory that one cell may use, for example 64Mi. A cell is a child process in which one RotatedSecret's "
        "database client, webhook or templates run.",
    )
    cells_memory: Memory = _field(
        "224Mi",
        "Work",
        "Most memory that all cells together may use; the largest is ended first. The operator needs about 200Mi "
        "besides.",
    )
    engine_variables: Names = _field(
        (),
        "Databases",
        "Names of environment variables that your own engines need, comma-separated. Database clients get no others.",
    )
    engine_paths: Names = _field(
        (),
        "Databases",
        "Files and folders that your own engines read and write, comma-separated. Database clients can open no others, "
        "where the kernel has Landlock.",
    )
    connections_per_host: Count = _field(
        8,
        "Work",
        "RotatedSecrets that use one database host at the same time. A namespace gets at most half of what the others "
        "leave. Of those that wait for it, or for a thread, the one whose namespace has the fewest at work is next.",
    )
    breaker_failures: Count = _field(
        5, "Work", "Failed attempts in a row to reach a database host before the operator stops trying for a while."
    )
    breaker_time: Seconds = _field(
        30.0,
        "Work",
        "How long the operator then does not try to reach that database host, in seconds. Doubles while the host goes "
        "on failing, up to ten times this.",
    )
    backoff_base: Seconds = _field(
        1.0,
        "Work",
        "Longest wait after a first failure, in seconds. This limit doubles with each further failure, up to "
        "`--backoff-cap`; each wait is random between half the limit and the limit.",
    )
    backoff_cap: Seconds = _field(300.0, "Work", "Longest wait after any number of failures, in seconds.")
    drain_timeout: Seconds = _field(
        25.0,
        "Work",
        "How long running rotations may continue after SIGTERM, in seconds. Must be less than the pod's grace period.",
    )

    probe_host: str = _field("0.0.0.0", "Observability", "Address that serves probes and metrics.")  # noqa: S104
    probe_port: Annotated[int, Field(ge=0, le=65535)] = _field(
        8080, "Observability", "Port of `/healthz`, `/readyz` and `/metrics`; 0 takes any free port."
    )
    log_format: LogFormat = _field("json", "Observability", "Format of the log: `json` or `text`.")
    log_level: Annotated[LogLevel, BeforeValidator(lambda v: v.upper() if isinstance(v, str) else v)] = _field(
        "INFO", "Observability", "Lowest level of log messages: `DEBUG`, `INFO`, `WARNING` or `ERROR`."
    )

    @model_validator(mode="before")
    @classmethod
    def _add_machine_defaults(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Add the defaults that depend on the machine."""
        found = dict(given)
        found["identity"] = given.get("identity") or f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        # Other AWS SDKs read AWS_REGION, and AWS's platforms set it; boto3 reads only AWS_DEFAULT_REGION.
        found["aws_region"] = given.get("aws_region") or configured_region() or os.environ.get("AWS_REGION")
        found["lease_namespace"] = given.get("lease_namespace") or _own_namespace(given.get("kubeconfig"))
        return found

    @model_validator(mode="after")
    def _check_combinations(self) -> Settings:
        # Source: client-go's leaderelection.NewLeaderElector checks the same.
        if not self.lease_duration > self.renew_deadline > self.retry_period:
            raise ValueError(
                "--lease-duration must be longer than --renew-deadline, and that longer than --retry-period"
            )
        if self.backoff_cap < self.backoff_base:
            raise ValueError("--backoff-cap must not be less than --backoff-base")
        for name in ("database_ca_file", "access_policy_file", "kubeconfig"):
            path: Path | None = getattr(self, name)
            if path is not None and not os.access(path, os.R_OK):
                raise ValueError(f"{flag(name)}: there is no file {path} that can be read")
        return self

    @classmethod
    def parse(cls, given: dict[str, Any]) -> Settings:
        """Parse settings from texts and values; None means the default.

        Raises:
            InvalidSettings: with a sentence for each setting that is not valid.
        """
        try:
            return cls.model_validate({name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            raise InvalidSettings("; ".join(_sentence(each) for each in error.errors())) from None


def flag(field: str) -> str:
    """Return the command-line flag of a field."""
    return "--" + field.replace("_", "-")


def variable(field: str) -> str:
    """Return the environment variable of a field."""
    return "ROTATED_SECRETS_" + field.upper()


def _own_namespace(kubeconfig: Path | None) -> str:
    """The pod's own, which says nothing about another cluster; empty where it is not known."""
    is_known = is_of_this_pod(kubeconfig) and os.access(SERVICE_ACCOUNT_NAMESPACE, os.R_OK)
    return SERVICE_ACCOUNT_NAMESPACE.read_text().strip() if is_known else ""


def _sentence(problem: Any) -> str:
    cause = (problem.get("ctx") or {}).get("error")
    message = str(cause) if isinstance(cause, ValueError) else problem["msg"][:1].lower() + problem["msg"][1:]
    return f"{flag(str(problem['loc'][0]))}: {message}" if problem["loc"] else message
