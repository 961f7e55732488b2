"""A Redis user as ACL GETUSER shows it: what it may, and whether another may exactly the same. Pure.

Source of the rules and of what `ACL SETUSER` makes of them: "ACL", Redis documentation, and ACLSetUser in acl.c.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from rotated_secrets.databases.base import Unavailable
from rotated_secrets.values import SecretText

_SHOWN = 5
_MARK = "~rotated-secrets:clone-of:"
_STATE = frozenset({"on", "off", "nopass"})
# A line of the configuration file has its words apart by spaces, and quotes and backslashes mean something in it: the
# server writes a name there as it is, and would not start again.
_UNUSABLE = re.compile(r"[\s\x00-\x1f\x7f\"'\\]")


@dataclass(frozen=True)
class Selector:
    """One set of rights: of the user itself, or one more that it has beside them (Redis 7)."""

    commands: tuple[str, ...]
    """Rules in their order, which matters."""
    keys: frozenset[str]
    channels: frozenset[str]

    def rules(self) -> list[str]:
        """What `ACL SETUSER` takes to make a set of rights that has nothing yet into this one."""
        return [*sorted(self.keys), "resetchannels", *sorted(self.channels), *self.commands]


@dataclass(frozen=True)
class User:
    """A user with all that was given to it."""

    name: str
    flags: frozenset[str]
    passwords: frozenset[str] = field(repr=False)
    """SHA-256 in hexadecimal digits."""
    own: Selector
    selectors: frozenset[Selector]
    has_selectors: bool
    """Whether the server has such a thing: Redis 7."""

    @property
    def needs_no_password(self) -> bool:
        return "nopass" in self.flags

    @property
    def further_flags(self) -> frozenset[str]:
        return self.flags - _STATE

    def ways_in(self) -> list[str]:
        """What `ACL SETUSER` takes to let it in as it is let in now: on or off, and by which passwords."""
        return [*sorted(self.flags & _STATE), *(f"#{password}" for password in sorted(self.passwords))]

    def is_marked_as_clone_of(self, base: str) -> bool:
        return mark(base) in self.selectors


def read_user(name: str, answer: Sequence[Any]) -> User:
    """A user from the answer to `ACL GETUSER` of Redis 7, and as much of it as passwords need from one of Redis 6.

    Raises:
        Unavailable: what answered is not of this form.
    """
    try:
        return _user(name, answer)
    except TypeError:
        raise Unavailable("what answered ACL GETUSER is not Redis") from None


def _user(name: str, answer: Sequence[Any]) -> User:
    fields = _pairs(answer)
    selectors = fields.get("selectors")
    return User(
        name,
        frozenset(fields.get("flags", ())),
        frozenset(fields.get("passwords", ())),
        _selector(fields),
        frozenset(_selector(_pairs(each)) for each in selectors or ()),
        selectors is not None,
    )


def _pairs(answer: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(answer[::2], answer[1::2], strict=False))


def _selector(fields: dict[str, Any]) -> Selector:
    return Selector(
        tuple(_words(fields.get("commands"))),
        frozenset(_words(fields.get("keys"))),
        frozenset(_words(fields.get("channels"))),
    )


def _words(found: Any) -> Sequence[str]:
    return found.split() if isinstance(found, str) else tuple(found or ())


def mark(base: str) -> Selector:
    """Return the selector that marks a clone and allows nothing: keys on which no command may run."""
    return Selector(("-@all",), frozenset({_MARK + quote(base, safe="")}), frozenset())


def original_of(user: User) -> str | None:
    """Return the user whose clone a user is marked as."""
    keys = (key for selector in user.selectors for key in selector.keys if key.startswith(_MARK))
    return next((unquote(key.removeprefix(_MARK)) for key in keys), None)


def marked_in(lines: Iterable[str], base: str) -> list[str]:
    """Return the users that are marked as clones, from the answer to `ACL LIST`."""
    (key,) = mark(base).keys
    words = (line.split(" ") for line in lines)
    return [name for _, name, *rules in words if key in (rule.strip("()") for rule in rules)]


def digest(password: SecretText) -> str:
    """What the server keeps of a password, as a rule that makes it one: no log then has the password."""
    return "#" + hashlib.sha256(password.reveal().encode()).hexdigest()


def rules_of_clone(base: User) -> list[str]:
    """Return the rules that turn any user, new or not, into the clone of ``base``, without password and `on`."""
    selectors = sorted(" ".join(each.rules()) for each in {*base.selectors, mark(base.name)})
    return ["reset", *sorted(base.further_flags), *base.own.rules(), *(f"({rules})" for rules in selectors)]


def differences(base: User, clone: User) -> Iterator[str]:
    """Return a sentence for each difference from what a clone of the base user has to be."""
    if not clone.is_marked_as_clone_of(base.name):
        yield f"{clone.name} is not marked as the clone of {base.name}"
    yield from _other_rights(base, clone)


def _other_rights(base: User, clone: User) -> Iterator[str]:
    name, marked = clone.name, mark(base.name)
    yield from _compared(name, "flags", base.further_flags, clone.further_flags)
    yield from _compared(name, "commands", base.own.commands, clone.own.commands)
    yield from _compared(name, "keys", base.own.keys, clone.own.keys)
    yield from _compared(name, "channels", base.own.channels, clone.own.channels)
    expected, found = (
        frozenset(f"({' '.join(each.rules())})" for each in user.selectors - {marked}) for user in (base, clone)
    )
    yield from _compared(name, "selectors", expected, found)


def _compared(
    clone: str, what: str, expected: frozenset[str] | tuple[str, ...], found: frozenset[str] | tuple[str, ...]
) -> Iterator[str]:
    if expected == found:
        return
    lacks, beyond = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    parts = [f"lacks {_listed(lacks)}"] if lacks else []
    parts += [f"has {_listed(beyond)} itself"] if beyond else []
    yield f"{what} of {clone}: {' and '.join(parts) or 'the same rules in another order'}"


def _listed(rules: Counter[str]) -> str:
    """The first few: until Redis 7.2, what is left of a category of commands is said one by one."""
    shown = sorted(rules)[:_SHOWN]
    return " ".join(shown) + (f" and {len(rules) - _SHOWN} more" if len(rules) > _SHOWN else "")


def not_the_clone(base: User, found: User) -> str | None:
    """Return why an existing user cannot be used as the clone: this must be proven, not guessed.

    Only a user that may change users can set the mark. Without it, its password must give and take no right: it may
    do exactly what the base user may.
    """
    if found.is_marked_as_clone_of(base.name):
        return None
    others = [*_other_rights(base, found)]
    if not others:
        return None
    return f"{'; '.join(others)}; if it is the clone, give it exactly the rules of {base.name}, or ACL DELUSER it"


def unusable_name(name: str) -> str | None:
    """Return why the server cannot have a user of this name, or could not save it."""
    if not name:
        return "the user name is empty; correct it"
    if _UNUSABLE.search(name):
        return (
            f"user name {name!r} holds a space, a control character, a quote or a backslash, which Redis does not take "
            "or cannot read again from its files; choose another"
        )
    return None
