"""What the demo says of each engine, and how a person looks around there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sandbox.demo_stories import ALTERNATING_USERS, DUAL_PASSWORD, Story
from sandbox.stack import Stack


@dataclass(frozen=True)
class DemoEngine:
    """The texts of one engine."""

    title: str
    url: str
    """A template of the target Secret: what the engine's drivers take."""
    look: str
    """A command that shows the users."""
    environment: Mapping[str, str]
    """How that command finds the server, as its owner."""
    tls_environment: Mapping[str, str] = field(default_factory=dict)
    """The same, where the server speaks TLS."""
    story: Story = ALTERNATING_USERS

    def variables(self, stack: Stack, database: str) -> dict[str, str]:
        """The environment for looking around in a stack."""
        side = stack.side
        known = {"host": side.host, "port": side.port, "ca": stack.ca_file, "database": database}
        known |= {"user": side.owner.user, "password": side.owner.password}
        wanted = {**self.environment, **(self.tls_environment if side.ca_pem else {})}
        return {name: text.format(**known) for name, text in wanted.items()}


_LOGIN = "{{ username | urlencode }}:{{ password | urlencode }}@{{ host }}:{{ port }}"
_MYSQL_USERS = '-h $MYSQL_HOST -u $MYSQL_USER --ssl-ca=$MYSQL_CA -e "SELECT user, host FROM mysql.user"'
_MYSQL = DemoEngine(
    "MySQL",
    f"mysql://{_LOGIN}/{{{{ dbname }}}}",
    f"mysql {_MYSQL_USERS}",
    environment={
        "MYSQL_HOST": "{host}",
        "MYSQL_TCP_PORT": "{port}",
        "MYSQL_USER": "{user}",
        "MYSQL_PWD": "{password}",
        "MYSQL_CA": "{ca}",
    },
)

DEMO_ENGINES: Mapping[str, DemoEngine] = {
    "postgres": DemoEngine(
        "PostgreSQL",
        f"postgresql://{_LOGIN}/{{{{ dbname }}}}",
        "psql -c '\\du'",
        environment={
            "PGHOST": "{host}",
            "PGPORT": "{port}",
            "PGUSER": "{user}",
            "PGPASSWORD": "{password}",
            "PGDATABASE": "{database}",
        },
        tls_environment={"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "{ca}"},
    ),
    "mysql": _MYSQL,
    "mariadb": replace(
        _MYSQL, title="MariaDB", url=f"mariadb://{_LOGIN}/{{{{ dbname }}}}", look=f"mariadb {_MYSQL_USERS}"
    ),
    "mongo": DemoEngine(
        "MongoDB",
        f"mongodb://{_LOGIN}/{{{{ dbname }}}}?tls=true",
        "python -c 'import os, pymongo; "
        'print(*pymongo.MongoClient(os.environ["MONGODB_URI"]).shop.command("usersInfo")["users"], sep="\\n")\'',
        environment={"MONGODB_URI": "mongodb://{user}:{password}@{host}:{port}/?tls=true&tlsCAFile={ca}"},
    ),
    "redis": DemoEngine(
        "Redis",
        f"rediss://{_LOGIN}/0",
        "redis-cli --tls --cacert $REDIS_CA -p $REDIS_PORT --user $REDIS_USER ACL LIST",
        environment={
            "REDIS_PORT": "{port}",
            "REDIS_USER": "{user}",
            "REDISCLI_AUTH": "{password}",
            "REDIS_CA": "{ca}",
        },
        story=DUAL_PASSWORD,
    ),
}
"""By the ``engine`` of their secret values."""
