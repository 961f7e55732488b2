"""The chart's manifests for people without Helm: ``python -m sandbox.manifests`` prints them.

What is Helm's alone is left out: its labels would lie, and its hooks would run at once.
"""

from __future__ import annotations

import re
import sys

import yaml

from sandbox.helm import CHART, helm

NAMESPACE = "rotated-secrets"
HEADER = """\
# Made from charts/rotated-secrets, with its default values, by: make manifests
# Change the chart, not this file.
"""
HELMS_OWN = re.compile(r"^ *(helm\.sh/chart: .*|app\.kubernetes\.io/managed-by: Helm)\n", re.MULTILINE)


def manifests() -> str:
    """Everything that an installation by the chart's default values has, and the namespace that it is in."""
    # Nothing but Helm knows of what it is asked to keep.
    asked = ["--no-hooks", "--set", "crds.keep=false"]
    said = helm("template", "rotated-secrets", str(CHART), "--namespace", NAMESPACE, *asked)
    texts = [re.sub(r"^# Source: .*\n", "", text, flags=re.MULTILINE).strip("\n") for text in said.split("---\n")]
    text = "---\n".join(f"{text}\n" for text in (_namespace(), *filter(None, texts)))
    return HEADER + HELMS_OWN.sub("", text)


def _namespace() -> str:
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    return str(yaml.safe_dump(body, sort_keys=False)).strip()


if __name__ == "__main__":
    sys.stdout.write(manifests())
