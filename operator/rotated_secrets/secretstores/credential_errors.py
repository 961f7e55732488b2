"""Says why the operator's own AWS credentials could not be loaded, and what to do: AccessDenied or StoreUnavailable.

Whatever a provider of the SDK raises becomes one of the two, with the file or address it is about. Pure. Must not know
what the credentials are for.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import botocore.exceptions as sdk
from botocore.exceptions import BotoCoreError, ClientError

from rotated_secrets.observability.logs import redact
from rotated_secrets.secretstores.answers import NotAws
from rotated_secrets.secretstores.aws_errors import (
    CONFIG_REMEDY,
    INVALID_ENDPOINT,
    VARYING,
    CallOutcome,
    outcome_of,
    unusable_settings,
)
from rotated_secrets.secretstores.base import AccessDenied, StoreError, StoreUnavailable
from rotated_secrets.secretstores.roles import AssumedRole
from rotated_secrets.secretstores.sts_errors import subject_of, translate_assuming
from rotated_secrets.values import Arn, SecretText

WEB_IDENTITY: Final = "assume-role-with-web-identity"
CONTAINER: Final = "container-role"
PROCESS: Final = "custom-process"
INSTANCE: Final = "iam-role"
"""``METHOD`` of the SDK's providers, which their errors and credentials carry."""

TOKEN_FILE: Final = "AWS_WEB_IDENTITY_TOKEN_FILE"  # noqa: S105 - a variable's name
AGENT_TOKEN_FILE: Final = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"  # noqa: S105
AGENT_URL: Final = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
AGENT_PATH: Final = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
SETTINGS_FILES: Final = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")

MAX_MESSAGE: Final = 300
"""Characters of a provider's own message that are repeated."""

CANNOT: Final = "the operator's AWS credentials cannot be loaded"
IRSA: Final = (
    "EKS mounts one into pods that are made after their ServiceAccount got the annotation eks.amazonaws.com/role-arn: "
    "make the operator's pod again, or correct " + TOKEN_FILE
)
POD_IDENTITY: Final = (
    "check that eks-pod-identity-agent runs on the operator's node, and that the operator's ServiceAccount has an "
    "association: aws eks list-pod-identity-associations --cluster-name CLUSTER"
)
FS_GROUP: Final = "let the operator's user read it, for instance by securityContext.fsGroup of its pod"
OWN_ROLE: Final = "correct the annotation eks.amazonaws.com/role-arn of the operator's ServiceAccount, or AWS_ROLE_ARN"
ROLE_OF_PROFILE: Final = "correct role_arn in the AWS config file"

_STATUS: Final = re.compile(r"Received non 200 response (\d{3})")


class UnwritableCredentials(Exception):
    """Credentials with a part that no request can have; the message names the part."""


@dataclass(frozen=True)
class CredentialSource:
    """Where the SDK looked for credentials when it failed."""

    provider: str = ""
    """``METHOD`` of its provider; empty before the first one."""
    region: str = ""
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    asked: Mapping[str, Any] | None = field(default=None, repr=False)
    """Parameters of its last request to STS; may hold a token."""
    unreadable: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Files of the SDK's settings that cannot be read, by the variable that names them, each with the reason."""

    @property
    def agent(self) -> str:
        """Address of the agent that gives out credentials."""
        return self.environment.get(AGENT_URL) or f"http://169.254.170.2{self.environment.get(AGENT_PATH, '')}"


def nothing_found(source: CredentialSource) -> AccessDenied:
    """No provider has any credentials."""
    unread = "".join(
        f"; {variable} names {source.environment.get(variable, '')}, which cannot be read ({why})"
        for variable, why in source.unreadable.items()
    )
    return AccessDenied(
        f"no AWS credentials are in the operator's environment, files or instance role{unread}; give the operator's "
        "ServiceAccount an IAM role, or the operator an access key in its environment"
    )


def failure_of(error: Exception, source: CredentialSource) -> StoreError:
    """Return AccessDenied where a person has to act, and StoreUnavailable where it may pass."""
    match error:
        case StoreError():
            failure: StoreError = error
        case ClientError() | NotAws() | sdk.ConnectionError() | sdk.HTTPClientError() | sdk.ParamValidationError():
            failure = _from_sts(error, source)
        case OSError():
            failure = _from_file(error, source)
        case sdk.NoCredentialsError():
            failure = nothing_found(source)
        case sdk.CredentialRetrievalError() | sdk.MetadataRetrievalError():
            failure = _from_provider(error, source)
        case subprocess.TimeoutExpired():
            failure = StoreUnavailable(
                f"{CANNOT}: credential_process did not end within {error.timeout:.0f} s; it is tried again later"
            )
        case BotoCoreError():
            failure = AccessDenied(f"{CANNOT}: {_shown(str(error))}; {CONFIG_REMEDY}")
        case UnwritableCredentials():
            failure = AccessDenied(
                f"{CANNOT}: the {error} that {_provider(source)} gives is empty, or has white space, a line end or "
                "letters that no key has; write it without them"
            )
        case RuntimeError():  # of RefreshableCredentials, where what was fetched has expired
            failure = AccessDenied(
                f"{CANNOT}: those that {_provider(source)} gives have expired already; see that it renews them, and "
                "correct the time of the node that the operator runs on"
            )
        case _:
            failure = _from_nonsense(error, source)
    # All else that a store may refuse is about a request, and this is about the operator itself.
    return failure if isinstance(failure, AccessDenied | StoreUnavailable) else AccessDenied(str(failure))


def _from_sts(error: ClientError | BotoCoreError, source: CredentialSource) -> StoreError:
    if source.asked is None:
        if isinstance(error, ClientError):
            said = _shown(f"{error.response['Error'].get('Code', '')}: {error.response['Error'].get('Message', '')}")
            if outcome_of(error.response) in (CallOutcome.THROTTLED, CallOutcome.UNAVAILABLE):
                return StoreUnavailable(
                    f"{CANNOT}: AWS failed at {_provider(source)} ({said}); it is tried again later"
                )
            return AccessDenied(f"{CANNOT}: {_provider(source)} is refused them ({said}); {CONFIG_REMEDY}")
        return StoreUnavailable(
            f"{CANNOT}: no answer to {_provider(source)} ({type(error).__name__}); it is tried again later"
        )
    asked = source.asked
    given, arn = asked.get("WebIdentityToken"), str(asked.get("RoleArn", ""))
    token = SecretText(given) if isinstance(given, str) else None
    if source.provider == WEB_IDENTITY and isinstance(error, sdk.ParamValidationError) and not (given or "").strip():
        return AccessDenied(f"{CANNOT}: {_token_file(source)} is empty; {IRSA}")
    correct = OWN_ROLE if arn == source.environment.get("AWS_ROLE_ARN") else ROLE_OF_PROFILE
    if arn.count(":") < 5:
        return AccessDenied(f"{CANNOT}: the role {arn or 'to assume'} is not the ARN of an IAM role; {correct}")
    subject = (subject_of(token) if token is not None else None) or "the operator's ServiceAccount"
    role = AssumedRole(Arn(arn), str(asked.get("RoleSessionName", "")), asked.get("ExternalId"), subject)
    return translate_assuming(error, role, token, source.region, correct)


def _from_file(error: OSError, source: CredentialSource) -> StoreError:
    name = str(error.filename or "")
    why = error.strerror or type(error).__name__
    of = next((variable for variable, value in source.environment.items() if value == name), "")
    whose = f" ({of})" if of in (TOKEN_FILE, AGENT_TOKEN_FILE, *SETTINGS_FILES) else ""
    if source.provider == PROCESS:
        return AccessDenied(
            f"{CANNOT}: credential_process cannot be started: {name or 'it'}: {why}; correct it in the AWS config "
            "file, and have the program in the operator's image"
        )
    if isinstance(error, PermissionError):
        advice = FS_GROUP
    elif source.provider == WEB_IDENTITY:
        advice = IRSA
    elif source.provider == CONTAINER:
        advice = POD_IDENTITY
    else:
        advice = CONFIG_REMEDY
    return AccessDenied(f"{CANNOT}: {name or _provider(source)}{whose}: {why}; {advice}")


def _from_provider(error: BotoCoreError, source: CredentialSource) -> StoreError:
    said = _shown(str(error.kwargs.get("error_msg", error)))
    if source.provider == PROCESS:
        return AccessDenied(f"{CANNOT}: credential_process failed ({said}); correct it in the AWS config file")
    if source.provider == INSTANCE:
        return StoreUnavailable(
            f"{CANNOT}: the instance's metadata service gave none ({said}); it is tried again later"
        )
    if source.provider != CONTAINER:
        return AccessDenied(f"{CANNOT}: {_provider(source)} failed ({said}); {CONFIG_REMEDY}")
    status = _STATUS.search(said)
    if status is not None and 400 <= int(status[1]) < 500 and status[1] not in ("408", "429"):
        return AccessDenied(f"{CANNOT}: {source.agent} refuses them ({said}); {POD_IDENTITY}")
    return StoreUnavailable(f"{CANNOT}: {source.agent} does not give them ({said}); {POD_IDENTITY}")


def _from_nonsense(error: Exception, source: CredentialSource) -> StoreError:
    """Parsers of the SDK raise whatever Python raises for what they do not expect; their words quote it."""
    if isinstance(error, ValueError) and "not a legal header value" in str(error):
        name = source.environment.get(AGENT_TOKEN_FILE, "AWS_CONTAINER_AUTHORIZATION_TOKEN")
        return AccessDenied(f"{CANNOT}: the token in {name} has more than one line; write it without a newline")
    if isinstance(error, ValueError) and str(error).startswith(INVALID_ENDPOINT):
        return unusable_settings(error)
    if isinstance(error, ValueError) and str(error).startswith("Unsupported host"):
        return AccessDenied(
            f"{CANNOT}: {AGENT_URL} names {source.agent}, which is neither https nor a host of an agent; correct it"
        )
    what = f"{_provider(source)} gives what are no credentials ({type(error).__name__})"
    if source.provider == CONTAINER:
        return StoreUnavailable(f"{CANNOT}: {what}; {POD_IDENTITY}")
    return AccessDenied(f"{CANNOT}: {what}; correct it, or choose another source of credentials")


def _provider(source: CredentialSource) -> str:
    """The provider, as people know it."""
    match source.provider:
        case "":
            return "the AWS configuration"
        case str(provider) if provider == CONTAINER:
            return source.agent
        case str(provider) if provider == PROCESS:
            return "credential_process"
        case str(provider) if provider == WEB_IDENTITY:
            return _token_file(source)
    return f"the provider {source.provider}"


def _token_file(source: CredentialSource) -> str:
    return source.environment.get(TOKEN_FILE, "web_identity_token_file")


def _shown(words: str) -> str:
    """A provider's own words, in one line, cut, and without what looks like a credential."""
    return VARYING.sub("…", redact(" ".join(words.split()))[:MAX_MESSAGE]).rstrip(". ")


def unreadable_files(environment: Mapping[str, str]) -> dict[str, str]:
    """Return which files of the SDK's settings cannot be read, by variable: the SDK takes them for empty ones."""
    found = {}
    for variable in SETTINGS_FILES:
        if name := environment.get(variable):
            try:
                with Path(name).expanduser().open("rb"):
                    pass
            except OSError as error:
                found[variable] = error.strerror or type(error).__name__
    return found
