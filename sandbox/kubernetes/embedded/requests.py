"""What a request is about, read from its method, path and query as the API server reads it; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from sandbox.kubernetes.embedded import errors

_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_OF_NAMESPACES = ("status", "finalize")


@dataclass(frozen=True)
class Access:
    """One verb on a resource, or on a path that is of none."""

    verb: str
    path: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    """That a Role can be in; a Namespace lies in itself."""
    name: str = ""

    @property
    def whole(self) -> str:
        """The resource as a rule of RBAC names it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def read(method: str, raw_path: str, query: Mapping[str, str]) -> Access:
    """Raises ApiError 404 for a path that is too long for a resource, and 405 for a method without a verb."""
    verb = _VERBS.get(method)
    if not verb:
        raise errors.not_allowed()
    parts = [unquote(part) for part in raw_path.split("/") if part]
    match parts:
        case ["api", version, *rest] if rest:
            return _of_resource(verb, "", version, rest, query)
        case ["apis", group, version, *rest] if rest:
            return _of_resource(verb, group, version, rest, query)
    return Access(verb, path="/" + "/".join(parts))


def _of_resource(verb: str, group: str, version: str, rest: Sequence[str], query: Mapping[str, str]) -> Access:
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _OF_NAMESPACES:
            rest = rest[2:]
    if len(rest) > 3:
        raise errors.no_such_path()
    resource, name, subresource = [*rest, "", ""][:3]
    if not name and verb in ("get", "delete"):
        is_watch = query.get("watch") in ("true", "1")
        verb = "deletecollection" if verb == "delete" else "watch" if is_watch else "list"
        name = _name_in(query.get("fieldSelector", ""))
    return Access(verb, "", group, version, resource, subresource, namespace, name)


def _name_in(selector: str) -> str:
    """The one name that a selector leaves, by which a rule with `resourceNames` may allow a list or a watch."""
    terms = (term.replace("==", "=").partition("=") for term in selector.split(","))
    return next((value for field, _, value in terms if field.strip() == "metadata.name"), "")
