"""What answers is not always AWS: a proxy's page, half an answer, one without end. None is taken for AWS's."""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from rotated_secrets.cloud.arns import Resource
from rotated_secrets.cloud.calls import CloudUnavailable
from rotated_secrets.cloud.instances import Databases
from rotated_secrets.databases.base import Unavailable
from rotated_secrets.databases.elasticache.api import ElastiCacheApi
from rotated_secrets.databases.elasticache.user import CacheUser
from rotated_secrets.secretstores import bounded_http
from rotated_secrets.secretstores.answers import MAX_PARTS, NotAws, refuse_swollen
from rotated_secrets.secretstores.aws import AwsSettings, AwsStores
from rotated_secrets.secretstores.aws_store import AwsStore
from rotated_secrets.secretstores.base import AccessDenied, StoreRefused, StoreUnavailable
from rotated_secrets.secretstores.roles import AssumedRole, stores_for_role
from rotated_secrets.values import Arn, SecretId, SecretText, SecretValue, Stage, VersionId

REGION = "eu-west-1"
ARN = Arn("arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/orders-AbCdEf")
VERSION = VersionId("1" * 32)
PAGE = b"<html><head><title>Sign in</title></head><body>hunter2canary</body></html>"
GOOD = {"ARN": ARN, "Name": "shop/orders", "VersionId": VERSION, "CreatedDate": 1.7e9, "SecretString": "x"}


def answer(body: bytes, status: int = 200, content_type: str = "application/x-amz-json-1.1", *headers: str) -> bytes:
    lines = [
        f"HTTP/1.1 {status} x",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body


def changed(**fields: object) -> bytes:
    return answer(json.dumps(GOOD | fields).encode())


ANSWERS: dict[str, bytes] = {
    "a page with 200": answer(PAGE, 200, "text/html"),
    "a page that says it is JSON": answer(PAGE),
    "a page with 403": answer(PAGE, 403, "text/html"),
    "a page with 404": answer(PAGE, 404, "text/html"),
    "a page with 502": answer(PAGE, 502, "text/html"),
    "a redirect": answer(b"", 302, "text/html", "Location: https://login.example/hunter2canary"),
    "nothing with 200": answer(b""),
    "nothing with 400": answer(b"", 400),
    "JSON without a code": answer(b'{"error": "hunter2canary"}', 403, "application/json"),
    "JSON of another shape": answer(b'{"hunter2canary": 1}'),
    "a list": answer(b'["hunter2canary"]'),
    "a text": answer(b'"hunter2canary"'),
    "null": answer(b"null"),
    "half of a JSON object": answer(b'{"ARN": "hunter2canary'),
    "bytes that are no text": answer(b"\xff\xfe\x00hunter2canary"),
    "garbage that says it is gzip": answer(b"\x1f\x8bhunter2canary", 200, "text/html", "Content-Encoding: gzip"),
    "gzip that nobody asked for": answer(gzip.compress(PAGE), 200, "text/html", "Content-Encoding: gzip"),
    "levels without end": answer(b'{"ARN":' + b"[" * 100_000),
    "elements without end": answer(b'{"ARN":[' + b"[]," * 300_000 + b"[]]}"),
    "XML elements without end": answer(b"<a>" + b"<b/>" * 300_000 + b"</a>", 200, "text/xml"),
    "no HTTP": b"hunter2canary\r\n\r\n",
    "a closed connection": b"",
    "half of an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhunter2canary",
    "half of a header": b"HTTP/1.1 200 OK\r\nContent-Le",
}
WRONG_FIELDS: dict[str, tuple[str, bytes]] = {
    "no ARN": ("DescribeSecret", answer(json.dumps(GOOD | {"ARN": None}).encode())),
    "no name": ("DescribeSecret", answer(json.dumps(GOOD | {"Name": None}).encode())),
    "no version": ("GetSecretValue", answer(json.dumps(GOOD | {"VersionId": None}).encode())),
    "no time": ("GetSecretValue", answer(json.dumps(GOOD | {"CreatedDate": None}).encode())),
    "no value": ("GetSecretValue", answer(json.dumps(GOOD | {"SecretString": None}).encode())),
    "an ARN that is a list": ("GetSecretValue", changed(ARN=["hunter2canary"])),
    "a version that is a number": ("GetSecretValue", changed(VersionId=7)),
    "a version that is too long": ("GetSecretValue", changed(VersionId="v" * 1000)),
    "a version of two lines": ("GetSecretValue", changed(VersionId="hunter2\ncanary")),
    "a value that is a list": ("GetSecretValue", changed(SecretString=["hunter2canary"])),
    "stages that are a text": ("DescribeSecret", changed(VersionIdsToStages="hunter2canary")),
    "stages of a number": ("DescribeSecret", changed(VersionIdsToStages={VERSION: 7})),
    "tags that are numbers": ("DescribeSecret", changed(Tags=[{"Key": 1, "Value": {}}])),
    "an ARN that is none": ("DescribeSecret", changed(ARN="hunter2canary")),
    "an ARN of something else": ("GetSecretValue", changed(ARN=f"{ARN}".replace("secretsmanager", "s3"))),
    "an ARN of two lines": ("DescribeSecret", changed(ARN=f"{ARN}\nhunter2canary")),
    "a time beyond all": ("GetSecretValue", changed(CreatedDate=1e300)),
    "a time that is infinite": ("GetSecretValue", changed(CreatedDate=math.inf)),
    "a time that is no number": ("GetSecretValue", changed(CreatedDate=math.nan)),
    "a time before all": ("DescribeSecret", changed(DeletedDate=-1e300)),
    "the first time": ("GetSecretValue", changed(CreatedDate=-62135596800)),
    "the last time": ("GetSecretValue", changed(CreatedDate=253402300799)),
    "a time that is a text": ("DescribeSecret", changed(DeletedDate="hunter2canary")),
    "a flag that is a text": ("DescribeSecret", changed(RotationEnabled="hunter2canary")),
}


class Endpoint:
    """Answers each connection with the same bytes, or by a function that may take its time."""

    def __init__(self) -> None:
        self.says: bytes | Callable[[socket.socket], None] = b""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(65536)
            head, _, body = request.partition(b"\r\n\r\n")
            length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
            while len(body) < int(length.partition(b":")[2]):
                body += connection.recv(65536)
            if callable(self.says):
                self.says(connection)
            else:
                connection.sendall(self.says)

    def close(self) -> None:
        self._server.close()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    running = Endpoint()
    with pytest.MonkeyPatch.context() as patch:
        for service in ("STS", "RDS", "REDSHIFT", "ELASTICACHE"):
            patch.setenv(f"AWS_ENDPOINT_URL_{service}", running.url)
        yield running
    running.close()


@pytest.fixture(scope="module")
def counted() -> list[tuple[str, str]]:
    """Operation and outcome of each request, as the metrics count them."""
    return []


@pytest.fixture(scope="module")
def stores(endpoint: Endpoint, counted: list[tuple[str, str]]) -> AwsStores:
    settings = AwsSettings(region=REGION, endpoint_url=endpoint.url, read_timeout=5, attempts=1)
    session = boto3.session.Session("key", "secret", region_name=REGION)
    return AwsStores(settings, lambda operation, outcome: counted.append((operation, outcome)), session)


USER = CacheUser("arn:aws:elasticache:eu-west-1:123456789012:user:app", "app", REGION, "app", ARN)
CLUSTER = Resource(
    "arn:aws:redshift:eu-west-1:123456789012:cluster:x", "redshift", REGION, "123456789012", "cluster", "x"
)
CALLS: dict[str, Callable[[AwsStores], object]] = {
    "DescribeSecret": lambda stores: stores.at().describe(SecretId("shop/orders")),
    "GetSecretValue": lambda stores: stores.at().get(SecretId("shop/orders")),
    "PutSecretValue": lambda stores: stores.at().put_pending(ARN, VERSION, SecretValue.parse("hunter2canary")),
    "UpdateSecretVersionStage": lambda stores: stores.at().move_stage(ARN, Stage.CURRENT, to=VERSION),
    "RotateSecret": lambda stores: stores.at().rotate(ARN, VERSION),
    "ListSecrets": lambda stores: list(stores.at().list_summaries()),
    "GetCallerIdentity": lambda stores: stores.account(),
    "AssumeRole": lambda stores: as_role(stores, token=False),
    "AssumeRoleWithWebIdentity": lambda stores: as_role(stores, token=True),
    "DescribeDBInstances": lambda stores: is_copy(stores, "db.x.eu-west-1.rds.amazonaws.com"),
    "DescribeDBClusters": lambda stores: is_copy(stores, "db.cluster-x.eu-west-1.rds.amazonaws.com"),
    "DescribeClusters": lambda stores: Databases(stores.client).locate(CLUSTER),
    "DescribeUsers": lambda stores: ElastiCacheApi(stores.client).describe(USER),
    "ListTagsForResource": lambda stores: ElastiCacheApi(stores.client).tags(USER),
    "ModifyUser": lambda stores: ElastiCacheApi(stores.client).modify(USER, ["hunter2canary"]),
}
JSON_CALLS = [name for name in CALLS if "Secret" in name]


def is_copy(stores: AwsStores, host: str) -> bool:
    return Databases(stores.client).is_copy("other.x", 5432, of=(host, 5432), region=REGION)


def as_role(stores: AwsStores, *, token: bool) -> object:
    role = AssumedRole(Arn("arn:aws:iam::123456789012:role/x"), "session", None if token else "prod/shop", "subject")
    return (
        stores_for_role(stores, role, (lambda: SecretText("hunter2canary")) if token else None)
        .at()
        .describe(SecretId("shop/orders"))
    )


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("kind", ANSWERS)
def test_what_is_not_aws_is_unavailable_and_never_repeated(
    endpoint: Endpoint, stores: AwsStores, caplog: pytest.LogCaptureFixture, operation: str, kind: str
) -> None:
    endpoint.says = ANSWERS[kind]
    with pytest.raises((StoreUnavailable, CloudUnavailable, Unavailable)) as raised:
        CALLS[operation](stores)
    assert "canary" not in f"{raised.value}{caplog.text}"
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None or raised.value.__suppress_context__


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("kind", ANSWERS)
def test_what_is_not_aws_is_counted_once_and_as_unavailable(
    endpoint: Endpoint, stores: AwsStores, counted: list[tuple[str, str]], operation: str, kind: str
) -> None:
    endpoint.says = ANSWERS[kind]
    counted.clear()
    with pytest.raises((StoreUnavailable, CloudUnavailable, Unavailable)):
        CALLS[operation](stores)
    assert counted == [(operation, "unavailable")]


@pytest.mark.parametrize("kind", WRONG_FIELDS)
def test_answer_whose_fields_are_not_aws_s_is_counted_as_unavailable(
    endpoint: Endpoint, stores: AwsStores, counted: list[tuple[str, str]], kind: str
) -> None:
    operation, endpoint.says = WRONG_FIELDS[kind]
    counted.clear()
    with pytest.raises(StoreUnavailable):
        CALLS[operation](stores)
    assert counted == [(operation, "unavailable")]


@pytest.mark.parametrize("kind", WRONG_FIELDS)
def test_answer_whose_fields_are_not_aws_s_is_unavailable(endpoint: Endpoint, stores: AwsStores, kind: str) -> None:
    operation, endpoint.says = WRONG_FIELDS[kind]
    with pytest.raises(StoreUnavailable, match="is not AWS") as raised:
        CALLS[operation](stores)
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("operation", JSON_CALLS)
def test_message_names_call_status_and_content_type_and_what_to_check(
    endpoint: Endpoint, stores: AwsStores, operation: str
) -> None:
    endpoint.says = ANSWERS["a page with 200"]
    with pytest.raises(
        StoreUnavailable, match=rf"what answered {operation} .*\(status 200, text/html\); check .* proxy"
    ):
        CALLS[operation](stores)


def test_row_of_a_list_without_arn_is_not_aws_s(endpoint: Endpoint, stores: AwsStores) -> None:
    endpoint.says = answer(json.dumps({"SecretList": [{"ARN": ARN, "Name": "a"}, {"Name": "b"}]}).encode())
    with pytest.raises(StoreUnavailable, match="is not AWS"):
        CALLS["ListSecrets"](stores)


def test_account_of_anything_but_digits_is_not_aws_s(endpoint: Endpoint, stores: AwsStores) -> None:
    result = "<GetCallerIdentityResult><Account>hunter2canary</Account></GetCallerIdentityResult>"
    page = f"<GetCallerIdentityResponse>{result}</GetCallerIdentityResponse>"
    endpoint.says = answer(page.encode(), 200, "text/xml")
    with pytest.raises(StoreUnavailable, match="is not AWS"):
        stores.account()


GIVEN = {
    "AccessKeyId": "ASIAROLE0123456789",
    "SecretAccessKey": "hunter2canary",
    "SessionToken": "hunter2canary",
    "Expiration": "2126-01-01T00:00:00Z",
}


def given(operation: str, **fields: str | None) -> bytes:
    inner = "".join(f"<{key}>{value}</{key}>" for key, value in {**GIVEN, **fields}.items() if value is not None)
    result = f"<{operation}Result><Credentials>{inner}</Credentials></{operation}Result>"
    return answer(f"<{operation}Response>{result}</{operation}Response>".encode(), 200, "text/xml")


@pytest.mark.parametrize("operation", ["AssumeRole", "AssumeRoleWithWebIdentity"])
@pytest.mark.parametrize("missing", GIVEN)
def test_credentials_without_one_of_their_parts_are_not_aws_s(
    endpoint: Endpoint, stores: AwsStores, operation: str, missing: str
) -> None:
    endpoint.says = given(operation, **{missing: None})
    with pytest.raises(StoreUnavailable, match=f"what answered {operation} .*is not AWS"):
        CALLS[operation](stores)


@pytest.mark.parametrize("operation", ["AssumeRole", "AssumeRoleWithWebIdentity"])
def test_credentials_that_have_expired_by_a_clock_that_is_ahead_are_told(
    endpoint: Endpoint, stores: AwsStores, operation: str
) -> None:
    endpoint.says = given(operation, Expiration="2020-01-01T00:00:00Z")
    with pytest.raises(AccessDenied, match="have expired already by the operator's clock; correct the time") as raised:
        CALLS[operation](stores)
    assert "canary" not in str(raised.value)


def test_answer_of_aws_is_taken(endpoint: Endpoint, stores: AwsStores, counted: list[tuple[str, str]]) -> None:
    counted.clear()
    endpoint.says = changed(VersionIdsToStages={VERSION: ["AWSCURRENT"]})
    assert stores.at().describe(SecretId("x")).stages == {VERSION: {Stage.CURRENT}}
    version = stores.at().get(SecretId("x"))
    assert (version.arn, version.version_id) == (ARN, VERSION)
    assert version.created_at == datetime.fromtimestamp(1.7e9, UTC)
    assert counted == [("DescribeSecret", "ok"), ("GetSecretValue", "ok")]


def test_error_of_aws_keeps_its_code_and_its_message_is_cut(endpoint: Endpoint, stores: AwsStores) -> None:
    body = json.dumps({"__type": "InvalidRequestException", "message": "m" * 100_000}).encode()
    endpoint.says = answer(body, 400)
    with pytest.raises(StoreRefused, match="InvalidRequestException: mmm") as raised:
        stores.at().describe(SecretId("x"))
    assert len(str(raised.value)) < 2000


def send_for_ever(start: bytes, more: bytes, pause: float) -> Callable[[socket.socket], None]:
    def send(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(more)
            time.sleep(pause)

    return send


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n", b"x"),
    ],
)
@pytest.mark.parametrize("operation", ["GetSecretValue", "GetCallerIdentity"])
def test_answer_that_comes_byte_by_byte_is_given_up(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, start: bytes, more: bytes, operation: str
) -> None:
    """Each read is in time: only a limit for the whole answer ends it."""
    settings = AwsSettings(region=REGION, endpoint_url=endpoint.url, read_timeout=0.2, attempts=1)
    stores = AwsStores(settings, session=boto3.session.Session("key", "secret", region_name=REGION))
    endpoint.says = send_for_ever(start, more, 0.02)
    with pytest.raises(StoreUnavailable, match="no answer from AWS"):
        CALLS[operation](stores)


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
    ],
)
@pytest.mark.parametrize("operation", ["GetSecretValue", "GetCallerIdentity", "DescribeDBInstances"])
def test_answer_without_end_is_given_up(
    endpoint: Endpoint, stores: AwsStores, monkeypatch: pytest.MonkeyPatch, start: bytes, operation: str
) -> None:
    sent = 0

    def send(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(start)
        while True:
            sent += connection.send(b"x" * 65536)

    endpoint.says = send
    with pytest.raises((StoreUnavailable, CloudUnavailable)):
        CALLS[operation](stores)
    assert sent < 2 * bounded_http.MAX_BYTES + 2**24  # what the sockets hold


def test_pages_without_end_are_given_up(endpoint: Endpoint, stores: AwsStores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rotated_secrets.secretstores.aws_store.MAX_PAGES", 3)
    pages = iter(range(1000))

    def page(connection: socket.socket) -> None:
        row = {"ARN": ARN, "Name": "a"}
        connection.sendall(answer(json.dumps({"SecretList": [row], "NextToken": str(next(pages))}).encode()))

    endpoint.says = page
    assert len(list(stores.at().list_summaries())) == 3


def test_other_errors_of_a_call_are_not_taken_for_an_answer(endpoint: Endpoint) -> None:
    """Such as that this operator no longer leads, raised just before a write."""

    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    settings = AwsSettings(region=REGION, endpoint_url=endpoint.url, attempts=1)
    session: Any = boto3.session.Session("key", "secret", region_name=REGION)
    with pytest.raises(Stopped):
        AwsStores(settings, session=session, before_write=stop).at().rotate(ARN, VERSION)


def test_lease_is_asked_for_after_a_write_has_waited_for_its_turn(endpoint: Endpoint) -> None:
    """The last thing before it is sent: another replica may have begun to lead during the wait."""

    class Stopped(Exception):
        pass

    order: list[str] = []

    def stop() -> None:
        order.append("the Lease")
        raise Stopped

    writes: Any = SimpleNamespace(take=lambda: order.append("its turn"))
    client = boto3.session.Session("key", "secret", region_name=REGION).client(
        "secretsmanager", endpoint_url=endpoint.url
    )
    with pytest.raises(Stopped):
        AwsStore(client, writes, before_write=stop).move_stage(ARN, Stage.CURRENT, to=VERSION)
    assert order == ["its turn", "the Lease"]


@pytest.mark.parametrize("part", [b"[],", b"{},", b"<a/>"])
def test_answer_of_too_many_elements_is_refused_before_it_is_parsed(part: bytes) -> None:
    refuse_swollen({"body": part * 1000})
    with pytest.raises(NotAws, match="elements"):
        refuse_swollen({"body": part * (MAX_PARTS + 1)})
