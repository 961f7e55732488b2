"""What the API server says when it refuses a Secret is repeated without keys of its data."""

from __future__ import annotations

from typing import Any

import pytest

from rotated_secrets.cluster import ClusterError
from rotated_secrets.delivery.errors import DeliveryRefused
from rotated_secrets.delivery.targets import TargetSecrets


class Refusing:
    """An API server that refuses every request because of some fields."""

    def __init__(self, *fields: str) -> None:
        self._causes = [{"field": field} for field in fields]

    def request(self, method: str, path: str, **_: Any) -> Any:
        raise ClusterError(f"{method} {path}", 422, {"details": {"causes": self._causes}})


def test_refused_fields_are_named_without_the_keys_of_the_data() -> None:
    refusing: Any = Refusing("data[hunter2]", "data[hunter3]", "metadata.labels")
    with pytest.raises(DeliveryRefused, match=r"because of: data, metadata\.labels;") as refused:
        TargetSecrets(refusing)._request("create", "shop", "orders", {})
    assert "hunter" not in str(refused.value)
