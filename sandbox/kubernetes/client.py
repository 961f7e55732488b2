"""A thin way to speak to an API server in plain JSON, for tests and fixtures.

The `kubernetes` package says the same in types, but importing its core API alone takes seconds of CPU.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

import urllib3
import yaml

Json = dict[str, Any]

MERGE = "application/merge-patch+json"
_JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


class StatusError(Exception):
    """The API server refused; `reason` and `details` are those of its Status."""

    def __init__(self, code: int, status: Json) -> None:
        super().__init__(f"{code} {status.get('reason', '')}: {status.get('message', '')}")
        self.code: int = code
        self.reason: str = status.get("reason", "")
        self.message: str = status.get("message", "")
        self.causes: list[Json] = (status.get("details") or {}).get("causes") or []


@dataclass(frozen=True)
class Answer:
    code: int
    body: Json
    warnings: list[str]


class Api:
    """Speaks as the user of a kubeconfig, who has a token or a client certificate in it, or as the owner of `token`."""

    def __init__(self, kubeconfig: Path, token: str | None = None) -> None:
        body = yaml.safe_load(kubeconfig.read_text())
        context = next(each["context"] for each in body["contexts"] if each["name"] == body["current-context"])
        cluster = next(each["cluster"] for each in body["clusters"] if each["name"] == context["cluster"])
        user = next(each["user"] for each in body["users"] if each["name"] == context["user"])
        user = {"token": token} if token else user
        if "token" not in user and "client-certificate-data" not in user:
            raise ValueError(
                f"{kubeconfig}: user {context['user']} has neither a token nor a client certificate in the file"
            )
        self._address: str = cluster["server"].rstrip("/")
        self._headers = {"User-Agent": "sandbox"}
        if "token" in user:
            self._headers["Authorization"] = f"Bearer {user['token']}"
        self._pool = urllib3.PoolManager(ssl_context=_trust(cluster, user), maxsize=8, retries=False)

    def request(
        self, method: str, path: str, body: Any = None, *, content_type: str = "", accept: str = "", **query: Any
    ) -> Answer:
        """Raises StatusError on any answer but success."""
        answer = self._pool.request(
            method,
            _url(self._address, path, query),
            body=None if body is None else json.dumps(body),
            headers=self._headers | {"Content-Type": content_type or _JSON, "Accept": accept or _JSON},
        )
        found = json.loads(answer.data) if answer.data[:1] in (b"{", b"[") else {"message": answer.data.decode()}
        if answer.status >= 400:
            raise StatusError(answer.status, found)
        return Answer(answer.status, found, answer.headers.getlist("Warning"))

    def get(self, path: str, **query: Any) -> Json:
        return self.request("GET", path, **query).body

    def create(self, path: str, body: Json, **query: Any) -> Json:
        return self.request("POST", path, body, **query).body

    def replace(self, path: str, body: Json, **query: Any) -> Json:
        return self.request("PUT", path, body, **query).body

    def patch(self, path: str, body: Any, content_type: str = MERGE, **query: Any) -> Json:
        return self.request("PATCH", path, body, content_type=content_type, **query).body

    def delete(self, path: str, body: Json | None = None, **query: Any) -> Json:
        return self.request("DELETE", path, body, **query).body

    def watch(self, path: str, *, seconds: int = 10, accept: str = "", **query: Any) -> Iterator[Json]:
        """Events until the server ends the watch after `seconds`; close the iterator to end it sooner."""
        url = _url(self._address, path, query | {"watch": "true", "timeoutSeconds": seconds})
        headers = self._headers | {"Accept": accept or _JSON}
        answer = self._pool.request("GET", url, headers=headers, preload_content=False)
        with closing(answer):
            if answer.status >= 400:
                raise StatusError(answer.status, json.loads(answer.data))
            held = b""
            for chunk in answer.stream(1 << 16):
                *lines, held = (held + chunk).split(b"\n")
                yield from map(json.loads, filter(None, lines))


def _url(address: str, path: str, query: Mapping[str, Any]) -> str:
    return f"{address}{path}?{urlencode(query)}" if query else address + path


def _trust(cluster: Json, user: Json) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    if "client-certificate-data" in user:
        with TemporaryDirectory() as directory:
            pair = Path(directory, "pair.pem")
            pair.touch(mode=0o600)
            pair.write_bytes(b"".join(base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key")))
            context.load_cert_chain(pair)
    return context
