"""Everything about the operator that can be set, with its unit and default, from flags or ``ROTATED_SECRETS_*``.

Each field is one flag (``--aws-region``) and one variable (``ROTATED_SECRETS_AWS_REGION``); the command line is made
from this model. Holds no secret: AWS's own credential chain supplies those.
"""

from __future__ import annotations

import os
import re
import socket
import uuid
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import boto3
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from rotated_secrets.databases.webhook.receiver import check_pattern
from rotated_secrets.observability.logs import LogFormat, LogLevel

SERVICE_ACCOUNT_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class InvalidSettings(Exception):
    """A setting makes no sense; the message names the flag and says what to write instead."""


def _seconds(value: Any) -> Any:
    """``90``, ``90s``, ``1m30s`` and ``4h`` as seconds."""
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return float(text)
    if not re.fullmatch(r"([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+", text):
        raise ValueError(f"{value!r} is not a length of time; write for example 90s, 10m or 4h")
    return sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)", text))


def _list(value: Any) -> Any:
    """``a,b`` as two items."""
    return tuple(item.strip() for item in value.split(",") if item.strip()) if isinstance(value, str) else value


def _network(value: Any) -> Any:
    try:
        return ip_network(value)
    except ValueError as error:
        raise ValueError(f"{error}; write networks as 10.0.0.0/8") from None


def _cluster_name(value: str) -> str:
    # Source: AssumeRole's reference: what an ExternalId may consist of, and its length; the rest is for the namespace.
    if not re.fullmatch(r"[A-Za-z0-9+=,.@:_-]{1,512}", value):
        raise ValueError(f"{value!r} is no cluster's name; write up to 512 letters, digits and +=,.@:_-")
    return value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, allow_inf_nan=False)]
Names = Annotated[tuple[str, ...], BeforeValidator(_list)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_list)]
HostPattern = Annotated[str, AfterValidator(check_pattern)]
HostPatterns = Annotated[tuple[HostPattern, ...], BeforeValidator(_list)]
Count = Annotated[int, Field(ge=1)]
Panel = Literal["AWS", "Databases", "Rotation", "Kubernetes", "Leader election", "Work", "Telling people"]


def _field(default: Any, panel: Panel, says: str) -> Any:
    return Field(default, description=says, json_schema_extra={"panel": panel})


class Settings(BaseModel):
    """All settings of one operator process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    aws_region: str | None = _field(
        None, "AWS", "Region of secrets whose RotatedSecret names none. Default: what AWS's own configuration says."
    )
    aws_endpoint_url: str | None = _field(
        None, "AWS", "URL of the Secrets Manager API. Default: AWS's own for the region. Never taken from a resource."
    )
    aws_connect_timeout: Seconds = _field(5.0, "AWS", "Longest wait for a connection to AWS, in seconds.")
    aws_read_timeout: Seconds = _field(10.0, "AWS", "Longest wait for an answer from AWS, in seconds.")
    aws_write_rate: Count = _field(
        40, "AWS", "Most PutSecretValue and UpdateSecretVersionStage requests a second in a region (AWS allows 50)."
    )
    poll_interval: Seconds = _field(
        60.0, "AWS", "How often ListSecrets is asked which secrets have moved, in seconds; one request per 100 secrets."
    )

    database_ca_file: Path | None = _field(
        None, "Databases", "PEM file of the certificate authorities to trust for databases. Default: the system's."
    )
    allowed_networks: Networks = _field(
        (),
        "Databases",
        "Networks that database hosts may be in although they are refused by default "
        "(loopback, link-local and metadata addresses), comma-separated.",
    )
    denied_networks: Networks = _field(
        (), "Databases", "Networks that database hosts may never be in, comma-separated. Wins over the allowed ones."
    )

    webhook_hosts: HostPatterns = _field(
        (),
        "Databases",
        "Hosts that a resource may name as its webhook, comma-separated: hooks.example.com, *.hooks.example.com (every "
        "host below), either with a port that is not 443. Default: none, so that no resource may have a webhook.",
    )

    access_policy_file: Path | None = _field(
        None,
        "Rotation",
        "YAML file that says which namespaces may name which secrets. Default: a namespace may name secrets called "
        "{namespace}/* and admin secrets called {namespace}/admin/*.",
    )
    cluster_name: Annotated[str, AfterValidator(_cluster_name)] | None = _field(
        None,
        "AWS",
        "Name of this cluster, unique among those that share AWS accounts: the first part of the ExternalId "
        "CLUSTER/NAMESPACE by which roles of resources are assumed. Default: none, so that no resource may name a role "
        "without a ServiceAccount.",
    )
    minimum_interval: Seconds = _field(
        4 * 3600.0, "Rotation", "Least time between two scheduled rotations, in seconds; 4h is AWS's own limit."
    )
    clone_suffixes: Names = _field(
        ("_clone", "_CLONE"),
        "Rotation",
        "What a RotatedSecret may append to a user's name for its clone, comma-separated.",
    )

    kubeconfig: Path | None = _field(
        None, "Kubernetes", "File that says where the API server is. Default: the pod's own, else $KUBECONFIG."
    )
    kube_context: str | None = _field(None, "Kubernetes", "Context of that file. Default: its current one.")
    namespaces: Names = _field((), "Kubernetes", "Namespaces to serve, comma-separated. Default: all.")
    api_timeout: Seconds = _field(10.0, "Kubernetes", "Longest wait for an answer of the API server, in seconds.")
    watch_timeout: Annotated[Seconds, Field(ge=1)] = _field(
        300.0, "Kubernetes", "How long one watch lasts before it is opened anew, in seconds."
    )
    startup_timeout: Seconds = _field(
        60.0,
        "Kubernetes",
        "How long to try again when the API server, the CRD or a permission is missing at the start, in seconds.",
    )
    resync_interval: Seconds = _field(
        600.0, "Kubernetes", "How often every RotatedSecret is listed and looked at again, in seconds."
    )

    lease_name: str = _field("rotated-secrets", "Leader election", "Name of the Lease that the leader holds.")
    lease_namespace: str = _field(
        "", "Leader election", "Namespace of that Lease. Default: the pod's own, else `default`."
    )
    lease_duration: Seconds = _field(
        15.0, "Leader election", "How long others wait for a leader that fell silent, in seconds."
    )
    renew_deadline: Seconds = _field(
        10.0, "Leader election", "How long the leader works on without having renewed its Lease, in seconds."
    )
    retry_period: Seconds = _field(2.0, "Leader election", "How often the Lease is renewed, or asked for, in seconds.")
    identity: str = _field("", "Leader election", "Name of this replica. Default: the host's name and a random suffix.")

    threads: Count = _field(32, "Work", "Blocking calls (AWS, databases, Kubernetes) at a time.")
    connections_per_host: Count = _field(4, "Work", "RotatedSecrets that use one database host at a time.")
    breaker_failures: Count = _field(
        5, "Work", "After how many unanswered attempts in a row a database host is left alone."
    )
    breaker_time: Seconds = _field(30.0, "Work", "For how long a database host is then left alone, in seconds.")
    backoff_base: Seconds = _field(
        1.0, "Work", "First wait after a failure, in seconds; doubled with each further one."
    )
    backoff_cap: Seconds = _field(300.0, "Work", "Longest wait after a failure, in seconds.")
    drain_timeout: Seconds = _field(
        25.0,
        "Work",
        "How long rotations under way may go on after SIGTERM, in seconds; less than the pod's grace period.",
    )

    probe_host: str = _field("0.0.0.0", "Telling people", "Address that probes and metrics are served on.")  # noqa: S104
    probe_port: Annotated[int, Field(ge=0, le=65535)] = _field(
        8080, "Telling people", "Port of /healthz, /readyz and /metrics; 0 takes any free one."
    )
    log_format: LogFormat = _field("json", "Telling people", "json or text.")
    log_level: Annotated[LogLevel, BeforeValidator(lambda v: v.upper() if isinstance(v, str) else v)] = _field(
        "INFO", "Telling people", "DEBUG, INFO, WARNING or ERROR."
    )

    @model_validator(mode="before")
    @classmethod
    def _know_where_we_are(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Defaults that depend on the machine."""
        found = dict(given)
        found["identity"] = given.get("identity") or f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        # AWS's other SDKs read AWS_REGION, and its platforms set it; boto3 knows AWS_DEFAULT_REGION alone.
        configured = boto3.session.Session().region_name or os.environ.get("AWS_REGION")
        found["aws_region"] = given.get("aws_region") or configured
        found["lease_namespace"] = given.get("lease_namespace") or _own_namespace()
        return found

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
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
        """Settings from texts and values; what is None takes its default.

        Raises:
            InvalidSettings: with a sentence for each that makes no sense.
        """
        try:
            return cls.model_validate({name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            raise InvalidSettings("; ".join(_sentence(each) for each in error.errors())) from None


def flag(field: str) -> str:
    """The command-line flag of a field."""
    return "--" + field.replace("_", "-")


def variable(field: str) -> str:
    """The environment variable of a field."""
    return "ROTATED_SECRETS_" + field.upper()


def _own_namespace() -> str:
    try:
        return SERVICE_ACCOUNT_NAMESPACE.read_text().strip()
    except OSError:
        return "default"


def _sentence(problem: Any) -> str:
    cause = (problem.get("ctx") or {}).get("error")
    message = str(cause) if isinstance(cause, ValueError) else problem["msg"][:1].lower() + problem["msg"][1:]
    return f"{flag(str(problem['loc'][0]))}: {message}" if problem["loc"] else message
