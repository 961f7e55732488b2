"""Decide whether an account is the clone of another, and where the two differ. Pure: works on what was read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from rotated_secrets.databases.mariadb.hashes import NATIVE, no_passwords_hash
from rotated_secrets.databases.mariadb.mark import Mark, mark_statements, named_by, role_of
from rotated_secrets.databases.mariadb.state import Entry, State, Terms, identified, password_plugins
from rotated_secrets.databases.mysql.accounts import Account, identifier
from rotated_secrets.databases.mysql.grants import Member, RightSet, beyond, differences
from rotated_secrets.databases.parity import Difference, first_of


@dataclass(frozen=True)
class Seen:
    """An account, and what it may do."""

    state: State
    rights: RightSet
    """Without the roles of marks."""
    mark: Mark | None = None
    """What the account says that marks a clone of this name."""
    roles: frozenset[str] = frozenset()
    """Those by which earlier versions marked clones."""

    @property
    def default_role(self) -> str:
        """The role that its sessions start with: one that was taken away since is named there still."""
        roles = {right.role for right in self.rights if isinstance(right, Member)}
        return self.state.default_role if self.state.default_role in roles else ""

    @property
    def original(self) -> str | None:
        """The account whose clone this one is, by a mark that is valid: it names this account, which is still the one
        that was marked."""
        valid = self.mark is not None and self.mark.is_of(self.state.account) and self.state.written_out
        return self.mark.original if self.mark and valid else None


def is_marked(clone: Seen, base: Account) -> bool:
    """Whether the account is marked as the clone of ``base``, in whatever way."""
    return clone.original == str(base) or (clone.original is None and role_of(base.user) in clone.roles)


def is_to_be_marked(clone: Seen, base: Account) -> bool:
    """Whether it has no mark yet, or has one of an earlier version."""
    return clone.original != str(base)


def clone_of(seen: Seen) -> str | None:
    """Return the user whose clone an account is marked as."""
    if seen.original is not None:
        return seen.original.rpartition("@")[0]
    # A rotator that copies the roles of a clone to its base user has given that one a mark of itself.
    return min((named_by(role) for role in seen.roles - {role_of(seen.state.account.user)}), default=None)


def without_password(base: str) -> Entry:
    """Return a way to log in by which the clone cannot log in, until it has a password."""
    return Entry(NATIVE, no_passwords_hash(base))


def is_unfinished(clone: State, base: str) -> bool:
    """Whether the operator made it and it never had a password. Locking an account needs CREATE USER."""
    return clone.locked and clone.entries == (without_password(base),)


def not_the_clone(base: Seen, clone: Seen) -> str | None:
    """Return why an account cannot be used as the clone; without the mark its password must give and take no right.

    An account with fewer rights may be another person's, which would get the missing rights and a password like the
    base user's.
    """
    user = base.state.account.user
    if is_marked(clone, base.state.account) or (is_unfinished(clone.state, user) and not clone.rights):
        return None
    marked = clone_of(clone)
    others = sorted({entry.plugin for entry in clone.state.entries} - {entry.plugin for entry in base.state.entries})
    more = [
        *(f"logs in by {plugin}" for plugin in others),
        *(f"has {right}" for right in beyond(base.rights, clone.rights)),
    ]
    if marked is not None:
        why = f"it is marked as the clone of {marked}"
    elif more:
        why = f"it {first_of(more)}, which {user} does not have"
    elif not clone.rights:
        why = "it has no rights at all, so nothing proves that it is"
    elif clone.rights != base.rights:
        fewer = beyond(clone.rights, base.rights)
        why = (
            f"it does not have all rights of {user}: {first_of(fewer) if fewer else 'they are granted in another way'}"
        )
    else:
        return None
    return f"{why}; if it is the clone, run: {'; '.join(mark_statements(base.state.account, clone.state))}"


def create(base: State, clone: Account) -> str:
    """Return the statement that creates the clone: with its terms and no password, and locked."""
    nobodys = identified([without_password(base.account.user)])
    return " ".join((f"CREATE USER {clone.sql}", nobodys, *_clauses(base.terms), "ACCOUNT LOCK"))


def parity(base: Seen, clone: Seen, *, its_turn: bool) -> tuple[Difference, ...]:
    """Return the differences between the clone and its base user.

    ``its_turn``: it is about to get a new password, and with it a plug-in and a default role. Where it
    is not, nothing that it lacks holds its base user back.
    """
    rights = differences(base.rights, clone.rights, clone.state.account)
    lacking_or_not = (*rights, *_other_terms(base.state, clone.state))
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
    found = password_plugins(entry for entry in clone.entries if entry != without_password(base.account.user))
    if found and found != base.plugins:
        # Another plug-in's hash cannot be computed without the password: it waits for the clone's turn.
        yield Difference(
            f"logs in by {_listed(found)} instead of {_listed(base.plugins)} until it is given a new password"
        )


def _clauses(terms: Terms) -> Iterator[str]:
    return (clause for _, clause in terms.clauses)


def _listed(plugins: Iterable[str]) -> str:
    return " and ".join(plugins)
