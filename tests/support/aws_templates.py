"""What AWS's rotation templates read from a secret value and write into the next one, as a table.

Source: "JSON structure of AWS Secrets Manager secrets", AWS Secrets Manager User Guide, for the keys, their order and
defaults; the docstrings and checks of aws-samples/aws-secrets-manager-rotation-lambdas for what each template demands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

HOST = "shop.cluster-c0ffee.eu-west-1.rds.amazonaws.com"
MASTER = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/admin-AbCdEf"
USER_ARN = "arn:aws:elasticache:eu-west-1:123456789012:user:orders"


def lower_case_clone(longest: int) -> Callable[[str], str]:
    def alternate(name: str) -> str:
        if name.endswith("_clone"):
            return name[: -len("_clone")]
        assert len(name + "_clone") <= longest
        return name + "_clone"

    return alternate


def upper_case_clone(name: str) -> str:
    """Oracle's: whatever is written, the user is one in upper case."""
    if name.endswith("_CLONE"):
        return name[: -len("_CLONE")].upper()
    assert len(name + "_CLONE") <= 30
    return (name + "_CLONE").upper()


@dataclass(frozen=True)
class Template:
    """One template, single user or multi user."""

    name: str
    engines: tuple[str, ...]
    """What it takes as ``engine``; none where its values have no such key."""
    fields: tuple[tuple[str, object], ...]
    """Keys in the documentation's order, with values of the types that it shows."""
    required: tuple[str, ...]
    """Keys without which it raises a KeyError."""
    alternate: Callable[[str], str] | None = None
    """With which it names the other user; None in single-user templates."""
    suffix: str = "_clone"
    username: str = "orders"

    def value(self, engine: str | None, *without: str, **changes: object) -> dict[str, object]:
        fields = {key: found for key, found in self.fields if key not in without}
        return {**fields, **({"engine": engine} if engine else {}), "username": self.username, **changes}

    def accepts(self, value: dict[str, object]) -> bool:
        """Whether it would go on with a value, or raise at the first look."""
        if self.engines and value.get("engine") not in self.engines:
            return False
        return all(key in value for key in self.required)

    def next_username(self, value: dict[str, object]) -> str:
        current = str(value["username"])
        return self.alternate(current) if self.alternate else current


def _fields(dbname: str | None, port: int, *more: tuple[str, object]) -> tuple[tuple[str, object], ...]:
    return (
        ("engine", ""),
        ("host", HOST),
        ("username", ""),
        ("password", "old"),
        *([("dbname", dbname)] if dbname else []),
        ("port", port),
        *more,
    )


_OF_RDS = (("dbInstanceIdentifier", "shop"), ("dbClusterIdentifier", "shop"))
_FOR_TWO = (("masterarn", MASTER),)
_REQUIRED = ("engine", "host", "username", "password")

TEMPLATES = (
    Template(
        "SecretsManagerRDSPostgreSQLRotationSingleUser",
        ("postgres", "aurora-postgresql"),
        _fields("shop", 5432, *_FOR_TWO, *_OF_RDS),
        _REQUIRED,
    ),
    Template(
        "SecretsManagerRDSPostgreSQLRotationMultiUser",
        ("postgres", "aurora-postgresql"),
        _fields("shop", 5432, *_FOR_TWO, *_OF_RDS),
        (*_REQUIRED, "masterarn"),
        lower_case_clone(63),
    ),
    Template(
        "SecretsManagerRDSMySQLRotationSingleUser",
        ("mysql", "aurora-mysql"),
        _fields("shop", 3306, *_FOR_TWO, *_OF_RDS),
        _REQUIRED,
    ),
    Template(
        "SecretsManagerRDSMySQLRotationMultiUser",
        ("mysql", "aurora-mysql"),
        _fields("shop", 3306, *_FOR_TWO, *_OF_RDS),
        (*_REQUIRED, "masterarn"),
        lower_case_clone(32),
    ),
    Template(
        "SecretsManagerRDSMariaDBRotationSingleUser",
        ("mariadb",),
        _fields("shop", 3306, *_FOR_TWO, *_OF_RDS),
        _REQUIRED,
    ),
    Template(
        "SecretsManagerRDSMariaDBRotationMultiUser",
        ("mariadb",),
        _fields("shop", 3306, *_FOR_TWO, *_OF_RDS),
        (*_REQUIRED, "masterarn"),
        lower_case_clone(80),
    ),
    Template(
        "SecretsManagerRDSOracleRotationSingleUser",
        ("oracle",),
        _fields("ORCL", 1521, *_FOR_TWO, *_OF_RDS),
        (*_REQUIRED, "dbname"),
        suffix="_CLONE",
        username="ORDERS",
    ),
    Template(
        "SecretsManagerRDSOracleRotationMultiUser",
        ("oracle",),
        _fields("ORCL", 1521, *_FOR_TWO, *_OF_RDS),
        (*_REQUIRED, "dbname", "masterarn"),
        upper_case_clone,
        suffix="_CLONE",
        username="ORDERS",
    ),
    Template(
        "SecretsManagerRDSSQLServerRotationSingleUser",
        ("sqlserver",),
        _fields("shop", 1433, *_FOR_TWO, *_OF_RDS),
        _REQUIRED,
    ),
    Template(
        "SecretsManagerRDSSQLServerRotationMultiUser",
        ("sqlserver",),
        _fields("shop", 1433, *_FOR_TWO, *_OF_RDS),
        (*_REQUIRED, "masterarn"),
        lower_case_clone(128),
    ),
    Template(
        "SecretsManagerRedshiftRotationSingleUser",
        ("redshift",),
        _fields("dev", 5439, *_FOR_TWO, ("dbClusterIdentifier", "shop")),
        _REQUIRED,
    ),
    Template(
        "SecretsManagerRedshiftRotationMultiUser",
        ("redshift",),
        _fields("dev", 5439, *_FOR_TWO, ("dbClusterIdentifier", "shop")),
        (*_REQUIRED, "masterarn"),
        lower_case_clone(127),
    ),
    Template(
        "SecretsManagerRedshiftRotationMultiUser, of Redshift Serverless",
        ("redshift",),
        _fields("dev", 5439, ("namespaceName", "shop"), *_FOR_TWO),
        (*_REQUIRED, "masterarn"),
        lower_case_clone(127),
    ),
    Template(
        "SecretsManagerMongoDBRotationSingleUser",
        ("mongo",),
        _fields("admin", 27017, ("ssl", True), *_FOR_TWO, ("dbClusterIdentifier", "shop")),
        _REQUIRED,
    ),
    Template(
        "SecretsManagerMongoDBRotationMultiUser",
        ("mongo",),
        _fields("admin", 27017, ("ssl", True), *_FOR_TWO, ("dbClusterIdentifier", "shop")),
        (*_REQUIRED, "masterarn"),
        lower_case_clone(1024),
    ),
)

ELASTICACHE = Template(
    "SecretsManagerElasticacheUserRotation",
    (),
    (("password", "old"), ("username", ""), ("user_arn", USER_ARN)),
    ("password", "username", "user_arn"),
)
