"""Namespaces that cannot be watched are set aside, and come back when everything in them is watched again."""

from __future__ import annotations

from rotated_secrets.controller.namespaces import EVERYWHERE, ServedNamespaces


class Told(list[tuple[str, str | None]]):
    def __call__(self, namespace: str, why: str | None) -> None:
        self.append((namespace, why))


def test_a_namespace_is_set_aside_once_and_back_when_all_of_it_is_watched() -> None:
    told = Told()
    served = ServedNamespaces(told)
    served.refused("team-b", "rotatedsecrets", "403")
    served.refused("team-b", "rotatedsecrets", "403 again")
    served.refused("team-b", "secrets", "403 too")
    assert told == [("team-b", "403")]
    served.answered("team-b", "rotatedsecrets")
    assert served.is_set_aside("team-b")
    served.answered("team-b", "secrets")
    assert told[1:] == [("team-b", None)]
    assert not served.is_set_aside("team-b")


def test_others_are_not_set_aside_and_what_was_never_refused_is_not_told() -> None:
    told = Told()
    served = ServedNamespaces(told)
    served.refused("team-b", "secrets", "403")
    assert not served.is_set_aside("team-a")
    served.answered("team-a", "secrets")
    served.answered("team-b", "rotatedsecrets")
    assert told == [("team-b", "403")]


def test_where_all_namespaces_are_listed_together_each_of_them_is_set_aside() -> None:
    served = ServedNamespaces()
    served.refused(EVERYWHERE, "rotatedsecrets", "404")
    assert served.is_set_aside("shop")
    served.answered(EVERYWHERE, "rotatedsecrets")
    assert not served.is_set_aside("shop")
