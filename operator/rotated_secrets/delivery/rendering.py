"""Where templates are rendered: in cells, because what a tenant wrote decides what they cost."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Protocol, TypeVar

from rotated_secrets.api.target import Target
from rotated_secrets.cells import CellFailed, Cells
from rotated_secrets.cells.limits import CPU, MEMORY
from rotated_secrets.delivery.errors import DeliveryUnavailable, TemplateFailed
from rotated_secrets.delivery.render import MAX_SECRET, bytes_of, check_template, render
from rotated_secrets.values import SecretText, SecretValue

T = TypeVar("T")

CPU_SECONDS: Final = 1
"""For all templates of one resource; usual ones take some milliseconds."""
WALL_SECONDS: Final = 30.0
_MOST_ANSWER: Final = 3 * MAX_SECRET
"""Bytes: base64 takes a third more, and keys have 253 characters at most."""
_REMEMBERED: Final = 20_000
"""Templates that were found right, by their hash."""


class Renderer(Protocol):
    """Checks and renders the templates of a target Secret."""

    def check(self, target: Target, tenant: str) -> None:
        """See :func:`rotated_secrets.delivery.render.check_template`. Raises: TemplateFailed, DeliveryUnavailable."""

    def render(self, target: Target, value: SecretValue, tenant: str) -> Mapping[str, SecretText]:
        """See :func:`rotated_secrets.delivery.render.render`. Raises: TemplateFailed, DeliveryUnavailable."""


class CellRenderer:
    """Renders each in a cell, and checks each template once. What has no template needs no cell."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._right = OrderedDict[bytes, None]()
        self._lock = threading.Lock()

    def check(self, target: Target, tenant: str) -> None:
        digest = _digest(target)
        if not target.template or self._is_known(digest):
            return
        self._call("check", target, returns=type(None), tenant=tenant)
        self._remember(digest)

    def render(self, target: Target, value: SecretValue, tenant: str) -> Mapping[str, SecretText]:
        if not target.template:
            return render(target, value)
        texts = self._call("render", target, value, returns=dict[str, str], tenant=tenant)
        return {
            key: SecretText(base64.b64decode(encoded).decode(errors="surrogateescape"))
            for key, encoded in texts.items()
        }

    def _call(self, method: str, *arguments: object, returns: type[T], tenant: str) -> T:
        limits = replace(self._cells.limits, cpu_seconds=CPU_SECONDS, wall_seconds=WALL_SECONDS)
        try:
            cell = self._cells.open(_RenderInCell(), tenant=tenant, limits=limits, declared=(TemplateFailed,))
            try:
                return cell.call(
                    method, *arguments, returns=returns, within=WALL_SECONDS, most=_MOST_ANSWER, one_line=False
                )
            finally:
                cell.close()
        except CellFailed as failed:
            if failed.outcome in (CPU, MEMORY):
                raise TemplateFailed(f"rendering the templates {failed}; make them shorter, or fewer") from None
            raise DeliveryUnavailable(f"rendering the templates {failed}; it is tried again") from None

    def _is_known(self, digest: bytes) -> bool:
        with self._lock:
            if digest not in self._right:
                return False
            self._right.move_to_end(digest)
            return True

    def _remember(self, digest: bytes) -> None:
        with self._lock:
            self._right[digest] = None
            if len(self._right) > _REMEMBERED:
                self._right.popitem(last=False)


class _RenderInCell:
    """Runs in the cell; the cell's methods are these."""

    def check(self, target: Target) -> None:
        check_template(target)

    def render(self, target: Target, value: SecretValue) -> dict[str, str]:
        """In base64: a key may hold bytes that are no text."""
        texts = render(target, value).items()
        return {key: base64.b64encode(bytes_of(text.reveal())).decode() for key, text in texts}


def _digest(target: Target) -> bytes:
    digest = hashlib.sha256()
    for name, source in target.template.items():
        for text in (name, source):
            encoded = text.encode(errors="surrogatepass")
            digest.update(f"{len(encoded)}:".encode() + encoded)
    return digest.digest()
