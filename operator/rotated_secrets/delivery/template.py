"""Templates of target Secrets: Jinja2, restricted so that they cannot loop, reach Python or grow without limit.

Allowed are names, keys as constants (``value["tls.crt"]``, ``tags["team"]``), constants, comparisons, tests, ``if``,
``~`` and the filters below. The size of the output is counted during rendering, also in filters, because the output of
a chain of filters can grow fast. Must not know Kubernetes or the resource.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeVar
from urllib.parse import quote

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, Undefined, UndefinedError, nodes, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from rotated_secrets.api.value_keys import keys_shown
from rotated_secrets.delivery.errors import TemplateFailed
from rotated_secrets.json_object import json_text

MAX_TEMPLATE: Final = 64 * 1024
MAX_OUTPUT: Final = 1024 * 1024
_MAX_EXPRESSIONS: Final = 1000
_MAX_DEPTH: Final = 40
_SHOWN: Final = 80
"""Characters of a name and its keys in a message."""
_BUDGET: Final = " budget"  # no template can use these names
_VARIABLES: Final = " variables"
_CONCATENATION: Final = "~"
_MEMBER: Final = "[]"
_WHOLE: Final = "value"
"""The name that stands for the whole value where a key follows; alone it is the key of that name."""
_SELF: Final = "self"
"""The only name that Jinja2 reserves: it is a Python object, whatever the variables are."""

_Text = TypeVar("_Text", bound=str | bytes)

TESTS: Final = ("boolean", "defined", "false", "none", "number", "string", "true", "undefined")


class _TooLong(Exception):
    """The output is larger than a Secret can be."""


class _WrongText(Exception):
    """A filter cannot take what it was given; the message says why, and never what it was."""


class _Budget:
    """Number of characters that one rendering may still produce."""

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, text: _Text) -> _Text:
        self.left -= len(text)
        if self.left < 0:
            raise _TooLong
        return text


def as_text(value: object) -> str:
    """Return a value of the secret's JSON as text: strings unchanged, everything else as JSON, numbers as written."""
    if isinstance(value, (str, Undefined)):
        return str(value)
    if isinstance(value, bytes):
        raise _WrongText("bytes that b64decode or the secret gave are no text, and only b64encode can take them")
    return json_text(value)


def written(value: object) -> str:
    """Return what stands in the output: bytes that are no text as ``surrogateescape`` has them."""
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    text = as_text(value)
    text.encode()  # half of a surrogate pair, which is no byte either
    return text


def _decoded(value: object) -> str | bytes:
    """Return what base64 stands for: text where it is text, else bytes, such as those of a keystore."""
    try:
        found = base64.b64decode("".join(as_text(value).split()).encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise _WrongText("b64decode was given text that is not base64") from None
    try:
        return found.decode()
    except UnicodeDecodeError:
        return found


def _encoded(value: object) -> str:
    return base64.b64encode(value if isinstance(value, bytes) else as_text(value).encode()).decode()


def _replaced(value: object, old: str, new: str) -> str:
    text = as_text(value)
    if not old:
        raise ValueError("nothing to replace")
    if len(text) + text.count(old) * len(new) > MAX_OUTPUT:
        raise _TooLong
    return text.replace(old, new)


_PLAIN_FILTERS: Final[Mapping[str, Callable[..., str | bytes]]] = {
    # Jinja2's own filter does not encode "/", so that a password with a slash would end the host part of a URL.
    "urlencode": lambda value: quote(as_text(value), safe=""),
    "b64decode": _decoded,
    "b64encode": _encoded,
    "upper": lambda value: as_text(value).upper(),
    "lower": lambda value: as_text(value).lower(),
    "trim": lambda value: as_text(value).strip(),
    "tojson": lambda value: json_text(as_text(value) if isinstance(value, (Undefined, bytes)) else value),
    "replace": lambda value, old, new: _replaced(value, as_text(old), as_text(new)),
    "default": lambda value, instead="": as_text(instead if isinstance(value, Undefined) else value),
}
FILTERS: Final = tuple(sorted(_PLAIN_FILTERS))
_ARGUMENTS: Final[Mapping[str, tuple[int, ...]]] = {"replace": (2,), "default": (0, 1)}


def _counted(plain: Callable[..., str | bytes]) -> Callable[..., str | bytes]:
    """Return a filter that counts its result; because it takes the context, Jinja2 does not run it at compile time."""

    @pass_context
    def counted(context: Context, *arguments: object) -> str | bytes:
        budget: _Budget = context[_BUDGET]
        return budget.spend(plain(*arguments))

    return counted


@pass_context
def _concatenated(context: Context, *parts: object) -> str:
    budget: _Budget = context[_BUDGET]
    return "".join([budget.spend(as_text(part)) for part in parts])


@pass_context
def _member(context: Context, container: object, key: str | int, place: str) -> object:
    """Return what stands at a key of an object or a number of a list. It costs no more than the name of a variable."""
    if isinstance(container, Undefined):
        return container  # the first key that is missing is the one to name
    if isinstance(container, Mapping) and key in container:
        return container[key]
    if isinstance(container, list) and isinstance(key, int) and key < len(container):
        return container[key]
    return context.environment.undefined(name=place)


@pass_context
def _member_of_whole(context: Context, _: object, key: str | int, place: str) -> object:
    return _member(context, context[_VARIABLES], key, place)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, finalize=written, optimized=False, keep_trailing_newline=True, cache_size=0
    )
    environment.globals.clear()
    environment.filters = {name: _counted(plain) for name, plain in _PLAIN_FILTERS.items()}
    environment.filters |= {_CONCATENATION: _concatenated, _MEMBER: _member, _WHOLE + _MEMBER: _member_of_whole}
    environment.tests = {name: environment.tests[name] for name in TESTS}
    return environment


_ENVIRONMENT: Final = _environment()

_ALLOWED: Final = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Getitem,
    nodes.Const,
    nodes.If,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Test,
    nodes.Filter,
    nodes.Concat,
)
_DESCRIPTIONS: Final[Mapping[type[nodes.Node], str]] = {
    nodes.For: "a loop",
    nodes.Call: "a call",
    nodes.Getattr: "an attribute (a.b)",
    nodes.Assign: "{% set %}",
    nodes.Macro: "a macro",
    nodes.Import: "an import",
    nodes.Include: "an include",
    nodes.BinExpr: "arithmetic",
    nodes.UnaryExpr: "arithmetic",
    nodes.List: "a list",
    nodes.Tuple: "a tuple",
    nodes.Dict: "a dictionary",
}
_INSTEAD: Final[Mapping[type[nodes.Node], str]] = {
    nodes.Getattr: ': write a["b"] for a key inside another one, and value["a.b"] for a key with a dot',
    nodes.Sub: ': write value["a-b"] for a key with a hyphen',
    nodes.Div: ': write value["a/b"] for a key with a slash',
}


class _Refused(Exception):
    """The template uses something that is not allowed; the message says what."""


def _check(node: nodes.Node, depth: int = 0) -> int:
    """Return the number of nodes in this tree; raises _Refused at the first that is not allowed."""
    if depth > _MAX_DEPTH:
        raise _Refused(f"it is nested deeper than {_MAX_DEPTH} levels")
    if not isinstance(node, _ALLOWED):
        raise _Refused(f"{_description(node)} is not allowed{_INSTEAD.get(type(node), '')}")
    if isinstance(node, nodes.Name) and node.name == _SELF:
        raise _Refused(f"the name {_SELF} is not allowed: it means the template itself")
    if isinstance(node, nodes.Operand) and node.op not in ("eq", "ne", "in", "notin"):
        raise _Refused("comparisons other than ==, != and in are not allowed")
    if isinstance(node, nodes.Test) and (node.name not in TESTS or node.args):
        raise _Refused(f"the test {node.name!r} is not allowed; use one of: {', '.join(TESTS)}")
    if isinstance(node, nodes.Getitem) and not _is_key(node.arg):
        raise _Refused('a subscript other than a text or a number, such as a["b"] and a[0], is not allowed')
    if isinstance(node, nodes.Filter):
        _check_filter(node)
    return 1 + sum(_check(child, depth + 1) for child in node.iter_child_nodes())


def _is_key(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Const) and type(node.value) in (str, int)


def _check_filter(node: nodes.Filter) -> None:
    if node.name not in FILTERS:
        raise _Refused(f"the filter {node.name!r} is not allowed; use one of: {', '.join(FILTERS)}")
    if node.kwargs or node.dyn_args or node.dyn_kwargs or len(node.args) not in _ARGUMENTS.get(node.name, (0,)):
        wanted = " or ".join(str(number) for number in _ARGUMENTS.get(node.name, (0,)))
        raise _Refused(f"the filter {node.name!r} takes {wanted} arguments, without names")


def _description(node: nodes.Node) -> str:
    return next((said for kind, said in _DESCRIPTIONS.items() if isinstance(node, kind)), type(node).__name__.lower())


class _AsFilters(NodeTransformer):
    """Replaces ``a ~ b`` by a filter that counts, and ``a["b"]`` by one that cannot reach what is no JSON."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802 - the visitor's naming
        self.generic_visit(node)
        first, *rest = node.nodes
        return nodes.Filter(first, _CONCATENATION, rest, [], None, None, lineno=node.lineno)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Filter:  # noqa: N802
        place = nodes.Const(_place(node)[:_SHOWN])
        if isinstance(node.node, nodes.Name) and node.node.name == _WHOLE:
            return nodes.Filter(
                nodes.Const(None), _WHOLE + _MEMBER, [node.arg, place], [], None, None, lineno=node.lineno
            )
        self.generic_visit(node)
        return nodes.Filter(node.node, _MEMBER, [node.arg, place], [], None, None, lineno=node.lineno)


def _place(node: nodes.Node) -> str:
    """Return a name and its keys as the template has them."""
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        return f"{_place(node.node)}[{json_text(node.arg.value)}]"
    return node.name if isinstance(node, nodes.Name) else "…"


@lru_cache(maxsize=512)
def _compiled(source: str) -> Template:
    if len(source) > MAX_TEMPLATE:
        raise _Refused(f"it is longer than {MAX_TEMPLATE // 1024} KiB")
    tree = _ENVIRONMENT.parse(source)
    if _check(tree) > _MAX_EXPRESSIONS:
        raise _Refused(f"it has more than {_MAX_EXPRESSIONS} parts")
    counted: nodes.Template = _AsFilters().visit(tree)
    counted.set_environment(_ENVIRONMENT)
    return Template.from_code(_ENVIRONMENT, _ENVIRONMENT.compile(counted), {})


def check(name: str, source: str) -> None:
    """Raise TemplateFailed if a template cannot render with any value."""
    _load(name, source)


def rendered(name: str, source: str, variables: Mapping[str, Any]) -> str:
    """Return the rendered template; bytes that are no text stand in it as ``surrogateescape`` has them.

    Raises:
        TemplateFailed: it uses something that is not allowed or a variable that does not exist, or its output is too
            large. The message names the template and the variable, never a value.
    """
    template = _load(name, source)
    budget = _Budget(MAX_OUTPUT)
    output = _Budget(MAX_OUTPUT)
    known = {**variables, _BUDGET: budget, _VARIABLES: variables}
    try:
        return "".join([output.spend(chunk) for chunk in template.generate(known)])
    except UndefinedError as error:
        # The message names only the variable and keys of the template, which cannot use attributes.
        raise TemplateFailed(f"template {name}: {error.message}; the value has: {keys_shown(variables)}") from None
    except _TooLong:
        raise TemplateFailed(
            f"template {name} produces more than {MAX_OUTPUT // 1024} KiB, the limit of a Secret"
        ) from None
    except _WrongText as error:
        raise TemplateFailed(f"template {name}: {error}") from None
    except UnicodeEncodeError:  # the error's own message would contain the text
        raise TemplateFailed(
            f"template {name} would hold half of a surrogate pair, which is not text; correct the value"
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise TemplateFailed(f"template {name} cannot be evaluated with this value ({type(error).__name__})") from None


def _load(name: str, source: str) -> Template:
    try:
        return _compiled(source)
    except _Refused as error:
        raise TemplateFailed(
            f"template {name}: {error}; use only names, value[\"KEY\"], 'if', tests, '~' and the filters "
            f"{', '.join(FILTERS)}"
        ) from None
    except TemplateSyntaxError as error:
        raise TemplateFailed(
            f'template {name}, line {error.lineno}: {error.message}; a key that is no plain name is value["KEY"]'
        ) from None
    except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError):
        raise TemplateFailed(f"template {name} is nested too deeply, or has a number that is too long") from None
