"""Checks that what answered a call is AWS, by the form of the answer, before anyone relies on it.

A proxy's page may come with status 200. The SDK passes it on as an empty answer, or fails with whatever error its
parser happens to raise, whose message quotes the page. Knows the SDK's service models. Must not know what is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape
from botocore.parsers import ResponseParserError

_CREDENTIALS: Final = tuple(
    f"Credentials.{key}" for key in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
)
REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "DescribeSecret": ("ARN", "Name"),
    "GetSecretValue": ("ARN", "VersionId", "CreatedDate", "SecretString|SecretBinary"),
    "PutSecretValue": ("ARN", "VersionId"),
    "UpdateSecretVersionStage": ("ARN",),
    "RotateSecret": ("ARN",),
    "ListSecrets": ("SecretList.ARN", "SecretList.Name"),
    "GetCallerIdentity": ("Account",),
    "AssumeRole": _CREDENTIALS,
    "AssumeRoleWithWebIdentity": _CREDENTIALS,
    "GetRoleCredentials": tuple(f"roleCredentials.{key}" for key in ("accessKeyId", "secretAccessKey", "expiration")),
    "DescribeDBInstances": ("DBInstances.DBInstanceIdentifier",),
    "DescribeDBClusters": ("DBClusters.DBClusterIdentifier",),
    "DescribeClusters": ("Clusters",),
    "DescribeUsers": ("Users",),
    "ListTagsForResource": ("TagList",),
}
"""What AWS's answers always have, by operation: a key of the answer, one of two, or a key of each item of a list.

Source: "Response Elements" of each operation, in the API Reference of its service.
"""

MAX_PARTS: Final = 50_000
"""Most elements of an answer: each costs far more memory than the bytes that announce it. The largest that is asked for
is a page of 100 secrets with 50 tags each, about 20,000."""

UNPARSED: Final = "answer-unparsed"
"""Event of a client for each answer that its parser does not take, followed by the operation: the SDK emits its own
``response-received`` for the others alone."""

_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9._:-]{1,127}")
_CONTENT_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9.+-]{1,60}")
_FORMS: Final = {
    "accountType": re.compile(r"[0-9]{12}"),
    "SecretVersionIdType": re.compile(r"[!-~]{1,64}"),
    "SecretARNType": re.compile(r"arn:[a-z-]{1,20}:secretsmanager:[a-z0-9-]{1,30}:[0-9]{12}:secret:[!-~]{1,1024}"),
}
"""Of strings, by the names of their shapes."""
_YEARS: Final = (1970, 9998)
# What the SDK's parsers raise for what they do not expect, besides errors of their own.
_NONSENSE: Final = (
    ResponseParserError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
)
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "timestamp": (datetime,),
    "integer": (int,),
    "long": (int,),
    "boolean": (bool,),
    "double": (float, int),
    "float": (float, int),
    "blob": (bytes,),
    "list": (list,),
    "map": (dict,),
    "structure": (dict,),
}


class NotAws(BotoCoreError):
    """What answered is not AWS; ``what`` describes the answer without a word of it."""

    fmt = "what answered is not AWS ({what})"

    @property
    def what(self) -> str:
        return str(self.kwargs["what"])


class CheckedCalls:
    """A base class for the SDK's clients: their calls return only what has the form of AWS's answer.

    Raises:
        NotAws: from every call.
    """

    meta: Any

    def _make_api_call(self, operation_name: str, api_params: Any) -> Any:
        parsed: Mapping[str, Any] = {}
        try:
            answer: dict[str, Any] = super()._make_api_call(operation_name, api_params)  # type: ignore[misc]
        except NotAws:
            self._emit_unparsed(operation_name)
            raise
        except BotoCoreError:
            raise
        except ClientError as error:
            parsed = error.response
            if is_error_of_aws(parsed):
                raise
        except _NONSENSE:
            self._emit_unparsed(operation_name)
        else:
            if is_of_aws(answer, self.meta.service_model.operation_model(operation_name)):
                return answer
            parsed = answer
        # Raised outside the handler: the context would quote the answer.
        raise NotAws(what=described(parsed.get("ResponseMetadata") or {}))

    def _emit_unparsed(self, operation_name: str) -> None:
        self.meta.events.emit(f"{UNPARSED}.{operation_name}")


def checked(base_classes: list[type], **_: object) -> None:
    """Handle the SDK's event ``creating-client-class``."""
    base_classes.insert(0, CheckedCalls)


def refuse_swollen(response_dict: Mapping[str, Any], **_: object) -> None:
    """Handle the SDK's event ``before-parse``.

    Raises:
        NotAws: once it is parsed, the answer would take far more memory than any of AWS's.
    """
    body = response_dict.get("body") or b""
    if isinstance(body, bytes) and sum(body.count(sign) for sign in (b"[", b"{", b"<")) > MAX_PARTS:
        raise NotAws(what=f"more than {MAX_PARTS} elements")


def is_of_aws(parsed: Mapping[str, Any], operation: OperationModel) -> bool:
    """Whether an answer, as the SDK has parsed it, has the form of AWS's: of its errors, or of what was asked for."""
    status = (parsed.get("ResponseMetadata") or {}).get("HTTPStatusCode", 0)
    if status >= 300:  # the SDK's parsers find no "Error" in some pages
        return is_error_of_aws(parsed)
    return has_form(parsed, operation.output_shape, REQUIRED.get(operation.name, ()))


def is_error_of_aws(parsed: Mapping[str, Any]) -> bool:
    """Whether an error answer has a code, as all of AWS's have; a failing load balancer of AWS's may send none."""
    status = (parsed.get("ResponseMetadata") or {}).get("HTTPStatusCode", 0)
    error = parsed.get("Error")
    code = error.get("Code") if isinstance(error, Mapping) else None
    return isinstance(code, str) and (_CODE.fullmatch(code) is not None or status >= 500)


def has_form(answer: Mapping[str, Any], shape: Shape | None, required: Iterable[str]) -> bool:
    """Whether an answer has the keys that it must have, and only values of their types."""
    if not all(any(_has(answer, path.split(".")) for path in paths.split("|")) for paths in required):
        return False
    return shape is None or _fits(answer, shape)


def described(metadata: Mapping[str, Any]) -> str:
    """Describe an answer by its status and content type; nothing else of it is repeated."""
    status = metadata.get("HTTPStatusCode")
    headers = metadata.get("HTTPHeaders") or {}
    content = str(headers.get("content-type", "")).partition(";")[0].strip().lower()
    shown = content if _CONTENT_TYPE.fullmatch(content) else ""
    return ", ".join(filter(None, (f"status {status}" if status else "its content cannot be parsed", shown)))


def _has(found: Any, path: list[str]) -> bool:
    if not path:
        return True
    if isinstance(found, list):
        return all(_has(each, path) for each in found)
    return isinstance(found, Mapping) and path[0] in found and _has(found[path[0]], path[1:])


def _fits(found: Any, shape: Any) -> bool:
    types: tuple[Any, ...] = _TYPES.get(shape.type_name, (object,))
    if not isinstance(found, types) or (isinstance(found, bool) and bool not in types):
        return False
    if isinstance(shape, StructureShape):
        return all(_fits(found[name], member) for name, member in shape.members.items() if name in found)
    if isinstance(shape, ListShape):
        return all(_fits(each, shape.member) for each in found)
    if isinstance(shape, MapShape):
        return all(_fits(key, shape.key) and _fits(value, shape.value) for key, value in found.items())
    if isinstance(found, datetime):  # the SDK takes any number for a time; with these, all that is counted stays one
        return _YEARS[0] <= found.year <= _YEARS[1]
    form = _FORMS.get(shape.name)
    return form is None or form.fullmatch(found) is not None
