"""Which RotatedSecrets an event of the watch wakes."""

from __future__ import annotations

from typing import Any

import pytest

from rotated_secrets.api.key import Key
from rotated_secrets.api.names import OWNER_ANNOTATION
from rotated_secrets.cluster import Forbidden
from rotated_secrets.controller.namespaces import EVERYWHERE
from rotated_secrets.controller.watch.handlers import MOST_OWNERS, Handlers
from rotated_secrets.controller.watch.index import Index
from rotated_secrets.controller.watch.resync import reconcile_index
from rotated_secrets.values import Arn

ARN = Arn("arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/orders-AbCdEf")
KEY, YOUNG = Key("shop", "orders"), Key("shop", "young")


class Woken:
    """Handlers, and whom they woke."""

    def __init__(self) -> None:
        self.index = Index("eu-west-1")
        self.looked: list[Key] = []
        self.again: list[Key] = []
        self.gone: list[Key] = []
        self.events = 0
        self.handlers = Handlers(
            self.index,
            look=self.looked.append,
            look_again=self.again.append,
            gone=self.gone.append,
            delivered=self._delivered,
        )

    def _delivered(self) -> None:
        self.events += 1


@pytest.fixture
def woken() -> Woken:
    found = Woken()
    found.handlers.rotated_secret("ADDED", rotated_secret())
    found.looked.clear()
    return found


def rotated_secret(key: Key = KEY, **changes: Any) -> dict[str, Any]:
    metadata = {"uid": f"uid-{key.name}", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"} | changes
    spec = {"source": {"secretId": "shop/orders"}}
    return {"metadata": {"namespace": key.namespace, "name": key.name, **metadata}, "spec": spec}


def secret(name: str = "orders", version: str = "7", **annotations: str) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": name, "resourceVersion": version, "annotations": annotations}}


def test_new_and_edited_resources_are_looked_at_and_our_own_status_is_not(woken: Woken) -> None:
    woken.handlers.rotated_secret("MODIFIED", rotated_secret() | {"status": {"engine": "postgres"}})
    assert woken.looked == []
    woken.handlers.rotated_secret("MODIFIED", rotated_secret(generation=2))
    woken.handlers.rotated_secret("ADDED", rotated_secret(YOUNG))
    assert woken.looked == [KEY, YOUNG]


def test_deleted_resource_is_let_go_and_others_on_its_secret_are_looked_at_again(woken: Woken) -> None:
    woken.handlers.rotated_secret("ADDED", rotated_secret(YOUNG, creationTimestamp="2026-02-01T00:00:00Z"))
    woken.looked.clear()
    woken.handlers.rotated_secret("DELETED", rotated_secret())
    assert (woken.gone, woken.looked, woken.again) == ([KEY], [KEY], [YOUNG])


def test_old_news_of_a_deletion_does_not_let_go_what_was_made_again(woken: Woken) -> None:
    woken.handlers.rotated_secret("MODIFIED", rotated_secret(uid="again"))
    woken.handlers.rotated_secret("DELETED", rotated_secret())
    assert woken.gone == []
    assert woken.index.uid(KEY) == "again"


def test_change_of_a_target_secret_wakes_its_owner_and_our_own_write_does_not(woken: Woken) -> None:
    woken.handlers.target_secret(secret())
    assert woken.looked == [KEY]
    woken.looked.clear()
    woken.index.begin_target_write(KEY)
    woken.index.end_target_write(KEY, "8")
    woken.handlers.target_secret(secret(version="8"))
    assert woken.looked == []
    woken.handlers.target_secret(secret(version="9"))
    assert woken.looked == [KEY]


@pytest.mark.parametrize(
    ("owner", "wakes"), [("shop/orders", [KEY]), ("shop/unknown", []), ("other/orders", []), ("nonsense", []), ("", [])]
)
def test_secret_whose_annotation_names_a_resource_beside_it_wakes_that(
    woken: Woken, owner: str, wakes: list[Key]
) -> None:
    woken.handlers.target_secret(secret("moved-on", **{OWNER_ANNOTATION: owner}))
    assert woken.looked == wakes


def test_every_event_shows_that_the_watch_is_alive(woken: Woken) -> None:
    before, last = woken.events, woken.handlers.last_event
    woken.handlers.rotated_secret("MODIFIED", rotated_secret())
    woken.handlers.target_secret(secret("of-someone-else"))
    assert woken.events == before + 2
    assert woken.handlers.last_event >= last


class Listed:
    """What the API server has."""

    def __init__(self, *objects: dict[str, Any], refused: tuple[str, ...] = ()) -> None:
        self.objects = {Key(obj["metadata"]["namespace"], obj["metadata"]["name"]): obj for obj in objects}
        self.refused = refused
        self.places = ("elsewhere", KEY.namespace) if refused else (EVERYWHERE,)
        self.read: list[Key] = []

    def metadata_pages(self, namespace: str) -> Any:
        if namespace in self.refused:
            raise Forbidden("GET /x", 403)
        found = (obj["metadata"] for key, obj in self.objects.items() if namespace in (EVERYWHERE, key.namespace))
        yield [{"metadata": metadata} for metadata in found]

    def see(self, key: Key) -> dict[str, Any] | None:
        self.read.append(key)
        return self.objects.get(key)


def resynced(woken: Woken, *objects: dict[str, Any], refused: tuple[str, ...] = ()) -> tuple[list[Key], Listed]:
    resources: Any = Listed(*objects, refused=refused)
    return reconcile_index(resources, woken.index, woken.handlers), resources


def test_resync_leaves_a_namespace_that_is_refused_as_it_is(woken: Woken) -> None:
    listed, _ = resynced(woken, refused=(KEY.namespace,))
    assert listed == []
    assert woken.index.uid(KEY) is not None, "nothing shows that it was deleted"


def test_resync_of_other_namespaces_goes_on(woken: Woken) -> None:
    listed, _ = resynced(woken, rotated_secret(), refused=("elsewhere",))
    assert listed == [KEY]


def test_resync_where_everything_is_refused_has_found_nothing_out(woken: Woken) -> None:
    resources: Any = Listed(refused=(EVERYWHERE,))
    resources.places = (EVERYWHERE,)
    with pytest.raises(Forbidden):
        reconcile_index(resources, woken.index, woken.handlers)


def test_resync_lists_what_there_is_and_reads_only_what_is_not_known(woken: Woken) -> None:
    listed, resources = resynced(woken, rotated_secret(), rotated_secret(YOUNG))
    assert listed == [KEY, YOUNG]
    assert resources.read == [YOUNG]
    assert woken.looked == [YOUNG]
    assert woken.index.uid(YOUNG) == "uid-young"


def test_resync_lets_go_what_went_unnoticed(woken: Woken) -> None:
    listed, _ = resynced(woken)
    assert listed == []
    assert woken.gone == [KEY]
    assert woken.index.uid(KEY) is None


def test_resync_takes_what_was_made_again_for_another(woken: Woken) -> None:
    resynced(woken, rotated_secret(uid="again"))
    assert woken.index.uid(KEY) == "again"
    assert KEY in woken.looked


def test_a_secret_that_very_many_have_as_their_target_wakes_few_and_the_one_that_it_names(woken: Woken) -> None:
    """Else each change of it would be thousands, and who may change a Secret may do so without end."""
    keys = [Key("shop", f"one-{number}") for number in range(3 * MOST_OWNERS)]
    for key in keys:
        obj = rotated_secret(key)
        obj["spec"]["target"] = {"secretName": "shared"}
        woken.handlers.rotated_secret("ADDED", obj)
    for number, named in enumerate(keys):
        woken.looked.clear()
        woken.handlers.target_secret(secret("shared", str(number), **{OWNER_ANNOTATION: str(named)}))
        assert named in woken.looked
        assert len(woken.looked) <= MOST_OWNERS + 1
