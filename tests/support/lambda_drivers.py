"""The database drivers that AWS's rotation templates import, as their Lambda layers have them, over this project's.

PyGreSQL (``pg`` and ``pgdb``) over psycopg2, the pymongo of before 4 over the present one. All of them trust the
authority ``ca`` instead of the file at which Amazon Linux has its own.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import psycopg2
import pymongo
import pymysql
import pymysql.cursors
from pymongo.database import Database


def drivers(ca: str) -> dict[str, ModuleType]:
    """Return modules by the names by which a template imports them; ``ca`` is the path of a file."""
    pg, pgdb = _pygresql(ca)
    return {"pg": pg, "pgdb": pgdb, "pymysql": _pymysql(ca), "pymongo": _pymongo(ca)}


def _module(name: str, **members: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(members)
    return module


def _pygresql(ca: str) -> tuple[ModuleType, ModuleType]:
    class InternalError(Exception):
        """How PyGreSQL 5 tells that a connection failed."""

    def connect(*, host: str, database: str, sslrootcert: str = "", **options: Any) -> Any:
        if sslrootcert:
            options["sslrootcert"] = ca
        try:
            return psycopg2.connect(host=host, dbname=database, **options)
        except psycopg2.OperationalError as error:
            raise InternalError(str(error)) from None

    return _module("pg", InternalError=InternalError), _module("pgdb", connect=connect)


def _pymysql(ca: str) -> ModuleType:
    class Cursor(pymysql.cursors.Cursor):
        """Calls every server MySQL 8: the templates write PASSWORD(…) for all that they do not know, 9 among it."""

        def execute(self, query: str, args: Any = None) -> int:
            return super().execute(query.replace("SELECT VERSION()", "SELECT CONCAT('8, ', VERSION())"), args)

    def connect(*, ssl: object, **options: Any) -> Any:
        return pymysql.connect(ssl={"ca": ca} if ssl else None, cursorclass=Cursor, **options)

    return _module("pymysql", **{**vars(pymysql), "connect": connect})


def _pymongo(ca: str) -> ModuleType:
    class OldDatabase:
        """Logs in by itself, and not with its client."""

        def __init__(self, options: dict[str, Any], name: str) -> None:
            self._options, self._name = options, name
            self._database: Database[dict[str, Any]] | None = None

        def authenticate(self, user: str, password: str) -> None:
            client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
                **self._options, username=user, password=password, authSource=self._name
            )
            client[self._name].command("connectionStatus")
            self._database = client[self._name]

        def command(self, command: str, *value: Any, **options: Any) -> Any:
            assert self._database is not None
            return self._database.command(command, *value, **options)

        def logout(self) -> None:
            assert self._database is not None
            self._database.client.close()

    class MongoClient:
        def __init__(self, *, ssl: bool, **options: Any) -> None:
            self._options = {**options, "tls": ssl, **({"tlsCAFile": ca} if ssl else {})}

        def __getitem__(self, name: str) -> OldDatabase:
            return OldDatabase(self._options, name)

    return _module("pymongo", MongoClient=MongoClient, errors=pymongo.errors)
