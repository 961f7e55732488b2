"""Writes kubeconfig files; knows nothing of the servers they point at."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml


def write_kubeconfig(
    path: Path, address: str, authority: bytes, user: dict[str, Any], namespace: str = "default"
) -> None:
    """Readable by its owner alone, and there at once or not at all: others wait for the file to appear."""
    body = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "sandbox",
                "cluster": {"server": address, "certificate-authority-data": base64.b64encode(authority).decode()},
            }
        ],
        "users": [{"name": "sandbox", "user": user}],
        "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "sandbox", "namespace": namespace}}],
        "current-context": "sandbox",
    }
    draft = path.with_name(f".{path.name}.draft")
    draft.touch(mode=0o600)
    draft.write_text(yaml.safe_dump(body))
    draft.replace(path)
