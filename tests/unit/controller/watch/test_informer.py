"""What the informer needs of the machine that it runs on."""

from __future__ import annotations

import asyncio
import getpass

import aiohttp
import pytest
from kubernetes import client

from rotated_secrets.controller.watch.informer import Informer


def test_informer_runs_with_a_user_id_that_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_user() -> str:
        raise KeyError("getpwuid(): uid not found: 45678")

    monkeypatch.setattr(getpass, "getuser", no_such_user)
    informer = Informer(
        client.Configuration(),
        handlers=None,  # type: ignore[arg-type]  # nothing is watched
        namespaces=("shop",),
        request_timeout=1,
        watch_timeout=1,
        on_end=lambda error: None,
    )
    with pytest.raises(aiohttp.ClientError):  # so far does it come: no API server is named
        asyncio.run(asyncio.wait_for(informer._watch(), 30))
