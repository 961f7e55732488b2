"""Requests to the API server: lists object by object, and limits on what one response may hold."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes import client, config

from rotated_secrets.cluster import (
    LARGEST_RESPONSE,
    MOST_VALUES,
    RESTARTS,
    Cluster,
    Gone,
    Json,
    ObjectTooLarge,
    Unreachable,
)
from rotated_secrets.cluster_access import NoCluster, configuration, proxy_of
from rotated_secrets.json_list import ListParser, parse
from sandbox.servers import free_port
from tests.support.examples import examples

PATH = "/apis/example.org/v1/things"


class Server(ThreadingHTTPServer):
    """Answers each request with what ``answer`` makes of its query: a status and a body."""

    daemon_threads = True

    def __init__(self, answer: Callable[[dict[str, str]], tuple[int, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.queries: list[dict[str, str]] = []
        self.connections: set[Any] = set()
        self.sent = 0


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        self.server.queries.append(query)
        self.server.connections.add(self.client_address)
        status, body = self.server.answer(query)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for at in range(0, len(body), 1 << 16):
            try:
                self.wfile.write(body[at : at + (1 << 16)])
            except OSError:
                return
            self.server.sent += 1 << 16

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def cluster_of(answer: Callable[[dict[str, str]], tuple[int, bytes]]) -> Iterator[tuple[Cluster, Server]]:
    with Server(answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        found = client.Configuration(host=f"http://127.0.0.1:{server.server_address[1]}")
        ours = Cluster(found, timeout=10, connections=1, retries=0)
        yield ours, server
        ours.close()
        server.shutdown()
        thread.join()


def a_list(*items: Any, token: str = "") -> bytes:
    return json.dumps({"metadata": {"continue": token, "resourceVersion": "7"}, "items": items}).encode()


def gone(token: str = "") -> tuple[int, bytes]:
    return 410, json.dumps({"kind": "Status", "message": "too old", "metadata": {"continue": token}}).encode()


def parsed(text: bytes, parts: list[bytes]) -> tuple[list[Json], Json]:
    assert b"".join(parts) == text
    parser = ListParser()
    found = [obj for part in parts for obj, _ in parser.feed(part)]
    found += [obj for obj, _ in parser.feed(b"", last=True)]
    return found, parser.around()


def halves(text: bytes, at: int) -> list[bytes]:
    return [text[:at], text[at:]]


OBJECTS: list[Json] = [{"a": '}]"{[\\'}, {"items": [{"b": [1, {}]}]}, {}, {"é": "😀\n"}]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(a_list(*OBJECTS), id="metadata first"),
        pytest.param(
            json.dumps({"items": OBJECTS, "metadata": {"continue": "", "resourceVersion": "7"}}).encode(), id="last"
        ),
        pytest.param(
            json.dumps({"items": OBJECTS, "metadata": {}}, indent=2, ensure_ascii=False).encode(), id="indented"
        ),
    ],
)
def test_objects_of_a_list_are_found_wherever_it_is_cut(text: bytes) -> None:
    whole = json.loads(text)
    for at in range(len(text)):
        found, around = parsed(text, halves(text, at))
        assert found == OBJECTS
        assert around == {**whole, "items": []}
    assert parsed(text, [text[at : at + 1] for at in range(len(text))])[0] == OBJECTS


_SMALL = st.dictionaries(st.text(max_size=3), st.text('{}[]",\\:é', max_size=5) | st.none(), max_size=3)


@examples(100)
@given(st.lists(_SMALL, max_size=5), st.integers(1, 50))
def test_any_list_is_parsed_as_a_whole_parse_would(objects: list[Json], size: int) -> None:
    text = a_list(*objects)
    assert parsed(text, [text[at : at + size] for at in range(0, len(text), size)])[0] == objects


def test_response_that_is_no_list_is_returned_as_it_is() -> None:
    responses: list[Json] = [{"kind": "Status"}, {"items": None, "metadata": {}}]
    for whole in responses:
        assert parsed(json.dumps(whole).encode(), [json.dumps(whole).encode()]) == ([], whole)


def test_list_that_ends_too_early_is_no_list() -> None:
    text = a_list(*OBJECTS)
    with pytest.raises(json.JSONDecodeError):
        parsed(text[:-3], [text[:-3]])


def test_of_a_list_only_one_object_is_kept_at_a_time() -> None:
    parser, text = ListParser(), a_list(*({"x": "y" * 1000} for _ in range(1000)))
    for at in range(0, len(text), 1 << 16):
        for _ in parser.feed(text[at : at + (1 << 16)]):
            pass
        assert len(parser._unread) < 2 * 1100


def test_object_that_comes_in_many_parts_is_not_parsed_at_each_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    parser, tries = ListParser(), []
    decode = parser._decoder.raw_decode

    def counted(text: str, at: int) -> tuple[Any, int]:
        tries.append(at)
        return decode(text, at)

    monkeypatch.setattr(parser._decoder, "raw_decode", counted)
    text = a_list({"x": "y" * (1 << 20)})
    found = [obj for at in range(0, len(text), 1024) for obj in parser.feed(text[at : at + 1024])]
    assert len(found) + len(list(parser.feed(b"", last=True))) == 1
    assert len(tries) < 20


DEEP = '{"f:a":' * 9000 + "{}" + "}" * 9000
"""As the API server keeps it in ``managedFields``, whoever wrote it there."""


@pytest.mark.parametrize("step", [997, 1 << 20])
def test_object_that_is_nested_too_deeply_is_read_without_its_deepest_levels(step: int) -> None:
    metadata = {"managedFields": [{"fieldsV1": "DEEP"}, 1], "name": 'a\\"{['}
    deep = json.dumps({"metadata": metadata}).replace('"DEEP"', DEEP)
    text = a_list({"n": 1}, {"n": 2}).replace(b'{"n": 1}', deep.encode())
    (found, after), around = parsed(text, [text[at : at + step] for at in range(0, len(text), step)])
    assert found["metadata"]["name"] == 'a\\"{['
    assert found["metadata"]["managedFields"][1] == 1
    assert (after, around["metadata"]) == ({"n": 2}, parsed(a_list(), [a_list()])[1]["metadata"])
    with cluster_of(lambda _: (200, deep.encode())) as (cluster, _):
        assert cluster.request("GET", PATH)["metadata"]["name"] == found["metadata"]["name"]


def test_deep_object_that_does_not_end_is_no_object() -> None:
    for broken in (DEEP[:-1], '{"a": "' + DEEP.replace('"', ""), DEEP[:-1] + '"\\'):
        with pytest.raises(ValueError, match=r"."):
            parse(broken)


def test_pages_of_a_list_hold_what_is_kept_of_each_object() -> None:
    pages = {"": a_list({"n": 1}, {"n": 2}, token="second"), "second": a_list({"n": 3})}
    with cluster_of(lambda query: (200, pages[query.get("continue", "")])) as (cluster, server):
        found = list(cluster.pages(PATH, lambda obj, size: (obj["n"], size)))
    assert found == [[(1, 8), (2, 8)], [(3, 8)]]
    assert [query["limit"] for query in server.queries] == ["100", "100"]
    assert len(server.connections) == 1, "a response that was read to its end gives its connection back"


def test_list_that_got_too_old_goes_on_with_the_token_of_the_refusal() -> None:
    pages = {"": (200, a_list({"n": 1}, token="old")), "old": gone("new"), "new": (200, a_list({"n": 2}))}
    with cluster_of(lambda query: pages[query.get("continue", "")]) as (cluster, _):
        assert list(cluster.pages(PATH, lambda obj, _: obj["n"])) == [[1], [2]]


def test_list_that_got_too_old_is_never_read_as_a_whole_and_not_for_ever() -> None:
    pages = {"": (200, a_list(1, token="old")), "old": gone()}
    with cluster_of(lambda query: pages[query.get("continue", "")]) as (cluster, server), pytest.raises(Gone):
        list(cluster.pages(PATH, lambda obj, _: obj))
    assert len(server.queries) == 2 * (RESTARTS + 1)
    assert all(query["limit"] == "100" for query in server.queries)


def test_object_with_too_many_bytes_is_not_read_to_its_end() -> None:
    body = json.dumps({"x": "y" * (8 << 20)}).encode()
    with cluster_of(lambda _: (200, body)) as (cluster, server):
        with pytest.raises(ObjectTooLarge, match="more than 512 KiB"):
            cluster.request("GET", PATH, largest=512 << 10)
        assert cluster.request("GET", PATH, largest=len(body))["x"]
        assert cluster.request("GET", PATH, largest=None)["x"]
    assert server.sent < 3 * len(body)


def test_object_has_a_limit_where_none_is_named() -> None:
    body = json.dumps({"x": "y" * LARGEST_RESPONSE}).encode()
    with cluster_of(lambda _: (200, body)) as (cluster, _), pytest.raises(ObjectTooLarge, match="more than 16384 KiB"):
        cluster.request("GET", PATH)


@pytest.mark.parametrize(
    "obj",
    [
        pytest.param({str(number): "" for number in range(MOST_VALUES + 1)}, id="entries"),
        pytest.param({"x": [str(number) for number in range(MOST_VALUES + 1)]}, id="texts"),
    ],
)
def test_object_with_too_many_values_is_not_parsed(obj: Json) -> None:
    body = json.dumps(obj, separators=(",", ":")).encode()
    with cluster_of(lambda _: (200, body)) as (cluster, _):
        with pytest.raises(ObjectTooLarge, match="values"):
            cluster.request("GET", PATH)
        assert cluster.request("GET", PATH, largest=None) == obj


def test_long_texts_are_not_many_values() -> None:
    obj = {"x": "a: {{ b }}, c\n" * 30_000}
    with cluster_of(lambda _: (200, json.dumps(obj).encode())) as (cluster, _):
        assert cluster.request("GET", PATH) == obj


@pytest.mark.parametrize("body", [b"<html>", b"", b"\xff\xfe", b'{"items": [{"a": '])
def test_response_that_is_not_json_is_no_answer(body: bytes) -> None:
    with cluster_of(lambda _: (200, body)) as (cluster, _):
        with pytest.raises(Unreachable, match="did not answer with JSON"):
            cluster.request("GET", PATH)
        with pytest.raises(Unreachable, match="did not answer with JSON"):
            cluster.page(PATH, lambda obj, _: obj)


def test_refusal_names_its_message_and_gives_the_connection_back() -> None:
    with cluster_of(lambda _: gone()) as (cluster, server):
        for _ in range(2):
            with pytest.raises(Gone, match="answered 410: too old"):
                cluster.request("GET", PATH)
    assert len(server.connections) == 1


def asked_through(proxy: str, host: str = "https://api.example.com:6443") -> str:
    """What is told where the API server cannot be reached through a proxy."""
    found = client.Configuration(host=host)
    found.proxy = proxy
    ours = Cluster(found, timeout=5, connections=1, retries=0)
    with pytest.raises(Unreachable) as caught:
        ours.request("GET", PATH)
    ours.close()
    return str(caught.value)


@pytest.mark.parametrize("host", ["https://api.example.com:6443", "http://api.example.com"])
def test_an_error_of_a_proxy_names_the_proxy_without_its_password_and_the_way_around_it(host: str) -> None:
    told = asked_through(f"http://user:hidden@127.0.0.1:{free_port()}", host)
    assert re.search(r"could not be reached through the proxy 127\.0\.0\.1:\d+ [(]to ask it directly, ", told)
    assert told.endswith("add api.example.com to NO_PROXY): Connection refused")
    assert "hidden" not in told
    assert "user" not in told


def test_what_a_proxy_refuses_is_told_in_its_words() -> None:
    with Server(lambda _: (403, b"")) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        told = asked_through(f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
        thread.join()
    assert "to NO_PROXY): Tunnel connection failed: " in told


@pytest.fixture
def kubeconfig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Of an API server outside of this machine, for a process whose environment names no proxy."""
    name = {"name": "it"}
    written = {
        "clusters": [name | {"cluster": {"server": "https://api.example.com"}}],
        "users": [name | {"user": {}}],
        "contexts": [name | {"context": {"cluster": "it", "user": "it"}}],
        "current-context": "it",
    }
    (tmp_path / "config").write_text(json.dumps(written))
    for variable in ("NO_PROXY", "no_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "config"


@pytest.mark.parametrize("text", ["- a", "{", "\x00", "clusters: 7", "contexts: [{}]", "null", "current-context: []"])
def test_a_kubeconfig_that_is_none_is_told(kubeconfig: Path, text: str) -> None:
    kubeconfig.write_text(text)
    with pytest.raises(NoCluster, match=r"[^.]; set --kubeconfig, or run in a pod with a ServiceAccount$"):
        configuration(kubeconfig, None)


@pytest.mark.parametrize(
    "proxy",
    ["socks5://proxy:1080", "ftp://proxy", "http://", "http://a b", "http://me:hidden@proxy:99999", "http://[::1"],
)
def test_a_proxy_that_cannot_be_used_is_told_without_its_password(
    kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(NoCluster, match=r"write http://HOST:PORT .+ or add api\.example\.com to NO_PROXY") as told:
        configuration(kubeconfig, None)
    assert "hidden" not in str(told.value)
    monkeypatch.setenv("NO_PROXY", "api.example.com")
    configuration(kubeconfig, None)


@pytest.mark.parametrize(
    ("login", "sent"), [("me:p%40ss%C3%BC@", "Basic bWU6cEBzc8O8"), ("me@", "Basic bWU="), ("", None)]
)
def test_it_logs_in_at_a_proxy_as_its_url_says(
    kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, login: str, sent: str | None
) -> None:
    seen: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            seen.append(self.headers.get("Proxy-Authorization"))
            self.send_error(407)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://{login}127.0.0.1:{server.server_port}")
        ours = Cluster(configuration(kubeconfig, None), timeout=5, connections=1, retries=0)
        with pytest.raises(Unreachable, match="407"):
            ours.request("GET", PATH)
        server.shutdown()
    assert seen == [sent]


def test_a_pod_asks_its_own_api_server_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_pod(client_configuration: client.Configuration) -> None:
        client_configuration.host = "https://10.0.0.1:443"

    monkeypatch.setattr(config, "load_incluster_config", in_pod)
    for name, value in {"HTTPS_PROXY": "http://proxy:3128", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    for name in ("KUBECONFIG", "NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert proxy_of(configuration(None, None)) is None


def test_a_kubeconfig_is_followed_through_the_proxy_of_the_environment_unless_it_is_excepted(
    monkeypatch: pytest.MonkeyPatch, kubeconfig: Path
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy:3128")
    assert proxy_of(configuration(kubeconfig, None)) == "http://proxy:3128"
    monkeypatch.setenv("NO_PROXY", "example.com")
    assert proxy_of(configuration(kubeconfig, None)) is None
