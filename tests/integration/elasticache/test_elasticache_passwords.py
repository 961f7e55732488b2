"""Passwords by ElastiCache's API: set, waited for, and tested by logging in to a real Redis behind it."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import AuthenticationFailed, Refused, RightsReport, Unavailable, Users
from rotated_secrets.databases.elasticache.api import ElastiCacheApi
from rotated_secrets.databases.elasticache.engine import ElastiCacheEngine
from rotated_secrets.databases.elasticache.user import OWNER_TAG, CacheUser
from rotated_secrets.databases.idle import IdleLimit
from sandbox.redis import RedisServer
from tests.integration.elasticache.conftest import FIRST, Tenant, make_tenant, operators_engine

if TYPE_CHECKING:
    from mypy_boto3_elasticache import ElastiCacheClient

DOCUMENT = Path(__file__).parents[3] / "docs" / "elasticache.md"
SECOND = "the-second-password-Kanarienvogel"


def test_two_passwords_log_in_until_the_old_one_retires(tenant: Tenant) -> None:
    old, new = tenant.hosted(), tenant.hosted(SECOND)
    assert tenant.verify(old, "GET x") == []
    for _ in range(2):  # a crash may have happened right after the first
        assert tenant.set(new, keep=old) == RightsReport()
    assert tenant.verify(new) == tenant.verify(old) == []
    assert tenant.set(new) == RightsReport()
    assert tenant.verify(new) == []
    with pytest.raises(AuthenticationFailed):
        tenant.verify(old)


def test_a_roll_back_makes_the_kept_password_the_only_one(tenant: Tenant) -> None:
    tenant.set(tenant.hosted(SECOND), keep=tenant.hosted())
    tenant.set(tenant.hosted())
    assert tenant.verify(tenant.hosted()) == []
    with pytest.raises(AuthenticationFailed):
        tenant.verify(tenant.hosted(SECOND))


def test_a_change_is_waited_for_until_it_is_everywhere(tenant: Tenant) -> None:
    tenant.tag(test_seconds="0.3")
    tenant.set(tenant.hosted(SECOND), keep=tenant.hosted())
    assert tenant.seen()["Status"] == "active"
    assert tenant.verify(tenant.hosted(SECOND)) == []


def test_a_change_that_takes_too_long_is_waited_for_later_and_asked_for_once(tenant: Tenant) -> None:
    tenant.tag(test_seconds="1")
    hasty = replace(tenant, engine=operators_engine(wait_seconds=0.1))
    old, new = tenant.hosted(), tenant.hosted(SECOND)
    with pytest.raises(Unavailable, match="modifying"):
        hasty.set(new, keep=old)
    with hasty.open() as session:
        assert not session.try_lock(tenant.name)
        for _ in range(1000):
            if session.try_lock(tenant.name):
                break
        assert session.set_password(tenant.users, new, Rights.ENFORCE, old) == RightsReport()
    assert tenant.times_modified == 1
    assert tenant.verify(new) == tenant.verify(old) == []


def test_what_this_process_did_not_ask_for_is_asked_for_again(tenant: Tenant) -> None:
    tenant.set(tenant.hosted(SECOND), keep=tenant.hosted())
    other = replace(tenant, engine=operators_engine(wait_seconds=10))
    other.set(tenant.hosted(SECOND), keep=tenant.hosted())
    tenant.set(tenant.hosted())
    assert tenant.times_modified == 3


def test_a_user_that_somebody_modifies_is_nobody_elses_to_modify(tenant: Tenant) -> None:
    tenant.tag(test_seconds="30")
    tenant.aws.modify_user(UserId=tenant.id, Passwords=["somebody-elses-password"])
    hasty = replace(tenant, engine=operators_engine(wait_seconds=0.1))
    with hasty.open() as session:
        assert not session.try_lock(tenant.name)
        with pytest.raises(Unavailable, match="modifying"):
            session.set_password(tenant.users, tenant.hosted(SECOND), Rights.ENFORCE)
    with pytest.raises(Unavailable, match="modifying"):
        tenant.verify(tenant.credential())


def test_without_a_host_what_was_not_tried_is_said(tenant: Tenant) -> None:
    """AWS's own template names no host, and takes an active user for a test."""
    old, new = tenant.credential(), tenant.credential(SECOND)
    assert tenant.engine.hosts(new) == ()
    assert tenant.verify(old) == []
    [sentence] = tenant.set(new, keep=old).remaining
    assert "was not tried" in sentence
    assert tenant.verify(new) == []
    assert tenant.verify(new, "GET x") == ["verify queries need a host in the secret value"]
    assert tenant.verify(tenant.hosted(SECOND)) == tenant.verify(tenant.hosted()) == []


def test_a_password_that_elasticache_does_not_take_is_refused_before_it_is_sent(tenant: Tenant) -> None:
    with pytest.raises(Refused, match="16 to 128 characters"):
        tenant.set(tenant.hosted("too-short"))
    assert tenant.times_modified == 0


def test_no_password_is_told_by_an_error_or_a_log(tenant: Tenant, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(Refused, match="InvalidParameterValue") as raised:
        tenant.set(tenant.hosted(SECOND * 5))
    assert "Kanarienvogel" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    tenant.set(tenant.hosted(SECOND), keep=tenant.hosted())
    assert "Kanarienvogel" not in caplog.text
    assert FIRST not in caplog.text


@pytest.mark.parametrize("how", [{"NoPasswordRequired": True}, {"AuthenticationMode": {"Type": "iam"}}])
def test_a_user_that_logs_in_without_a_password_is_refused(
    aws: ElastiCacheClient, cache: RedisServer, engine: ElastiCacheEngine, how: dict[str, Any]
) -> None:
    tenant = make_tenant(aws, cache, engine, how=how)
    with tenant.open() as session, pytest.raises(Refused, match="not by password"):
        session.check_users(tenant.users)


def test_an_api_that_does_not_answer_is_looked_at_again_later(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_ELASTICACHE", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    away = replace(tenant, engine=operators_engine(wait_seconds=10))
    with away.open() as session, pytest.raises(Unavailable, match="ListTagsForResource"):
        session.try_lock(tenant.name)


@contextlib.contextmanager
def refusing(code: str) -> Iterator[str]:
    """An API that answers every call with this error; yields where."""

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            content = f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>".encode()
            self.send_response(403)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("code", "kind", "told"),
    [
        ("ExpiredToken", Unavailable, "tried again"),
        ("ExpiredTokenException", Unavailable, "tried again"),
        ("RequestExpired", Unavailable, "tried again"),
        ("InvalidClientTokenId", Unavailable, "tried again"),
        ("SignatureDoesNotMatch", Unavailable, "tried again"),
        ("TooManyRequestsException", Unavailable, "tried again"),
        ("RequestTimeout", Unavailable, "tried again"),
        ("AccessDenied", Refused, "allow elasticache:ListTagsForResource"),
    ],
)
def test_what_passes_is_told_from_what_stays(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, code: str, kind: type[Exception], told: str
) -> None:
    with refusing(code) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_ELASTICACHE", endpoint)
        away = replace(tenant, engine=operators_engine(wait_seconds=10))
        with away.open() as session, pytest.raises(kind, match=told):
            session.try_lock(tenant.name)


def test_the_documents_policy_lets_a_user_be_seen_that_has_no_tag_and_none_be_changed() -> None:
    [policy] = re.findall(r"^```json\n(\{\"Version\".*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    conditions = {
        action: statement.get("Condition")
        for statement in json.loads(policy)["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    assert conditions == {
        "elasticache:DescribeUsers": None,
        "elasticache:ListTagsForResource": None,
        "elasticache:ModifyUser": {"Null": {f"aws:ResourceTag/{OWNER_TAG}": "false"}},
    }


def test_a_session_that_slept_too_long_says_no_more(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    slept = [0.0]
    limit = functools.partial(IdleLimit, now=lambda: slept[0])
    monkeypatch.setattr("rotated_secrets.databases.elasticache.engine.IdleLimit", limit)
    with tenant.open() as session:
        assert session.try_lock(tenant.name)
        slept[0] = 31
        with pytest.raises(Unavailable, match="silent"):
            session.set_password(tenant.users, tenant.hosted(SECOND), Rights.ENFORCE)
    assert tenant.times_modified == 0


@pytest.mark.parametrize(("call", "last"), [("tags", 2), ("describe", 3)])
def test_a_session_that_slept_during_its_last_look_changes_nothing(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, call: str, last: int
) -> None:
    slept, calls = [0.0], [0]
    limit = functools.partial(IdleLimit, now=lambda: slept[0])
    monkeypatch.setattr("rotated_secrets.databases.elasticache.engine.IdleLimit", limit)
    real = getattr(ElastiCacheApi, call)

    def sleeping(api: ElastiCacheApi, user: CacheUser) -> Any:
        calls[0] += 1
        if calls[0] == last:
            slept[0] += 31
        return real(api, user)

    monkeypatch.setattr(ElastiCacheApi, call, sleeping)
    with tenant.open() as session, pytest.raises(Unavailable, match="silent"):
        session.set_password(tenant.users, tenant.hosted(SECOND), Rights.ENFORCE)
    assert calls[0] == last
    assert tenant.times_modified == 0


def test_what_there_is_not_is_said(tenant: Tenant) -> None:
    with tenant.open() as session:
        assert session.sessions_of(tenant.name) is None
        with pytest.raises(Refused, match="DualPassword"):
            session.check_users(Users(tenant.name, f"{tenant.name}_clone"))
        with pytest.raises(Refused, match="not locked out"):
            session.disable_login(tenant.name)
