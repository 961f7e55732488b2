"""What is overridden of a library's class goes on to do what the library did, or there is a reason why not."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import FunctionType

import rotated_secrets

WITHOUT_THE_LIBRARYS = {
    "_Formatter.format": "the line is made here, from parts that are searched for secrets",
    "_WithoutAliases.ignore_aliases": "it answers for every object",
    "OperatorCommand.format_help": "the command that is loaded when it is needed does it",
    "OperatorCommand.get_params": "the command that is loaded when it is needed does it",
    "OperatorCommand.invoke": "the command that is loaded when it is needed does it",
    "OwnCredentials.__init__": "the keys are not known yet",
    "OwnCredentials.get_frozen_credentials": "the SDK's credentials inside do it",
    "_ClientSession.get_credentials": "it has them already",
    "_SessionOfRoles.get_credentials": "it has them already",
    "_BoundedReader.readable": "the base class answers no",
    "_BoundedReader.readinto": "the base class cannot read",
    "_Once._connect": "the socket is connected already, with its options set",
    "_Silent.log_message": "nothing is to be logged",
    "Watch.run": "Thread's own calls a function that was given to it",
}
"""Methods that leave the library's own out, and why nothing is lost."""
NO_WORK = {"builtins", "typing", "typing_extensions", "abc", "enum", "pydantic.main", "contextlib", "_thread"}
"""Modules of classes whose methods are there to be replaced, or belong to the language."""


def classes() -> Iterator[type]:
    """All classes of the operator."""
    for module in pkgutil.walk_packages(rotated_secrets.__path__, "rotated_secrets."):
        if not module.name.endswith("__main__"):
            for each in vars(importlib.import_module(module.name)).values():
                if inspect.isclass(each) and each.__module__ == module.name:
                    yield each


def overridden(kind: type) -> Iterator[tuple[str, FunctionType, list[type]]]:
    """The methods of a class that a library's class has too, with the library's classes."""
    theirs = [base for base in kind.__mro__[1:] if base.__module__.partition(".")[0] != "rotated_secrets"]
    for name, method in vars(kind).items():
        having = [base for base in theirs if base.__module__ not in NO_WORK and callable(vars(base).get(name))]
        if isinstance(method, FunctionType) and having:
            yield f"{kind.__name__}.{name}", method, theirs


def calls_the_librarys(method: FunctionType, theirs: list[type]) -> bool:
    text = inspect.getsource(method)
    return any(f"{own}.{method.__name__}(" in text for own in ("super()", *(base.__name__ for base in theirs)))


def test_what_is_overridden_of_a_library_loses_nothing_of_it() -> None:
    without = {
        name
        for kind in classes()
        for name, method, theirs in overridden(kind)
        if not calls_the_librarys(method, theirs)
    }
    assert without == set(WITHOUT_THE_LIBRARYS)
