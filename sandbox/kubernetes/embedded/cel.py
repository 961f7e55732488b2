"""x-kubernetes-validations: rules compiled once, when the CRD is installed.

Known differences from a real API server: rules are not type-checked and no cost is estimated, so a real server may
refuse a CRD that is accepted here; a rule that uses a function unknown here is refused rather than ignored.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import celpy
import lark
from celpy import celtypes
from celpy.celparser import CELParseError
from celpy.evaluation import CELEvalError, base_functions

from sandbox.kubernetes.embedded.errors import FieldError, shown

logging.getLogger("celpy").setLevel(logging.CRITICAL)


def _sum(numbers: list[celtypes.IntType]) -> celtypes.IntType:
    # No lambda: the compiler of rules writes the name into the program.
    return celtypes.IntType(sum(numbers))


_KUBERNETES: dict[str, Callable[..., Any]] = {
    "lowerAscii": lambda text: celtypes.StringType(text.lower()),
    "upperAscii": lambda text: celtypes.StringType(text.upper()),
    "trim": lambda text: celtypes.StringType(text.strip()),
    "split": lambda text, by: celtypes.ListType([celtypes.StringType(part) for part in str(text).split(str(by))]),
    "replace": lambda text, old, new: celtypes.StringType(text.replace(old, new)),
    "sum": _sum,
    "indexOf": lambda text, part: celtypes.IntType(text.find(part)),
    "substring": lambda text, *bounds: celtypes.StringType(
        text[slice(*bounds)] if len(bounds) > 1 else text[bounds[0] :]
    ),
}
_REMEMBERED = 1000  # verdicts of a rule
_MACROS = {"all", "exists", "exists_one", "map", "filter", "has", "dyn"}


class _Runner(celpy.CompiledRunner):
    """Ten times faster than the interpreter.

    But its `has()` gives a Python bool, which its own operators refuse; and it calls functions by names that are not
    there when a rule is run.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        source = _HAS.sub(r"celpy.celtypes.BoolType(\g<0>)", self.tp.source_text)
        source = source.replace(f"{__name__}.", f"__import__('sys').modules[{__name__!r}].")
        self.tp.executable_code = compile(source, "<rule>", "exec")


_HAS = re.compile(r"not isinstance\(celpy\.evaluation\.result\(activation, \w+\), CELEvalError\)")
_ENVIRONMENT = celpy.Environment(runner_class=_Runner)


class RuleError(ValueError):
    """The rule cannot be compiled."""


@dataclass(frozen=True)
class Rule:
    text: str
    is_transition: bool
    reason: str
    field_path: str
    _message: str
    _program: celpy.Runner
    _message_program: celpy.Runner | None
    _verdicts: dict[str, str | None] = field(default_factory=dict)

    def check(self, at: str, value: Any, old: Any, to_cel: Callable[[Any], Any]) -> FieldError | None:
        """`value` and `old` as JSON; None when the rule holds. Alike values, of many objects, are judged once."""
        key = json.dumps((value, old) if self.is_transition else value)
        if key not in self._verdicts:
            if len(self._verdicts) >= _REMEMBERED:
                self._verdicts.clear()
            seen = {"self": to_cel(value)} | ({"oldSelf": to_cel(old)} if self.is_transition else {})
            self._verdicts[key] = self._verdict(seen)
        message = self._verdicts[key]
        if message is None:
            return None
        name = {"FieldValueForbidden": "Forbidden: ", "FieldValueRequired": "Required value: "}.get(self.reason)
        prefix = name or "Invalid value: " + ("" if isinstance(value, dict | list) else f"{shown(value)}: ")
        return FieldError(at + self.field_path, self.reason, prefix + message)

    def _verdict(self, seen: dict[str, Any]) -> str | None:
        """What there is to say against it."""
        try:
            if self._program.evaluate(seen):
                return None
            return str(self._message_program.evaluate(seen)) if self._message_program else self._message
        except CELEvalError as error:
            return f"{error.args[0]} evaluating rule: {self._message}"


def compile_rule(written: dict[str, Any]) -> Rule:
    text: str = written["rule"]
    if written.get("optionalOldSelf"):
        raise RuleError("optionalOldSelf is not supported by the embedded API")
    tree, program = _compile(text)
    transition = "oldSelf" in set(tree.scan_values(lambda token: getattr(token, "type", "") == "IDENT"))
    message = written.get("message") or f"failed rule: {text}"
    told = written.get("messageExpression")
    reason = written.get("reason") or "FieldValueInvalid"
    return Rule(text, transition, reason, written.get("fieldPath", ""), message, program, told and _compile(told)[1])


def _compile(text: str) -> tuple[lark.Tree[lark.Token], celpy.Runner]:
    try:
        tree = _ENVIRONMENT.compile(text)
        for call in tree.find_data("member_dot_arg"):
            _known(str(call.children[1]))
        for call in tree.find_data("ident_arg"):
            _known(str(call.children[0]))
        return tree, _ENVIRONMENT.program(tree, functions=_KUBERNETES)
    except CELParseError as error:
        raise RuleError(f"compilation failed: {error}") from error


def _known(function: str) -> None:
    if function not in base_functions and function not in _KUBERNETES and function not in _MACROS:
        raise RuleError(
            f"compilation failed: undeclared reference to '{function}' (or not supported by the embedded API)"
        )
