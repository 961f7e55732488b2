"""Fourth stage of a look: how the database is reached, whom to trust there, and by which admin secret.

Connects to nothing yet, and reads no admin secret before a rotation needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.spec import TlsSpec
from rotated_secrets.api.status import Reason
from rotated_secrets.controller.access.policy import AccessPolicy, PolicyDenied, Request, is_secret_arn
from rotated_secrets.controller.look.database_access import AdminSecret, DatabaseAccess, DeniedAdmin, Trust
from rotated_secrets.controller.look.interpret import Interpreted
from rotated_secrets.controller.look.webhooks import trust_of_webhook
from rotated_secrets.controller.services import Services
from rotated_secrets.controller.settings import InvalidSettings
from rotated_secrets.databases.base import Engine
from rotated_secrets.databases.hosts import HostRules, api_servers
from rotated_secrets.delivery.errors import DeliveryRefused
from rotated_secrets.delivery.targets import TargetSecrets
from rotated_secrets.rotation.observation import Obstacle
from rotated_secrets.values import Credential, SecretId

NEEDS_ADMIN: Final = (
    "AlternatingUsers needs an admin secret to create the clone user: write its name into rotation.adminSecretId, or "
    "its ARN into masterarn of the secret value"
)
NO_ARN: Final = (
    "masterarn in the secret value is not the ARN of a secret; write "
    "arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME, or name the admin secret in rotation.adminSecretId"
)


@dataclass(frozen=True)
class Connected:
    """The way to the database of one RotatedSecret."""

    interpreted: Interpreted
    database: DatabaseAccess | None
    """None where the strategy reaches no database."""
    server: str = ""
    """Host and port that the credential logs in to, written in one way; empty where there is no database."""
    obstacle: Obstacle | None = None
    """Why there is no admin where there must be one."""


class Connector:
    """Finds the way to databases, within what the operator's settings allow."""

    def __init__(self, services: Services, secrets: TargetSecrets, policy: Callable[[], AccessPolicy]) -> None:
        """``policy`` gives the access policy in force.

        Raises:
            InvalidSettings: the file of certificate authorities cannot be read.
        """
        settings = services.settings
        apis = api_servers(services.cluster.client.configuration.host, os.environ)
        self._rules = HostRules(settings.allowed_networks, settings.denied_networks, apis)
        self._services = services
        self._secrets = secrets
        self._policy = policy
        try:
            ca_file = settings.database_ca_file
            self._operator_ca = ca_file.read_text() if ca_file else None
        except (OSError, ValueError) as error:
            raise InvalidSettings(f"--database-ca-file cannot be read: {error}") from error

    def connect(self, interpreted: Interpreted) -> Connected:
        """
        Raises:
            Unusable: the CA of a webhook is not there.
            DeliveryError: a Secret with authorities cannot be read now.
        """
        credential, engine = interpreted.credential, interpreted.engine
        if credential is None or engine is None:
            return Connected(interpreted, None)
        identity = interpreted.fetched.authorised.identity
        admin, obstacle = self._admin(interpreted, credential)
        database = DatabaseAccess(
            engine,
            application=credential,
            trust=self._trust(interpreted, credential),
            rules=self._rules,
            read_admin=admin.read if admin else None,
            is_copy=identity.managed.is_copy,
            logins=self._services.logins(engine, credential.engine, interpreted.fetched.authorised.resource.namespace),
            metrics=self._services.metrics,
            known_user=interpreted.fetched.authorised.resource.status.active_user,
        )
        return Connected(interpreted, database, _server(credential, engine), obstacle)

    def _admin(
        self, interpreted: Interpreted, credential: Credential
    ) -> tuple[AdminSecret | DeniedAdmin | None, Obstacle | None]:
        """The admin secret that the spec or the value names; and why there is none where there must be one."""
        authorised = interpreted.fetched.authorised
        spec, identity = authorised.resource.spec, authorised.identity
        admin_id = spec.rotation.admin_secret_id or credential.masterarn
        if spec.rotation.strategy is Strategy.EXTERNAL:
            return None, None  # the value may name one, for the service that rotates it
        if admin_id is None:
            if spec.webhook is None and spec.rotation.strategy is Strategy.ALTERNATING_USERS:
                missing = Obstacle(Reason.INVALID_SPEC, NEEDS_ADMIN)
                return DeniedAdmin(missing.message), missing
            return None, None
        if spec.rotation.admin_secret_id is None and not is_secret_arn(admin_id):
            return DeniedAdmin(NO_ARN), Obstacle(Reason.INVALID_SECRET_VALUE, NO_ARN)
        request = Request.admin(authorised.resource, SecretId(admin_id), authorised.home, identity.account)
        try:
            self._policy().check_asked(request, authorised.home)
        except PolicyDenied as error:
            return DeniedAdmin(str(error)), Obstacle(Reason.ACCESS_DENIED, str(error))
        return AdminSecret(request, authorised.home, identity, self._policy), None

    def _trust(self, interpreted: Interpreted, credential: Credential) -> Trust:
        resource = interpreted.fetched.authorised.resource
        if (webhook := resource.spec.webhook) is not None:
            return trust_of_webhook(resource, webhook, self._secrets)
        spec = (resource.spec.database.tls if resource.spec.database else None) or TlsSpec()
        tenant_ca = None
        if spec.ca_secret_name is not None:
            try:
                tenant_ca = self._secrets.certificate_authorities(resource.namespace, spec.ca_secret_name)
            except DeliveryRefused as error:
                return Trust(spec, None, None, missing=str(error))
        is_admin = credential.arn is not None and self._policy().is_admin_secret(credential.arn)
        return Trust(spec, tenant_ca, self._operator_ca, is_admin=is_admin)


def _server(credential: Credential, engine: Engine) -> str:
    return f"{credential.host.removesuffix('.')}:{credential.port or engine.default_port}"
