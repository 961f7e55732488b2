"""Users of Amazon DocumentDB, by a strict double: roles alone, in database admin, and nobody knows who is logged in."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Iterator

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import AuthenticationFailed, Refused, RightsReport, Server, Tls, Users
from rotated_secrets.databases.mongo import DocumentDbEngine, MongoEngine
from rotated_secrets.values import Credential, SecretValue
from sandbox.mongo import MongoServer
from tests.integration.mongo.conftest import make_user
from tests.support.documentdb import DocumentDb, documentdb


@pytest.fixture(scope="module")
def double(mongo: MongoServer) -> Iterator[DocumentDb]:
    with documentdb(mongo) as running:
        yield running


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A base user of the double, as either engine's values name it."""

    engine: MongoEngine
    double: DocumentDb
    server: MongoServer
    users: Users
    admin: Credential
    password: str
    fields: dict[str, str]

    @property
    def reach(self) -> Server:
        return Server("localhost", ("127.0.0.1",), self.double.port, Tls(TlsMode.DISABLE))

    def credential(self, user: str, password: str) -> Credential:
        value = {"engine": "mongo", "host": "localhost", "username": user, "password": password, **self.fields}
        return Credential.of(SecretValue.parse(json.dumps(value)))

    def set_password(self, user: str, password: str) -> RightsReport:
        with self.engine.open_admin(self.reach, self.admin) as session:
            assert session.try_lock(self.users.base)
            session.check_users(self.users)
            report = session.set_password(self.users, self.credential(user, password), Rights.ENFORCE)
            assert session.sessions_of(user) is None
            return report

    def roles(self, user: str) -> set[str]:
        found = self.server.command({"usersInfo": user})["users"]
        return {role["role"] for each in found for role in each["roles"]}


@pytest.fixture(
    params=[
        (DocumentDbEngine(), {"dbname": "shop"}),
        (MongoEngine(), {"dbname": "shop"}),
        (MongoEngine(), {"authSource": "admin", "dbname": "shop"}),
    ],
    ids=["docdb", "mongo by dbname", "mongo by authSource"],
)
def cluster(request: pytest.FixtureRequest, mongo: MongoServer, double: DocumentDb) -> Cluster:
    engine, fields = request.param
    base, admin = f"ddb_{secrets.token_hex(4)}", f"ddb_admin_{secrets.token_hex(4)}"
    made = make_user(mongo, base, "admin", [{"role": "readWrite", "db": "shop"}])
    root = make_user(mongo, admin, "admin", ["root"])
    return Cluster(engine, double, mongo, Users(base, f"{base}_clone"), root, made.password.reveal(), fields)


def test_two_users_take_turns(cluster: Cluster) -> None:
    users = cluster.users
    for turn in range(1, 5):
        user = f"{users.base}_clone" if turn % 2 else users.base
        assert cluster.set_password(user, f"turn-{turn}") == RightsReport()
        pending = cluster.credential(user, f"turn-{turn}")
        assert cluster.engine.verify(cluster.reach, pending, users, ['{"find": "prices"}']) == []
    with pytest.raises(AuthenticationFailed):
        cluster.engine.verify(cluster.reach, cluster.credential(users.base, "turn-2"), users)


def test_the_clone_has_its_base_users_roles_and_what_is_beyond_them_is_never_sent(cluster: Cluster) -> None:
    base, clone = cluster.users.base, f"{cluster.users.base}_clone"
    cluster.set_password(clone, "first")
    role = {"roles": [{"role": "read", "db": "hr"}]}
    cluster.server.command({"grantRolesToUser": base, **role})
    # Without a mark it may be somebody's who would be given the role.
    with pytest.raises(Refused, match=r"lacks read@hr.*\.grantRolesToUser"):
        cluster.set_password(base, "second")
    cluster.server.command({"grantRolesToUser": clone, **role})
    cluster.set_password(clone, "second")
    assert cluster.roles(clone) == cluster.roles(base)
    sent = cluster.double.seen("createUser") + cluster.double.seen("updateUser")
    assert sent
    assert not {"customData", "mechanisms", "authenticationRestrictions", "writeConcern"} & {
        key for command in sent for key in command
    }


def test_without_a_mark_a_clone_with_a_role_of_its_own_is_for_a_person_to_judge(cluster: Cluster) -> None:
    base, clone = cluster.users.base, f"{cluster.users.base}_clone"
    cluster.set_password(clone, "first")
    cluster.server.command({"revokeRolesFromUser": base, "roles": [{"role": "readWrite", "db": "shop"}]})
    with pytest.raises(Refused, match=r'db\.getSiblingDB\("admin"\)\.revokeRolesFromUser'):
        cluster.set_password(clone, "second")
    assert cluster.roles(clone) == {"readWrite"}


def test_a_clone_is_locked_out_and_let_in_again(cluster: Cluster) -> None:
    clone = f"{cluster.users.base}_clone"
    cluster.set_password(clone, "first")
    with cluster.engine.open_admin(cluster.reach, cluster.admin) as session:
        session.check_users(cluster.users)
        session.disable_login(clone)
    with pytest.raises(AuthenticationFailed):
        cluster.engine.verify(cluster.reach, cluster.credential(clone, "first"), cluster.users)
    assert cluster.set_password(clone, "second") == RightsReport()
