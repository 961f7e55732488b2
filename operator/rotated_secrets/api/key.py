"""How the controller names one RotatedSecret: namespace and name, as Kubernetes prints them."""

from __future__ import annotations

from typing import NamedTuple


class Key(NamedTuple):
    """One RotatedSecret of the cluster."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
