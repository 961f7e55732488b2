"""No secret value is anywhere but in the store, the database and the target Secret's data."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from psycopg2.sql import SQL, Identifier, Literal

from sandbox.kubernetes.client import Json
from sandbox.operatorprocess import OperatorProcess
from sandbox.stack import Stack
from sandbox.waiting import eventually
from tests.e2e.conftest import MakeApplication
from tests.support.applied import passwords_in

CANARY = "Canary-9/f'\"4 {{x}}%s"
"""With everything in it that quoting could trip over."""
TOKEN = "canary-token-5d1b8a"


def test_no_value_is_told_anywhere(make_application: MakeApplication, operator: OperatorProcess, stack: Stack) -> None:
    rotated, failing, broken, random = (make_application() for _ in range(4))
    for each in (rotated, failing):
        sql = SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(each.application.user), Literal(CANARY))
        stack.database.sql(sql, logged=False)
        each.application.put_value(password=CANARY, token=TOKEN)
    url = "postgresql://{{ username | urlencode }}:{{ password | urlencode }}@{{ host }}/{{ dbname }}"
    rotated.apply({"target": {"template": {"DATABASE_URL": url}}}, verifyQueries=["SELECT 1"]).until_ready()
    rotated.rotate("once")
    rotated.rotate("twice")
    failing.apply({"target": {"template": {"URL": "{{ password }} {{ nobody }}"}}}, request="held")
    failing.until("Synced", "False", "TemplateFailed")
    broken.application.put_value(password=CANARY, token=TOKEN)
    broken.apply(request="held").until("Ready", "False", "LoginFailed")
    random.application.store.client().put_secret_value(
        SecretId=random.application.secret_id, SecretString=json.dumps({"password": CANARY, "token": TOKEN})
    )
    random.apply({"rotation": {"strategy": "RandomValue"}}).until_ready()
    random.rotate("once")
    eventually(lambda: "RotationSucceeded" in random.reasons(), "its events are written")

    values = {CANARY, TOKEN, *passwords_in(stack)}
    assert len(values) > 5
    places = {
        "the operator's log": operator.log(),
        "its metrics": operator.get("/metrics"),
        "its probes": operator.get("/healthz"),
        "PostgreSQL's log": stack.database.log(),
        **dict(in_the_cluster(stack, rotated.application.namespace)),
    }
    assert "ALTER ROLE" in places["PostgreSQL's log"]
    assert "RotationSucceeded" in places["the operator's log"]
    found = [f"{place} has {shape}" for place, text in places.items() for shape in leaks(text, values)]
    assert found == []


def in_the_cluster(stack: Stack, namespace: str) -> Iterator[tuple[str, str]]:
    """Everything that people may read who may not read Secrets, and what is beside a Secret's data."""
    yield "events", json.dumps(stack.api.get(f"/api/v1/namespaces/{namespace}/events"))
    resources = f"/apis/rotatedsecrets.io/v1alpha1/namespaces/{namespace}/rotatedsecrets"
    yield "RotatedSecrets", json.dumps(stack.api.get(resources))
    secrets: list[Json] = stack.api.get(f"/api/v1/namespaces/{namespace}/secrets")["items"]
    yield "metadata of Secrets", json.dumps([secret["metadata"] for secret in secrets])


def leaks(text: str, values: set[str]) -> Iterator[str]:
    """Which values are in the text in a shape that gives them away."""
    for value in values:
        shapes = {
            "the value": value,
            "its JSON": json.dumps(value)[1:-1],
            "its base64": base64.b64encode(value.encode()).decode(),
            "its URL form": quote(value, safe=""),
            "its SQL form": value.replace("'", "''"),
            "its repr": repr(value)[1:-1],
        }
        yield from (f"{shape} of {value[:4]}…" for shape, looks in shapes.items() if looks in text)


@pytest.mark.parametrize("told", [f"password={CANARY}", json.dumps({"x": TOKEN})])
def test_the_search_itself_finds_what_is_there(told: str) -> None:
    assert list(leaks(told, {CANARY, TOKEN}))
