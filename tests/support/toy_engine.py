"""An engine whose servers are numbers: what it does depends on the user's name. It can be sent into a cell."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from rotated_secrets.api.rotation import Rights, Strategy
from rotated_secrets.databases.base import (
    AdminSession,
    AuthenticationFailed,
    NotAdmitted,
    PasswordLimits,
    Refused,
    RightsReport,
    Server,
    SessionCount,
    Unavailable,
    Users,
)
from rotated_secrets.databases.base_classes import BaseAdminSession
from rotated_secrets.values import Credential


class Slow(Unavailable):
    """A kind of Unavailable that only the engine knows."""


class ToyEngine:
    """Has the protocol ``Engine``."""

    default_port = 5432
    strategies = frozenset(Strategy)
    passwords = PasswordLimits()

    def __init__(self) -> None:
        self.written: list[str] = []

    def check_username(self, username: str) -> None:
        """Every name will do."""

    def verify(self, server: Server, credential: Credential, users: Users, queries: Sequence[str] = ()) -> list[str]:
        match credential.username:
            case "loop":
                while True:
                    pass
            case "memory":
                kept = bytearray(1 << 40)
                raise Refused(f"{len(kept)}")
            case "crash":
                os._exit(11)
            case "fault":
                raise ZeroDivisionError(credential.password.reveal())
            case "refused":
                raise AuthenticationFailed("user refused was refused")
            case "slow":
                raise Slow("the server is slow")
            case "strange":
                raise NotAdmitted("user strange is not admitted")
            case "hang":
                time.sleep(60)
            case "connect":
                with socket.create_connection((server.addresses[0], int(credential.dbname or 0)), timeout=5):
                    return ["connected"]
        return [str(os.getpid()), credential.password.reveal(), ",".join(queries), ",".join(self.written)]

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        if credential.username == "refused":
            raise AuthenticationFailed("user refused was refused")
        return CheckingSession(str(server)) if credential.username == "checking" else ToySession(str(server))

    def open_admin_for(
        self, server: Server, credential: Credential, proven_at: Server, proof: Credential
    ) -> AdminSession:
        return ToySession(f"{server} for {proof.username} proven at {proven_at}")

    def wrote(self, server: Server, user: str) -> None:
        self.written.append(f"{user}@{server}")


class CloudEngine(ToyEngine):
    """One whose admin is an AWS identity."""

    def asking(self, client: Callable[[str, str], Any], whom: str) -> CloudEngine:
        return self


class UncopiedEngine(ToyEngine):
    """One that cannot be sent anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.held = open(os.devnull)  # noqa: SIM115, PTH123


class ToySession(BaseAdminSession):
    """Remembers for whom it was opened."""

    def __init__(self, place: str) -> None:
        self._place = place

    def close(self) -> None:
        """Nothing is open."""

    def try_lock(self, base_user: str) -> bool:
        return base_user != "locked"

    def check_users(self, users: Users) -> None:
        if users.base == "missing":
            raise Refused(f"user missing does not exist at {self._place}")

    def set_password(
        self, users: Users, credential: Credential, rights: Rights, keep: Credential | None = None
    ) -> RightsReport:
        if credential.username == "crash":
            os._exit(11)
        return RightsReport((f"{rights} {os.getpid()}",), (credential.password.reveal(), self._place))

    def disable_login(self, user: str) -> None:
        raise Refused(f"user {user} is not to be locked")

    def sessions_of(self, user: str) -> tuple[SessionCount, ...] | None:
        return None if user == "unseen" else (SessionCount("192.0.2.1", "shop", 3),)


class CheckingSession(ToySession):
    """One that can tell before a rotation what would stay unequal."""

    def check_rights(self, users: Users) -> None:
        raise Refused(f"user {users.clone} would lack a right")
