"""Where the operator connects for a tenant, how protected, and whose admin secret it takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.spec import TlsMode, TlsSpec
from rotated_secrets.controller.look.database_access import DatabaseAccess, Trust
from rotated_secrets.databases.base import (
    AdminSession,
    AuthenticationFailed,
    PasswordLimits,
    Refused,
    Server,
    Unavailable,
    Users,
)
from rotated_secrets.databases.hosts import HostRules
from rotated_secrets.observability.metrics import Metrics
from rotated_secrets.values import Credential, SecretText, SecretValue
from tests.support.direct import DirectLogins

APPLICATION = Credential("postgres", "192.0.2.7", "app", SecretText("a"))
ADMIN = Credential("postgres", "192.0.2.7", "admin", SecretText("b"))


class RecordingEngine:
    """Knows passwords, and who tried to log in where."""

    default_port = 5432
    strategies = frozenset(Strategy)
    passwords = PasswordLimits()

    def __init__(self, admin_password: str = "b") -> None:
        self.admin_password = SecretText(admin_password)
        self.tried: list[tuple[str, Server]] = []

    def check_username(self, username: str) -> None:
        return

    def verify(self, server: Server, credential: Credential, users: Users, queries: Sequence[str] = ()) -> list[str]:
        self.tried.append((credential.username, server))
        return []

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        self.tried.append((credential.username, server))
        if credential.password != self.admin_password:
            raise AuthenticationFailed(f"user {credential.username} was refused")
        raise StopIteration  # far enough


def connections(
    engine: RecordingEngine, *admins: Credential, trust: Trust | None = None, application: Credential = APPLICATION
) -> DatabaseAccess:
    left = iter(admins)
    return DatabaseAccess(
        engine,
        application=application,
        trust=trust or Trust(TlsSpec(), None, None),
        rules=HostRules(),
        read_admin=(lambda: next(left)) if admins else None,
        logins=DirectLogins(engine),
        metrics=Metrics(),
    )


@pytest.mark.parametrize("host", ["[2001:DB8::7]", "2001:db8:0:0::7", "2001:db8::7"])
def test_admin_is_for_the_same_server_however_its_host_is_written(host: str) -> None:
    engine = RecordingEngine()
    application, admin = (
        Credential.of(
            SecretValue.parse(json.dumps({"engine": "postgres", "host": each, "username": user, "password": "b"}))
        )
        for each, user in (("2001:db8::7", "app"), (host, "admin"))
    )
    with pytest.raises(StopIteration):
        connections(engine, admin, application=application).open_admin(application)
    assert [server.host for _, server in engine.tried] == ["2001:db8::7"]


@pytest.mark.parametrize(
    "elsewhere",
    [replace(ADMIN, host="192.0.2.8"), replace(ADMIN, port=6432), replace(ADMIN, engine="mysql")],
)
def test_admin_is_not_sent_to_a_server_on_which_the_application_proved_nothing(elsewhere: Credential) -> None:
    engine = RecordingEngine()
    with pytest.raises(Refused, match="engine, host and port of both must be the same"):
        connections(engine, elsewhere).open_admin(APPLICATION)
    assert engine.tried == []


def test_an_engines_names_are_names_of_one_thing() -> None:
    """AWS's functions for PostgreSQL take "postgres" and "aurora-postgresql" for either secret."""
    engine = RecordingEngine()
    with pytest.raises(StopIteration):
        connections(engine, replace(ADMIN, engine="aurora-postgresql")).open_admin(APPLICATION)
    assert [user for user, _ in engine.tried] == ["admin"]


def test_admin_secret_that_was_rotated_meanwhile_is_read_once_more() -> None:
    engine = RecordingEngine(admin_password="new")
    with pytest.raises(StopIteration):
        connections(engine, ADMIN, replace(ADMIN, password=SecretText("new"))).open_admin(APPLICATION)
    assert [user for user, _ in engine.tried] == ["admin", "admin"]


def test_admin_whose_password_is_wrong_is_tried_once_alone_for_accounts_lock() -> None:
    engine = RecordingEngine(admin_password="another")
    with pytest.raises(AuthenticationFailed):
        connections(engine, ADMIN, ADMIN).open_admin(APPLICATION)
    assert len(engine.tried) == 1


def test_host_that_the_guard_refuses_is_never_connected_to() -> None:
    engine = RecordingEngine()
    metadata = replace(APPLICATION, host="169.254.169.254")
    with pytest.raises(Refused):
        connections(engine).verify(metadata, Users("app"), ())
    assert engine.tried == []


@pytest.mark.parametrize(
    ("mode", "ssl", "used"),
    [
        (None, None, TlsMode.VERIFY_FULL),
        (None, False, TlsMode.DISABLE),
        (TlsMode.DISABLE, True, TlsMode.VERIFY_FULL),
        (TlsMode.DISABLE, None, TlsMode.VERIFY_FULL),
        (TlsMode.REQUIRE, False, TlsMode.REQUIRE),
        (TlsMode.VERIFY_FULL, False, TlsMode.VERIFY_FULL),
    ],
)
def test_resource_may_ask_for_more_protection_of_the_admin_and_never_for_less(
    mode: TlsMode | None, ssl: bool | None, used: TlsMode
) -> None:
    trust = Trust(TlsSpec(mode=mode), tenant_ca="tenant's", operator_ca="operator's")
    tls = trust.for_admin(replace(ADMIN, ssl=ssl))
    assert (tls.mode, tls.ca_bundle) == (used, "operator's")


def test_applications_protection_is_the_resources_to_choose() -> None:
    trust = Trust(TlsSpec(mode=TlsMode.VERIFY_CA), tenant_ca="tenant's", operator_ca="operator's")
    tls = trust.for_application(replace(APPLICATION, ssl=False))
    assert (tls.mode, tls.ca_bundle) == (TlsMode.VERIFY_CA, "tenant's")


class ScatteredEngine(RecordingEngine):
    """Its credentials are for the hosts that ``dbname`` names."""

    def hosts(self, credential: Credential) -> tuple[tuple[str, int], ...]:
        return tuple((host, 5432) for host in (credential.dbname or "").split())


def on(hosts: str, credential: Credential = APPLICATION) -> Credential:
    return replace(credential, dbname=hosts)


def test_every_host_that_an_engine_names_is_resolved_and_protected_alike() -> None:
    engine = ScatteredEngine()
    connections(engine).verify(on("192.0.2.7 192.0.2.8 192.0.2.9"), Users("app"), ())
    [(_, server)] = engine.tried
    assert [one.addresses for one in (server, *server.others)] == [("192.0.2.7",), ("192.0.2.8",), ("192.0.2.9",)]
    assert {(one.port, one.tls) for one in server.others} == {(server.port, server.tls)}


def test_one_host_that_the_guard_refuses_keeps_all_from_being_connected_to() -> None:
    engine = ScatteredEngine()
    with pytest.raises(Refused, match="loopback address"):
        connections(engine).verify(on("192.0.2.7 127.0.0.1"), Users("app"), ())
    assert engine.tried == []


def test_an_engine_that_names_no_host_has_none_looked_up() -> None:
    engine = ScatteredEngine()
    connections(engine).verify(replace(on(""), host="not to be resolved"), Users("app"), ())
    [(_, server)] = engine.tried
    assert (server.addresses, server.others) == ((), ())


def test_admin_is_sent_to_no_further_host_that_the_tenant_alone_names() -> None:
    engine = ScatteredEngine()
    application = on("192.0.2.7 192.0.2.66")
    with pytest.raises(Refused, match="must be the same"):
        connections(engine, on("192.0.2.7", ADMIN), application=application).open_admin(application)
    assert engine.tried == []


def test_admin_goes_to_the_further_hosts_that_both_secrets_name_in_any_order() -> None:
    engine = ScatteredEngine()
    application = on("192.0.2.7 192.0.2.8 192.0.2.9")
    with pytest.raises(StopIteration):
        connections(engine, on("192.0.2.7 192.0.2.9 192.0.2.8", ADMIN), application=application).open_admin(application)
    assert [len(server.others) for _, server in engine.tried] == [2]


def test_credential_that_others_administer_by_is_guarded_as_an_admins() -> None:
    weak = TlsSpec(mode=TlsMode.DISABLE)
    assert Trust(weak, "the tenant's", "the operator's").for_application(ADMIN).mode is TlsMode.DISABLE
    guarded = Trust(weak, "the tenant's", "the operator's", is_admin=True).for_application(ADMIN)
    assert (guarded.mode, guarded.ca_bundle) == (TlsMode.VERIFY_FULL, "the operator's")


def test_where_the_resources_own_authority_is_missing_nobody_else_is_trusted() -> None:
    trust = Trust(TlsSpec(ca_secret_name="ca"), None, None, missing="Secret shop/ca does not exist")
    with pytest.raises(Unavailable, match="shop/ca does not exist"):
        trust.for_application(APPLICATION)


class ServicesEngine(RecordingEngine):
    """A listener with several services, each with users of its own; remembers to which the admin was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str | None] = []

    def users_database(self, credential: Credential) -> str | None:
        return credential.dbname.lower() if credential.dbname else None

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        self.opened.append(credential.dbname)
        return super().open_admin(server, credential)


def test_admin_is_not_sent_to_a_service_in_which_the_application_proved_nothing() -> None:
    """Who owns APP in TENANTPDB must not have PROD's APP changed by PROD's admin."""
    engine, application = ServicesEngine(), replace(APPLICATION, dbname="TENANTPDB")
    with pytest.raises(Refused, match="dbname of both must be the same"):
        connections(engine, replace(ADMIN, dbname="PROD"), application=application).open_admin(application)
    assert engine.opened == []


def test_an_application_that_names_no_service_gets_no_admin_of_one() -> None:
    engine = ServicesEngine()
    with pytest.raises(Refused):
        connections(engine, replace(ADMIN, dbname="PROD")).open_admin(APPLICATION)
    assert engine.opened == []


@pytest.mark.parametrize(("named", "opened"), [(None, "Prod.example"), ("PROD.EXAMPLE", "PROD.EXAMPLE")])
def test_admin_goes_to_the_applications_service_however_its_secret_writes_it(named: str | None, opened: str) -> None:
    engine, application = ServicesEngine(), replace(APPLICATION, dbname="Prod.example")
    with pytest.raises(StopIteration):
        connections(engine, replace(ADMIN, dbname=named), application=application).open_admin(application)
    assert engine.opened == [opened]


def test_a_copys_service_has_to_be_the_admins_too() -> None:
    engine, application = ServicesEngine(), replace(APPLICATION, host="192.0.2.9", dbname="TENANTPDB")
    linked = DatabaseAccess(
        engine,
        application=application,
        trust=Trust(TlsSpec(), None, None),
        rules=HostRules(),
        read_admin=lambda: replace(ADMIN, dbname="PROD"),
        logins=DirectLogins(engine),
        metrics=Metrics(),
        is_copy=lambda _own, _admin: True,
    )
    with pytest.raises(Refused):
        linked.open_admin(application)
    assert engine.opened == []


class NamesakesEngine(RecordingEngine):
    """Its servers have several users of one name."""

    def open_admin_for(
        self, server: Server, credential: Credential, proven_at: Server, proof: Credential
    ) -> AdminSession:
        self.tried.append((proof.username, proven_at))
        return self.open_admin(server, credential)


def test_admin_changes_for_namesakes_the_user_alone_that_logs_in_at_the_admins_server() -> None:
    engine, trust = NamesakesEngine(), Trust(TlsSpec(mode=TlsMode.VERIFY_CA), "the tenant's", "the operator's")
    with pytest.raises(StopIteration):
        connections(engine, ADMIN, trust=trust).open_admin(APPLICATION)
    assert [(user, server.addresses, server.tls.ca_bundle) for user, server in engine.tried] == [
        ("app", ("192.0.2.7",), "the tenant's"),
        ("admin", ("192.0.2.7",), "the operator's"),
    ]
