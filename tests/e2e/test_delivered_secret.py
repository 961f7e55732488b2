"""The target Secret is what it should be, whoever touches it, and whatever moves in the store."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from sandbox.waiting import eventually
from tests.support.applied import Applied

pytestmark = pytest.mark.usefixtures("operator")
URL = "postgresql://{{ username | urlencode }}:{{ password | urlencode }}@{{ host }}:{{ port }}/{{ dbname }}"


def test_an_edited_secret_is_put_back_within_a_second(orders: Applied) -> None:
    orders.apply().until_ready()
    before = orders.secret()
    orders.api.patch(orders.secret_path, {"data": {"password": base64.b64encode(b"mallory").decode(), "more": ""}})
    edited = time.monotonic()
    eventually(lambda: orders.secret() == before, "it is put back")
    assert time.monotonic() - edited < 1
    eventually(lambda: "SecretDriftRepaired" in orders.reasons(), "the repair is told")


def test_a_deleted_secret_is_back_within_a_second(orders: Applied) -> None:
    orders.apply().until_ready()
    before = orders.secret()
    orders.api.delete(orders.secret_path)
    deleted = time.monotonic()
    eventually(lambda: orders.secret() == before, "it is back")
    assert time.monotonic() - deleted < 1


def test_a_value_put_by_hand_reaches_the_secret(orders: Applied) -> None:
    orders.apply().until_ready()
    orders.application.put_value(note="put by a person")
    eventually(lambda: (orders.secret() or {}).get("note") == "put by a person", "the Secret follows the store")
    assert set(orders.application.stages()) == {"AWSCURRENT", "AWSPREVIOUS"}


def test_a_number_is_delivered_and_kept_as_it_is_written(orders: Applied) -> None:
    application = orders.application
    client: Any = application.store.client()
    text = json.dumps(application.value())[:-1] + ',\n "ratio":1.10, "huge": 1e400, "note": "\\u00fc\\/" }\n'
    client.put_secret_value(SecretId=application.secret_id, SecretString=f"\ufeff{text}")
    before = json.loads(text)
    orders.apply().until_ready()
    delivered = orders.secret() or {}
    assert (delivered["ratio"], delivered["huge"], delivered["note"]) == ("1.10", "1e400", "ü/")
    orders.rotate("now")
    now = client.get_secret_value(SecretId=application.secret_id)["SecretString"]
    after = json.loads(now.removeprefix("\ufeff"))
    assert after["username"] != before["username"]
    for key in ("username", "password"):
        text = text.replace(f'"{key}": {json.dumps(before[key])}', f'"{key}": {json.dumps(after[key])}')
    assert now == f"\ufeff{text}"


def test_a_template_is_rendered_again_with_each_rotation(orders: Applied) -> None:
    orders.apply({"target": {"template": {"DATABASE_URL": URL}, "includeKeys": "None"}}).until_ready()
    orders.rotate("now")
    value = orders.application.value()
    assert orders.secret() == {
        "DATABASE_URL": f"postgresql://{value['username']}:{value['password']}@127.0.0.1:{value['port']}/shop"
    }


def test_a_secret_that_is_not_ours_is_left_alone(orders: Applied) -> None:
    """Neither overwritten nor rotated away from: what pods mount may be just that Secret."""
    orders.api.create(orders.secret_path.rpartition("/")[0], {"metadata": {"name": orders.application.name}})
    orders.apply(request="due")
    condition = orders.until("Synced", "False", "NotOurs")
    assert orders.application.name in condition["message"]
    orders.until("Held", "True", "Unsynced")
    assert orders.secret() == {}
    assert orders.store_writes() == []
