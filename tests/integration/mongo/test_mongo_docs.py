"""What docs/mongodb.md tells an admin to run is enough, and all of it runs."""

from __future__ import annotations

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import RightsReport, Users
from sandbox.mongo import MongoServer
from tests.integration.mongo.conftest import ENGINE, credential_of, make_user, reach
from tests.support.documents import ROOT, blocks
from tests.support.mongo_shell import run_shell

DOCUMENT = ROOT / "docs" / "mongodb.md"


def test_the_commands_make_an_admin_that_rotates_and_a_user_that_rotates_itself(mongo: MongoServer) -> None:
    orders = make_user(mongo, "orders", "shop", ["readWrite"])
    commands = [run_shell(mongo, block) for block in blocks(DOCUMENT, "js")]
    assert commands == [2, 1, 2]
    rotator, users = credential_of("rotator", "…", source="admin"), Users("orders", "orders_clone")
    clone = credential_of("orders_clone", "first", source="shop", dbname="shop")
    with ENGINE.open_admin(reach(mongo), rotator) as session:
        assert session.try_lock("orders")
        session.check_users(users)
        assert session.set_password(users, clone, Rights.ENFORCE) == RightsReport()
        assert session.sessions_of("orders_clone") == ()
    (query,) = blocks(DOCUMENT, "json")
    assert ENGINE.verify(reach(mongo), clone, users, [query]) == []
    alone, own = Users("orders"), credential_of("orders", "second", source="shop")
    with ENGINE.open_admin(reach(mongo), orders) as session:
        assert session.try_lock("orders")
        session.check_users(alone)
        session.set_password(alone, own, Rights.ENFORCE)
    assert ENGINE.verify(reach(mongo), own, alone) == []
