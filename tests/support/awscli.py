"""The few commands of ``aws`` that the documents use, by the same names and options, over boto3.

Run as a program: ``python awscli.py secretsmanager create-secret --name shop/orders --secret-string file:///dev/stdin``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import boto3
from botocore import xform_name


def main(service: str, command: str, *options: str) -> None:
    client = boto3.client(service)  # type: ignore[call-overload]
    operation = next(name for name in client.meta.service_model.operation_names if xform_name(name, "-") == command)
    members = client.meta.service_model.operation_model(operation).input_shape.members
    given = dict(zip(options[::2], map(_content, options[1::2]), strict=True))
    request = {next(each for each in members if f"--{xform_name(each, '-')}" == name): given[name] for name in given}
    answer = getattr(client, xform_name(operation))(**request)
    answer.pop("ResponseMetadata")
    print(json.dumps(answer, indent=4, default=str))  # noqa: T201


def _content(value: str) -> str:
    return Path(value.removeprefix("file://")).read_text() if value.startswith("file://") else value


if __name__ == "__main__":
    main(*sys.argv[1:])
