"""What AWS's multi-user templates for MySQL and MariaDB run in setSecret, once they have logged in as the admin.

Source: set_secret in SecretsManagerRDSMySQLRotationMultiUser and SecretsManagerRDSMariaDBRotationMultiUser,
aws-samples/aws-secrets-manager-rotation-lambdas.
"""

from __future__ import annotations

import contextlib

from rotated_secrets.values import Credential
from sandbox.mysqld import MysqldServer


def set_secret(server: MysqldServer, admin: Credential, current: str, pending: str, password: str) -> None:
    """Give ``pending`` all that SHOW GRANTS shows of ``current``, and a password. Both come from any host.

    Raises: pymysql.MySQLError, where the template dies.
    """
    of_mysql = server.program.kind == "MySQL"
    with contextlib.closing(server.connect(admin.username, admin.password.reveal())) as session:
        cursor = session.cursor()
        if of_mysql and not cursor.execute("SELECT User FROM mysql.user WHERE User = %s", (pending,)):
            cursor.execute("CREATE USER %s IDENTIFIED BY %s", (pending, password))
        cursor.execute("SHOW GRANTS FOR %s", (current,))
        for (shown,) in cursor.fetchall():
            grant = shown.split(" TO ")[0].replace("%", "%%")
            if of_mysql:
                cursor.execute(f"{grant} TO %s", (pending,))
            else:
                cursor.execute(f"{grant} TO %s IDENTIFIED BY %s", (pending, password))
        cursor.execute("SELECT ssl_type FROM mysql.user WHERE User = %s", (current,))
        require = {"": "NONE", "ANY": "SSL", "X509": "X509"}[cursor.fetchall()[0][0]]
        cursor.execute(f"ALTER USER %s@'%%' REQUIRE {require}", (pending,))
        if of_mysql:
            # The template knows MySQL 8: to a later one it sends PASSWORD(%s), and dies.
            cursor.execute("SET PASSWORD FOR %s = %s", (pending, password))
