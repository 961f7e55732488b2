"""What Amazon DocumentDB does differently, in front of a real MongoDB: no server of it is to be had.

It passes on what DocumentDB knows and refuses every command and field beyond that, so it is stricter than the real one
where that is not known. Source: "Supported MongoDB APIs", "Functional differences" and "Managing users", Amazon
DocumentDB Developer Guide: users have roles alone and are all of database admin, whatever database they log in by.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import bson

from sandbox.mongo import Document, MongoServer

KNOWN: dict[str, set[str]] = {
    "hello": {"client", "backpressure", "saslSupportedMechs", "helloOk"},
    "ismaster": {"client", "backpressure", "saslSupportedMechs", "helloOk"},
    "saslStart": {"mechanism", "payload", "autoAuthorize", "options"},
    "saslContinue": {"conversationId", "payload"},
    "connectionStatus": set(),
    "usersInfo": set(),
    "createUser": {"pwd", "roles"},
    "updateUser": {"pwd"},
    "grantRolesToUser": {"roles"},
    "revokeRolesFromUser": {"roles"},
    "findAndModify": {"query", "update", "upsert", "new", "writeConcern"},
    "delete": {"deletes", "writeConcern"},
    "find": {"filter", "projection", "limit", "singleBatch", "maxTimeMS"},
}
OF_USERS = {"usersInfo", "createUser", "updateUser", "grantRolesToUser", "revokeRolesFromUser"}
NOT_SUPPORTED: Document = {"ok": 0.0, "errmsg": "Feature not supported", "code": 303}


@dataclass
class DocumentDb:
    """A running double; `commands` are those it has seen, in their order."""

    port: int
    commands: list[Document] = field(default_factory=list)

    def seen(self, name: str) -> list[Document]:
        return [command for command in self.commands if next(iter(command)) == name]


@contextlib.contextmanager
def documentdb(behind: MongoServer) -> Iterator[DocumentDb]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        double = DocumentDb(int(listener.getsockname()[1]))

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    wire, _ = listener.accept()
                    threading.Thread(target=_serve, args=(double, wire, behind), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield double
        listener.shutdown(socket.SHUT_RDWR)


def _serve(double: DocumentDb, wire: socket.socket, behind: MongoServer) -> None:
    context = ssl.create_default_context(cafile=str(behind.ca_file))
    plain = socket.create_connection((behind.host, behind.port))
    with wire, wire.makefile("rb") as stream, context.wrap_socket(plain, server_hostname="localhost") as server:
        answers = server.makefile("rb")
        while (asked := _read(stream)) is not None:
            request, command = asked
            double.commands.append(command)
            answer = _refusal(command)
            if answer is None:
                server.sendall(_message(request, 0, _as_mongodb(command)))
                told = _read(answers)
                assert told is not None
                answer = _as_documentdb(command, told[1])
            wire.sendall(_message(1, request, answer))


def _refusal(command: Document) -> Document | None:
    name = next(iter(command))
    beyond = command.keys() - KNOWN.get(name, set()) - {name, "$db"}
    if name not in KNOWN or beyond:
        return NOT_SUPPORTED
    if name in OF_USERS and (not isinstance(command[name], str) or command["$db"] != "admin"):
        return {**NOT_SUPPORTED, "errmsg": "users are in admin"} if name != "usersInfo" else _nobody(command)
    return None


def _nobody(command: Document) -> Document:
    return {"users": [], "ok": 1.0} if isinstance(command["usersInfo"], str) else NOT_SUPPORTED


def _as_mongodb(command: Document) -> Document:
    if "saslStart" in command or "saslContinue" in command:
        return {**command, "$db": "admin"}
    if "saslSupportedMechs" in command:
        return {**command, "saslSupportedMechs": f"admin.{command['saslSupportedMechs'].partition('.')[2]}"}
    return command


def _as_documentdb(command: Document, answer: Document) -> Document:
    if "saslSupportedMechs" in answer:
        answer["saslSupportedMechs"] = ["SCRAM-SHA-1"]
    if "usersInfo" in command:
        kept = ("user", "db", "roles")
        answer["users"] = [{"_id": each["user"]} | {key: each[key] for key in kept} for each in answer["users"]]
    return answer


def _read(stream: BinaryIO) -> tuple[int, Document] | None:
    header = stream.read(16)
    if len(header) < 16:
        return None
    length, request, _, _ = struct.unpack("<iiii", header)
    # OP_MSG: flags, and a section of kind 0, which is the command; another, of kind 1, is a list in it.
    body = stream.read(length - 16)[5:]
    (size,) = struct.unpack_from("<i", body)
    found: dict[str, Any] = bson.decode(body[:size])
    if rest := body[size + 5 :]:
        name, _, documents = rest.partition(b"\0")
        found[name.decode()] = list(bson.decode_all(documents))
    return request, found


def _message(request: int, answered: int, document: Document) -> bytes:
    body = struct.pack("<i", 0) + b"\0" + bson.encode(document)
    return struct.pack("<iiii", 16 + len(body), request, answered, 2013) + body
