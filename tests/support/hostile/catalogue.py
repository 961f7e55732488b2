"""Every protocol, and every combination."""

from __future__ import annotations

from tests.support.hostile.aws import AWS
from tests.support.hostile.http import WEBHOOK
from tests.support.hostile.mongo import DOCDB, MONGO
from tests.support.hostile.mysql import MARIADB, MYSQL
from tests.support.hostile.oracle import ORACLE
from tests.support.hostile.postgres import POSTGRES, REDSHIFT
from tests.support.hostile.redis import ELASTICACHE, REDIS
from tests.support.hostile.sqlserver import SQLSERVER
from tests.support.hostile.stages import cells

PROTOCOLS = (
    POSTGRES,
    REDSHIFT,
    MYSQL,
    MARIADB,
    MONGO,
    DOCDB,
    REDIS,
    ELASTICACHE,
    ORACLE,
    SQLSERVER,
    WEBHOOK,
    AWS,
)
CELLS = tuple(cells(PROTOCOLS))
