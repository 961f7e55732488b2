"""The operator's own credentials: what keeps them from being loaded is told, with its file or address, and passes."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions as sdk
import pytest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from rotated_secrets.controller.settings import Settings
from rotated_secrets.secretstores.aws import AwsSettings, AwsStores
from rotated_secrets.secretstores.base import (
    AccessDenied,
    SecretNotFound,
    StoreError,
    StoreThrottled,
    StoreUnavailable,
)
from rotated_secrets.secretstores.credential_errors import WEB_IDENTITY, CredentialSource, failure_of
from rotated_secrets.secretstores.own_identity import LOADED_SECONDS, REMEMBERED_SECONDS, OwnCredentials, OwnSession
from rotated_secrets.secretstores.roles import AssumedRole, stores_for_role
from rotated_secrets.values import Arn, SecretId
from tests.support.fake_aws import HOME, REGION
from tests.support.wire_aws import AGENT, Fault, WireAws, dropped, error, page, wire_aws, without_aws_settings

ROLE = "arn:aws:iam::111122223333:role/rotated-secrets"
ISSUER = "https://oidc.example.com/id/CLUSTER"
SUBJECT = "system:serviceaccount:operators:rotated-secrets"
CANARY = "canary-signature"


def jwt() -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"iss": ISSUER, "sub": SUBJECT}).encode()).rstrip(b"=").decode()
    return f"eyJhbGciOiJub25lIn0.{claims}.{CANARY}"


class World:
    """An operator at a wire, ways to give it credentials, and a clock."""

    def __init__(self, wire: WireAws, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wire, self.folder, self.set = wire, folder, monkeypatch.setenv
        self.requests: list[tuple[str, str]] = []
        self.now = 0.0
        settings = AwsSettings(region=REGION, attempts=1, connect_timeout=2, read_timeout=2)
        self.stores = AwsStores(settings, lambda operation, outcome: self.requests.append((operation, outcome)))
        session = self.stores._session
        assert isinstance(session, OwnSession)
        session.credentials._clock = lambda: self.now

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def by_token(self, path: Path | str | None = None, role: str = ROLE) -> str:
        name = str(path or self.file("token", jwt()))
        self.set("AWS_WEB_IDENTITY_TOKEN_FILE", name)
        self.set("AWS_ROLE_ARN", role)
        return name

    def by_agent(self, token: Path | str | None = None) -> None:
        self.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{self.wire.url}/v1/credentials")
        self.set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(token or self.file("agent-token", "of-the-pod")))

    def by_process(self, command: str) -> None:
        self.set("AWS_CONFIG_FILE", str(self.file("config", f"[default]\ncredential_process = {command}\n")))

    def by_file(self, key: str) -> Path:
        path = self.file("credentials", f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\n")
        self.set("AWS_SHARED_CREDENTIALS_FILE", str(path))
        return path

    def later(self, seconds: float = REMEMBERED_SECONDS) -> None:
        self.now += seconds

    def failure(self) -> StoreError:
        with pytest.raises(StoreError) as caught:
            self.stores.account()
        assert caught.value.__context__ is None or caught.value.__suppress_context__
        assert CANARY not in str(caught.value)
        return caught.value

    def denied(self) -> str:
        failure = self.failure()
        assert type(failure) is AccessDenied
        return str(failure)

    def unavailable(self) -> str:
        failure = self.failure()
        assert isinstance(failure, StoreUnavailable)
        return str(failure)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    with wire_aws() as wire:
        without_aws_settings(monkeypatch, wire)
        monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
        yield World(wire, tmp_path, monkeypatch)


# ---- it works


def test_token_file_gives_the_role_and_its_request_to_sts_is_counted(world: World) -> None:
    world.by_token()
    assert world.stores.account() == HOME
    assert world.requests == [("AssumeRoleWithWebIdentity", "ok"), ("GetCallerIdentity", "ok")]


@pytest.mark.parametrize("way", ["agent", "process", "file"])
def test_other_providers_of_the_sdk_give_theirs(world: World, way: str) -> None:
    if way == "agent":
        world.by_agent()
    elif way == "process":
        given = json.dumps({"Version": 1, "AccessKeyId": "AKIAPROCESS", "SecretAccessKey": "s"})
        world.by_process(f"cat {world.file('given.json', given)}")
    else:
        world.by_file("AKIAFILE")
    assert world.stores.account() == HOME
    assert world.wire.calls[-1].caller.startswith({"agent": "ASIAAGENT", "process": "AKIAP", "file": "AKIAF"}[way])


# ---- files


def is_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (
        lambda path: path.unlink(),
        r"\(AWS_WEB_IDENTITY_TOKEN_FILE\): No such file.*eks\.amazonaws\.com/role-arn",
    ),
    "a folder": (is_folder, "Is a directory; .*correct AWS_WEB_IDENTITY_TOKEN_FILE"),
    "empty": (lambda path: path.write_text(""), "is empty; "),
    "no text": (lambda path: path.write_bytes(b"\xff\xfe"), "gives what are no credentials"),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_token_file_that_cannot_be_used_is_named_and_loaded_once_it_can(world: World, spoilt: str) -> None:
    name, (spoil, says) = world.by_token(), SPOILT[spoilt]
    spoil(Path(name))
    message = world.denied()
    assert name in message
    assert re.search(says, message), message
    world.later()
    if spoilt == "a folder":
        Path(name).rmdir()
    Path(name).write_text(jwt())
    assert world.stores.account() == HOME, "not loaded again"


AGENT_SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: path.unlink(), "No such file.*list-pod-identity-associations"),
    "a folder": (is_folder, "Is a directory; .*list-pod-identity-associations"),
    "two lines": (lambda path: path.write_text("a\nb"), "has more than one line"),
}


@pytest.mark.parametrize("spoilt", AGENT_SPOILT)
def test_token_file_for_the_agent_that_cannot_be_used_is_named(world: World, spoilt: str) -> None:
    path, (spoil, says) = world.file("agent-token", "of-the-pod"), AGENT_SPOILT[spoilt]
    spoil(path)
    world.by_agent(path)
    message = world.denied()
    assert str(path) in message
    assert re.search(says, message), message


def test_file_that_the_operators_user_may_not_read_needs_a_group() -> None:
    attempt = CredentialSource(WEB_IDENTITY, environment={"AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token"})
    failure = failure_of(PermissionError(13, "Permission denied", "/var/run/token"), attempt)
    assert type(failure) is AccessDenied
    assert "/var/run/token (AWS_WEB_IDENTITY_TOKEN_FILE): Permission denied; " in str(failure)
    assert "securityContext.fsGroup" in str(failure)


@pytest.mark.parametrize("variable", ["AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"])
def test_credentials_file_that_is_a_folder_is_named(world: World, variable: str) -> None:
    world.set(variable, str(world.folder))
    assert f"{variable} names {world.folder}, which cannot be read (Is a directory)" in world.denied()


def test_file_that_is_none_of_the_sdks_is_named(world: World) -> None:
    world.set("AWS_CONFIG_FILE", str(world.file("config", "no section\n")))
    message = world.denied()
    assert str(world.folder / "config") in message
    assert "AWS_CONFIG_FILE" in message


def test_profile_that_is_not_there_is_named_until_it_is(world: World) -> None:
    world.set("AWS_PROFILE", "elsewhere")
    assert "(elsewhere) could not be found" in world.denied()
    assert "correct AWS_PROFILE" in world.denied()
    world.later()
    path = world.by_file("AKIAFILE")
    path.write_text(path.read_text().replace("default", "elsewhere"))
    assert world.stores.account() == HOME


def test_settings_file_that_is_corrected_is_read_again(world: World) -> None:
    token = world.file("token", jwt())
    settings = f"[default]\nrole_arn = {ROLE}\nweb_identity_token_file = "
    world.set("AWS_CONFIG_FILE", str(world.file("config", f"{settings}/nonexistent/token\n")))
    assert "/nonexistent/token" in world.denied()
    world.later()
    world.file("config", f"{settings}{token}\n")
    assert world.stores.account() == HOME


def test_settings_can_be_read_though_the_profile_is_not_there(world: World) -> None:
    world.set("AWS_PROFILE", "elsewhere")
    world.set("AWS_REGION", REGION)
    assert Settings.parse({"identity": "me", "lease_namespace": "here"}).aws_region == REGION


def test_half_a_key_is_told(world: World) -> None:
    world.set("AWS_ACCESS_KEY_ID", "AKIAHALF")
    assert "missing: AWS_SECRET_ACCESS_KEY" in world.denied()


UNWRITABLE = {
    "access key id": ("AKIA\n", "s", None),
    "secret access key": ("AKIA", "s\n", None),
    "session token": ("AKIA", "s", "two lines\n"),
}


@pytest.mark.parametrize("part", UNWRITABLE)
def test_line_end_in_a_key_is_told_with_the_part(world: World, part: str) -> None:
    """As in a Secret that was made of a file: no header may hold it, and the SDK says only that it got no answer."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    for name, value in zip(names, UNWRITABLE[part], strict=True):
        if value is not None:
            world.set(name, value)
    assert f"the {part} that the provider env gives is empty, or has white space" in world.denied()
    assert world.wire.calls == []


@pytest.mark.parametrize("key", ["null", "7", '""', '"AK IA"', '"AKIÄ"', "[]"])
def test_key_that_is_no_text_is_told(world: World, key: str) -> None:
    given = f'{{"Version": 1, "AccessKeyId": {key}, "SecretAccessKey": "s"}}'
    world.by_process(f"cat {world.file('given.json', given)}")
    assert "the access key id that credential_process gives is empty, or has" in world.denied()


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"])
@pytest.mark.parametrize("by", ["token", "key"])
def test_endpoint_that_is_no_url_is_quoted(world: World, variable: str, by: str) -> None:
    if by == "token":
        world.by_token()
    else:
        world.by_file("AKIAFILE")
    world.set(variable, "localhost:4566")
    message = world.denied()
    assert "Invalid endpoint: localhost:4566; write https://HOST in --aws-endpoint-url" in message


def test_endpoint_of_sts_that_is_no_url_is_told_where_a_role_is_assumed(world: World) -> None:
    world.by_file("AKIAFILE")
    world.set("AWS_ENDPOINT_URL_STS", "localhost")
    role = AssumedRole(Arn("arn:aws:iam::111122223333:role/orders"), "shop.orders", external_id="prod/shop")
    with pytest.raises(AccessDenied, match="Invalid endpoint: localhost; "):
        stores_for_role(world.stores, role, None).at().describe(SecretId("x"))


SETTINGS = {
    "AWS_DEFAULTS_MODE": "defaults mode: nonsense",
    "AWS_STS_REGIONAL_ENDPOINTS": "STS regional endpoints option nonsense",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "request_checksum_calculation",
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": "account_id_endpoint_mode",
}


@pytest.mark.parametrize("variable", SETTINGS)
def test_setting_that_the_sdk_does_not_know_is_quoted(world: World, variable: str) -> None:
    world.by_file("AKIAFILE")
    world.set(variable, "nonsense")
    message = world.denied()
    assert SETTINGS[variable] in message
    assert "; correct AWS_PROFILE, the other AWS_ variables of the operator, or the files" in message


def test_role_of_a_profile_is_corrected_there(world: World) -> None:
    keys = "aws_access_key_id = AKIAFILE\naws_secret_access_key = s\n"
    profiles = f"[default]\nrole_arn = junk\nsource_profile = source\n[profile source]\n{keys}"
    world.set("AWS_CONFIG_FILE", str(world.file("config", profiles)))
    assert "the role junk is not the ARN of an IAM role; correct role_arn in the AWS config file" in world.denied()


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("TooManyRequestsException", 429, StoreUnavailable),
        ("InternalFailure", 500, StoreUnavailable),
        ("ForbiddenException", 403, AccessDenied),
        ("ResourceNotFoundException", 404, AccessDenied),
    ],
)
def test_refusal_of_another_service_that_gives_credentials_passes_where_it_may(
    code: str, status: int, kind: type[StoreError]
) -> None:
    answer: Any = {"Error": {"Code": code, "Message": "as it says"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    failure = failure_of(ClientError(answer, "GetRoleCredentials"), CredentialSource("sso"))
    assert type(failure) is kind
    assert f"{code}: as it says" in str(failure)


# ---- programs


PROGRAMS: dict[str, tuple[str, str]] = {
    "is not there": ("/nonexistent/helper", "/nonexistent/helper: No such file.*operator's image"),
    "is a folder": ("/", "/: Permission denied"),
    "fails": ("sh -c 'echo out of order >&2; exit 3'", r"credential_process failed \(out of order\)"),
    "says nothing": ("true", "credential_process gives what are no credentials"),
    "gives a list": ("echo []", "credential_process gives what are no credentials"),
    "gives an old format": ("echo {}", "Unsupported version"),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_that_gives_no_credentials_is_told_with_its_own_words(world: World, program: str) -> None:
    command, says = PROGRAMS[program]
    world.by_process(command)
    message = world.denied()
    assert re.search(says, message), message


ENDLESS = {
    "itself": "sleep 60",
    "what it waits for": "sh -c 'sleep 60; true'",
    "what it leaves behind": "sh -c 'sleep 60 & true'",
    "what has left it": "sh -c 'setsid sleep 60 & sleep 60'",
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("command", ENDLESS.values(), ids=list(ENDLESS))
@pytest.mark.parametrize("profile", ["its own", "its source"])
def test_program_that_does_not_end_is_ended(
    world: World, monkeypatch: pytest.MonkeyPatch, command: str, profile: str
) -> None:
    """What it has started keeps its output open, for which the SDK would wait."""
    monkeypatch.setattr("rotated_secrets.secretstores.own_identity.PROCESS_SECONDS", 0.1)
    world.by_process(command)
    if profile == "its source":
        process = (world.folder / "config").read_text().replace("[default]", "[profile source]")
        world.file("config", f"[default]\nrole_arn = {ROLE}\nsource_profile = source\n{process}")
    assert "did not end within" in world.unavailable()


# ---- STS


DENIED = "Not authorized to perform sts:AssumeRoleWithWebIdentity"
STS: dict[str, tuple[tuple[str, str, int], type[StoreError], str]] = {
    "denied": (
        ("AccessDenied", DENIED, 403),
        AccessDenied,
        r"trust policy must allow .*oidc-provider/oidc\.example\.com",
    ),
    "no provider": (
        ("InvalidIdentityToken", f"No OpenIDConnect provider found in your account for {ISSUER}", 400),
        AccessDenied,
        f"No OpenIDConnect provider found.*create-open-id-connect-provider --url {ISSUER}",
    ),
    "the provider is away": (
        ("IDPCommunicationError", "keys cannot be fetched", 400),
        StoreUnavailable,
        "keys cannot be fetched.*tried again later",
    ),
    "expired": (("ExpiredTokenException", "Token expired", 400), AccessDenied, "had expired.*clocks"),
    "skewed": (("RequestExpired", "Request has expired", 400), AccessDenied, "Request has expired.*clocks"),
    "timed out": (("RequestTimeoutException", "", 408), StoreUnavailable, "tried again later"),
    "throttled": (("Throttling", "Rate exceeded", 400), StoreThrottled, "throttles AssumeRoleWithWebIdentity"),
    "broken": (("InternalFailure", "", 500), StoreUnavailable, "tried again later"),
    "no such region": (("RegionDisabledException", "", 403), AccessDenied, "not active in eu-west-1"),
    "no such role": (
        ("ValidationError", "Request ARN is invalid", 400),
        AccessDenied,
        "Request ARN is invalid.*AWS_ROLE_ARN",
    ),
}


@pytest.mark.parametrize("answer", STS)
def test_refusal_of_sts_has_the_words_that_a_tenants_has(world: World, answer: str) -> None:
    (code, words, status), kind, says = STS[answer]
    world.by_token()
    world.wire.fail("AssumeRoleWithWebIdentity", error(code, words, status))
    failure = world.failure()
    assert type(failure) is kind
    assert re.search(says, str(failure)), str(failure)
    assert "source.credentials" not in str(failure)


@pytest.mark.parametrize("status", [200, 403, 502])
@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b""])
def test_page_instead_of_sts_is_told_as_one(world: World, status: int, body: bytes) -> None:
    world.by_token()
    world.wire.fail("AssumeRoleWithWebIdentity", page(status, body))
    assert f"AssumeRoleWithWebIdentity on role {ROLE}" in world.unavailable()
    assert ("AssumeRoleWithWebIdentity", "unavailable") in world.requests


def test_sts_that_does_not_answer_is_unavailable(world: World) -> None:
    world.by_token()
    world.wire.fail("AssumeRoleWithWebIdentity", dropped)
    message = world.unavailable()
    assert "no answer from AWS to AssumeRoleWithWebIdentity" in message
    assert "(ConnectionClosedError from 127.0.0.1)" in message


def test_host_of_a_region_that_does_not_exist_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.by_file("AKIAFILE")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    world.set("AWS_ENDPOINT_URL_SECRETS_MANAGER", "https://user:canary@no-such-region.invalid/path")
    with pytest.raises(StoreUnavailable, match=r"\(EndpointConnectionError from no-such-region\.invalid\);") as caught:
        world.stores.at().describe(SecretId("x"))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("arn", ["orders", "arn:aws:iam::role/x"])
def test_role_that_is_no_arn_is_told(world: World, arn: str) -> None:
    world.by_token(role=arn)
    assert "AWS_ROLE_ARN" in world.denied()


def test_token_without_a_role_is_told(world: World) -> None:
    world.set("AWS_WEB_IDENTITY_TOKEN_FILE", str(world.file("token", jwt())))
    assert "AWS_ROLE_ARN" in world.denied()


# ---- the agent


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_agent_that_refuses_is_told_with_its_address_and_words(world: World, status: int) -> None:
    world.by_agent()
    world.wire.fail(AGENT, error("ResourceNotFoundException", "no association", status))
    message = world.denied()
    assert f"{world.wire.url}/v1/credentials refuses" in message
    assert "no association" in message
    assert "list-pod-identity-associations" in message


@pytest.mark.parametrize(
    "fault",
    [error("x", "", 500), error("x", "", 429), dropped, page(200), page(200, b""), page(200, b"[]"), page(200, b"{}")],
)
def test_agent_that_is_away_or_is_none_is_told_with_its_address(world: World, fault: Fault) -> None:
    world.by_agent()
    world.wire.fail(AGENT, fault)
    assert f"{world.wire.url}/v1/credentials" in world.unavailable()
    world.wire.faults.clear()
    world.later()
    assert world.stores.account() == HOME


def test_address_that_is_not_an_agents_is_told(world: World) -> None:
    world.by_agent()
    world.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/credentials")
    assert "names http://192.0.2.1/credentials" in world.denied()


# ---- loaded again


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId", "UnrecognizedClientException"])
def test_credentials_that_aws_rejects_are_loaded_again(world: World, code: str) -> None:
    world.by_file("AKIAOLD")
    assert world.stores.account() == HOME
    world.by_file("AKIANEW")
    world.later(LOADED_SECONDS)
    world.wire.fail("DescribeSecret", error(code, "no longer", 403), times=1)
    with pytest.raises(AccessDenied, match="loaded again"):
        world.stores.at().describe(SecretId("x"))
    with pytest.raises(SecretNotFound):
        world.stores.at().describe(SecretId("x"))
    assert [call.caller for call in world.wire.calls] == ["AKIAOLD", "AKIAOLD", "AKIANEW"]


def test_credentials_that_were_just_loaded_are_not_loaded_again(world: World) -> None:
    """However many RotatedSecrets are rejected with them: each loading may be a request to STS."""
    world.by_token()
    world.wire.fail("GetCallerIdentity", error("InvalidClientTokenId", "", 403))
    for _ in range(5):
        world.denied()
    assert world.wire.operations().count("AssumeRoleWithWebIdentity") == 1


def test_failure_is_told_to_all_and_tried_once(world: World) -> None:
    world.by_token()
    world.wire.fail("AssumeRoleWithWebIdentity", error("AccessDenied", DENIED, 403))
    assert len({world.denied() for _ in range(5)}) == 1
    assert world.wire.operations() == ["AssumeRoleWithWebIdentity"]
    world.later()
    world.denied()
    assert world.wire.operations() == ["AssumeRoleWithWebIdentity"] * 2


def test_role_that_a_tenant_names_is_told_what_the_operator_itself_lacks(world: World) -> None:
    world.by_token("/nonexistent/token")
    role = AssumedRole(Arn("arn:aws:iam::111122223333:role/orders"), "shop.orders", external_id="prod/shop")
    with pytest.raises(AccessDenied, match="/nonexistent/token"):
        stores_for_role(world.stores, role, None).at().describe(SecretId("x"))


@pytest.mark.parametrize(
    "raised", [RuntimeError("x"), KeyError("x"), AttributeError("x"), ValueError("x"), TypeError("x")]
)
@pytest.mark.parametrize("provider", ["", WEB_IDENTITY, "container-role", "custom-process", "iam-role", "sso", "env"])
def test_whatever_a_provider_raises_is_told_as_denied_or_unavailable(raised: Exception, provider: str) -> None:
    failure = failure_of(raised, CredentialSource(provider))
    assert type(failure) in (AccessDenied, StoreUnavailable)
    assert "the operator's AWS credentials cannot be loaded: " in str(failure)


@pytest.mark.parametrize(
    "asked", [None, {}, {"RoleArn": ROLE, "RoleSessionName": "s"}, {"RoleArn": ROLE, "WebIdentityToken": jwt()}]
)
@pytest.mark.parametrize("provider", ["", WEB_IDENTITY, "container-role", "custom-process", "iam-role"])
def test_whatever_the_sdk_raises_is_told_as_denied_or_unavailable(provider: str, asked: dict[str, str] | None) -> None:
    classes = [each for each in vars(sdk).values() if isinstance(each, type) and issubclass(each, BotoCoreError)]
    tried = [each for each in classes if each.__init__ is BotoCoreError.__init__]
    assert len(tried) > 80
    for each in tried:
        error = each(**dict.fromkeys(re.findall(r"{(\w+)", each.fmt), "x"))
        failure = failure_of(error, CredentialSource(provider, REGION, asked=asked))
        assert isinstance(failure, AccessDenied | StoreUnavailable), each


def test_credentials_that_need_no_refresh_take_no_lock() -> None:
    """A refresh ahead of time may hang, and holds up nothing else meanwhile."""
    credentials = OwnCredentials(lambda: Credentials("key", "secret"), lambda error: AccessDenied(str(error)))
    credentials.get_frozen_credentials()
    with credentials._lock:
        assert credentials.get_frozen_credentials().access_key == "key"
