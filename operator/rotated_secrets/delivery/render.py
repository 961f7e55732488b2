"""Renders the content of the target Secret: the keys of the value, and those of the template. Pure.

A value that is not a JSON object, text or bytes, becomes one key, ``value``. If template and value have the same key,
the template's wins. Bytes that are no text stand in a text as ``surrogateescape`` has them:
:func:`bytes_of` gives them back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from rotated_secrets.api.target import IncludeKeys, Target
from rotated_secrets.api.value_keys import key_shown, keys_shown
from rotated_secrets.delivery import template
from rotated_secrets.delivery.errors import TemplateFailed
from rotated_secrets.values import SecretText, SecretValue

MAX_SECRET: Final = 1024 * 1024
"""Most bytes that the API server accepts in one Secret, over all its values."""

MOST_KEYS: Final = 2_000
"""Keys that are delivered in one Secret: the API server's answer names each three times, with managedFields, and may
have :data:`rotated_secrets.cluster.MOST_VALUES`."""

PLAIN_KEY: Final = "value"
"""The key, and the template variable, of a value that is not a JSON object."""

_RENAME: Final = "rename it by target.keys, or write includeKeys: None"
_KEY: Final = re.compile(r"(?!\.$|\.\.)[-._a-zA-Z0-9]{1,253}")


def check_template(target: Target) -> None:
    """Raise TemplateFailed for errors that do not depend on the value: a loop, an unknown filter, a bad key."""
    for name, source in target.template.items():
        _check_key(name, f"template key {name[:60]!r}")
        template.check(name, source)


def render(target: Target, value: SecretValue) -> dict[str, SecretText]:
    """Return the Secret's keys and their content.

    Raises:
        TemplateFailed: a template fails, a key is not allowed in a Secret, a key that the Secret's type needs is
            missing, there are too many keys, or the whole is too large.
    """
    fields: Mapping[str, Any] = {PLAIN_KEY: _whole(value)} if value.fields is None else value.fields
    texts: dict[str, str] = {}
    own = _own(target, fields)
    _check_count(target, own)
    for number, (key, field) in enumerate(own.items(), 1):
        # Without its name: it may be a password in the wrong place.
        _check_key(key, f"key {number} of the {len(own)} in the secret value", _RENAME)
        texts[key] = _own_text(key, field)
    size = 0
    for key, source in target.template.items():
        _check_key(key, f"template key {key[:60]!r}")
        texts[key] = template.rendered(key, source, fields)
        # Checked after each one: each may be as large as a Secret, so that all of them could exhaust the memory.
        size += _size(key, texts[key])
        _check_size(size)
    _check_size(sum(_size(key, text) for key, text in texts.items()))
    _check_type(target, texts)
    return {key: SecretText(text) for key, text in texts.items()}


def bytes_of(text: str) -> bytes:
    """Return what stands under a key of the Secret for a text that :func:`render` returned."""
    return text.encode(errors="surrogateescape")


def _whole(value: SecretValue) -> str | bytes:
    return bytes_of(value.text.reveal()) if value.is_binary else value.text.reveal()


def _own(target: Target, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the value's own keys that are delivered, by their names in the Secret."""
    for each in target.keys:
        if each.name is not None:
            _check_key(each.name, f"the name {each.name[:60]!r} in target.keys")
        if each.key not in fields:
            raise TemplateFailed(
                f"target.keys names the key {each.key[:60]!r}, and the secret value has: {keys_shown(fields)}; correct "
                "target.keys or the value"
            )
    listed = {each.key for each in target.keys}
    others = fields if target.include_keys is IncludeKeys.ALL else {}
    return {
        **{key: field for key, field in others.items() if key not in listed},
        **{each.name_in_secret: fields[each.key] for each in target.keys},
    }


def _check_count(target: Target, own: Mapping[str, Any]) -> None:
    count = len(own.keys() | target.template.keys())
    if count > MOST_KEYS:
        raise TemplateFailed(
            f"the Secret would have {count} keys, {len(own)} of them of the secret value, and {MOST_KEYS} at most are "
            "delivered; write includeKeys: None and a template of those that are used, or divide the value"
        )


def _check_key(key: str, what: str, advice: str = "write another name") -> None:
    if not _KEY.fullmatch(key):
        raise TemplateFailed(
            f"{what} cannot be a key of a Kubernetes Secret, which allows letters, digits, '-', '_' and '.', and no "
            f"'..' at the beginning; {advice}"
        )


def _own_text(key: str, field: object) -> str:
    try:
        return template.written(field)
    except UnicodeEncodeError:  # the error's own message would contain the text
        raise _half_a_pair(key) from None


def _half_a_pair(key: str) -> TemplateFailed:
    return TemplateFailed(
        f"{key_shown(key)} in the Secret would hold half of a surrogate pair, which is not text; correct the value"
    )


def _size(key: str, text: str) -> int:
    try:
        return len(bytes_of(text))
    except UnicodeEncodeError:
        raise _half_a_pair(key) from None


def _check_size(size: int) -> None:
    if size > MAX_SECRET:
        raise TemplateFailed(f"the Secret would have {size} bytes or more; Kubernetes accepts {MAX_SECRET} at most")


def _check_type(target: Target, texts: Mapping[str, str]) -> None:
    """Check what the API server would check of a Secret's type, to give a better message.

    Source: "Types of Secret", Kubernetes documentation, and the API server's validation of each.
    """
    check = _TYPE_CHECKS.get(target.kubernetes_type)
    needed = check(texts) if check is not None else None
    if needed:
        raise TemplateFailed(
            f"a Secret of type {target.type} needs {needed}; add it to target.template, or name it in target.keys"
        )


def _basic_auth(texts: Mapping[str, str]) -> str | None:
    return None if {"username", "password"} & texts.keys() else "a key username or password"


def _tls(texts: Mapping[str, str]) -> str | None:
    missing = {"tls.crt", "tls.key"} - texts.keys()
    return f"the key {' and '.join(sorted(missing))}" if missing else None


def _json_at(key: str) -> Callable[[Mapping[str, str]], str | None]:
    def needed(texts: Mapping[str, str]) -> str | None:
        try:
            json.loads(texts[key])
        except (KeyError, ValueError, RecursionError):
            return f"a key {key} that holds JSON"
        return None

    return needed


def _ssh(texts: Mapping[str, str]) -> str | None:
    return None if texts.get("ssh-privatekey") else "a key ssh-privatekey that is not empty"


_TYPE_CHECKS: Final[Mapping[str, Callable[[Mapping[str, str]], str | None]]] = {
    "kubernetes.io/basic-auth": _basic_auth,
    "kubernetes.io/tls": _tls,
    "kubernetes.io/dockerconfigjson": _json_at(".dockerconfigjson"),
    "kubernetes.io/dockercfg": _json_at(".dockercfg"),
    "kubernetes.io/ssh-auth": _ssh,
}
