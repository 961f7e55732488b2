"""Is an account the clone of another, and where can the two not do exactly the same? Pure: decides on what was read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from rotated_secrets.databases.mariadb.hashes import NATIVE, mark_of
from rotated_secrets.databases.mariadb.state import Entry, State, Terms, identified, new_entries, password_plugins
from rotated_secrets.databases.mysql.accounts import Account, identifier
from rotated_secrets.databases.mysql.grants import Member, RightSet, beyond, differences
from rotated_secrets.databases.parity import Difference, first_of
from rotated_secrets.values import SecretText


@dataclass(frozen=True)
class Seen:
    """An account, and what it may do."""

    state: State
    rights: RightSet

    @property
    def default_role(self) -> str:
        """The role that its sessions start with: one that was taken away since is named there still."""
        roles = {right.role for right in self.rights if isinstance(right, Member)}
        return self.state.default_role if self.state.default_role in roles else ""


def mark(base: str) -> Entry:
    """One more way to log in, which nobody can take, that says whose clone an account is.

    Whoever may write it may set every password anyway, so it can't be forged by a tenant; an account's owner who
    changes the password leaves it as it is. It is there from the first statement on.
    """
    return Entry(NATIVE, mark_of(base))


def is_unfinished(clone: State, base: str) -> bool:
    """Whether it was made by us and never had a password."""
    return clone.entries == (mark(base),)


def not_the_clone(base: Seen, clone: Seen) -> str | None:
    """Why an account without our mark cannot be taken for the clone: nothing may be won or lost with its password."""
    ours = mark(base.state.account.user)
    if ours in clone.state.entries:
        return None
    others = sorted({entry.plugin for entry in clone.state.entries} - {entry.plugin for entry in base.state.entries})
    more = [
        *(f"logs in by {plugin}" for plugin in others),
        *(f"has {right}" for right in beyond(base.rights, clone.rights)),
    ]
    if more:
        why = f"it {first_of(more)}, which {base.state.account.user} has not"
    elif not clone.rights and base.rights:
        why = "it has no rights at all, so nothing says that it is"
    else:
        return None
    return f"{why}; if it is the clone, run: ALTER USER {clone.state.account.sql} {identified([ours])}"


def create(base: State, clone: Account) -> str:
    """The statement that makes the clone: with its mark, its terms and no password, and locked."""
    return " ".join(
        (f"CREATE USER {clone.sql}", identified([mark(base.account.user)]), *_clauses(base.terms), "ACCOUNT LOCK")
    )


def clone_entries(base: State, password: SecretText) -> tuple[Entry, ...]:
    """The clone's ways to log in. Raises: Refused, where a plug-in takes a library that is not there."""
    return (*new_entries(base.plugins, [password]), mark(base.account.user))


def parity(base: Seen, clone: Seen, *, its_turn: bool) -> tuple[Difference, ...]:
    """Where the clone is not its base user's equal.

    ``its_turn``: it is about to have a new password, and a plug-in and default role of its own making with it. Where it
    is not, nothing that it lacks holds its base user back.
    """
    account = clone.state.account
    lacking_or_not = (*differences(base.rights, clone.rights, account), *_other_terms(base.state, clone.state))
    later = (*other_default_role(base, clone), *(() if its_turn else _other_plugins(base.state, clone.state)))
    return (
        *(replace(each, lacks=each.lacks and its_turn) for each in lacking_or_not),
        *(replace(each, lacks=False) for each in later),
    )


def other_default_role(base: Seen, clone: Seen) -> tuple[Difference, ...]:
    wanted, found = base.default_role, clone.state.default_role
    if found in (wanted, base.state.default_role):
        return ()
    role = identifier(wanted) if wanted else "NONE"
    sentence = f"starts with role {found or 'NONE'} instead of {wanted or 'NONE'}"
    return (Difference(sentence, (f"SET DEFAULT ROLE {role} FOR {clone.state.account.sql}",), lacks=bool(wanted)),)


def _other_terms(base: State, clone: State) -> Iterator[Difference]:
    for (name, wanted), (_, found) in zip(base.terms.clauses, clone.terms.clauses, strict=True):
        if wanted != found:
            yield Difference(
                f"has another {name} than {base.account.user}",
                (f"ALTER USER {clone.account.sql} {wanted}",),
                lacks=True,
            )


def _other_plugins(base: State, clone: State) -> Iterator[Difference]:
    found = password_plugins(entry for entry in clone.entries if entry != mark(base.account.user))
    if found and found != base.plugins:
        # Nobody can make another plug-in's hash without the password: it waits for the clone's turn.
        yield Difference(
            f"logs in by {_listed(found)} instead of {_listed(base.plugins)} until it is given a new password"
        )


def _clauses(terms: Terms) -> Iterator[str]:
    return (clause for _, clause in terms.clauses)


def _listed(plugins: Iterable[str]) -> str:
    return " and ".join(plugins)
