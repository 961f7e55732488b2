"""A webhook for OAuth client secrets: the operator creates a new secret, this sets it in the service that checks it.

Needs only the standard library. Put the calls of your own service into `Clients` and keep the rest: it accepts only
requests of the operator, no old ones, and none twice. Its memory is lost when it stops: see `docs/webhook.md`.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TOLERANCE = 300  # seconds that a request may be old, or the two clocks may differ
LONGEST = 1 << 20  # bytes of a request


class Clients:
    """Stands for your authorization server: the secret of each client, and which RotatedSecret may set it."""

    def __init__(self, clients):
        self.secrets = {client_id: each["secret"] for client_id, each in clients.items()}
        self.owners = {client_id: (each["namespace"], each["arn"]) for client_id, each in clients.items()}

    def belongs(self, client_id, data):
        owner = data["resource"]["namespace"], data["secret"]["arn"]
        return client_id in self.secrets and self.owners[client_id] == owner

    def put(self, client_id, secret):
        self.secrets[client_id] = secret
        return {"ok": True}

    def test(self, client_id, secret):
        if hmac.compare_digest(self.secrets[client_id].encode(), secret.encode()):
            return {"ok": True}
        return {"ok": False, "failure": "authentication", "message": f"the secret of client {client_id} is another"}


class Receiver(ThreadingHTTPServer):
    def __init__(self, address, clients, key, tls=None):
        super().__init__(address, Handler)
        self.clients, self.lock = clients, threading.Lock()
        self.key = base64.b64decode(key[6:]) if key.startswith("whsec_") else key.encode()
        self.seen = {}  # signatures, and until when they would be accepted
        self.done = {}  # by secret: when the last one was set, its request's id, and the ids of all
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def answer(self, headers, body):
        """Return status and answer for one request."""
        try:
            return self.judged(headers, body)
        except (KeyError, TypeError, ValueError, AttributeError):
            return 400, {"message": "not a request as docs/webhook.md has it"}

    def judged(self, headers, body):
        request_id, sent, now = headers.get("Webhook-Id", ""), headers.get("Webhook-Timestamp", ""), time.time()
        signed = f"{request_id}.{sent}.".encode() + body
        expected = "v1," + base64.b64encode(hmac.digest(self.key, signed, hashlib.sha256)).decode()
        if not any(hmac.compare_digest(expected, each) for each in headers.get("Webhook-Signature", "").split()):
            return 401, {"message": "wrong signature"}
        if abs(now - int(sent)) > TOLERANCE:
            return 401, {"message": "made too long ago, or the clocks differ"}
        with self.lock:  # one at a time, so that nothing changes between check and action
            self.seen = {each: until for each, until in self.seen.items() if until > now}
            if expected in self.seen:
                return 409, {"message": "this very request was here before"}
            self.seen[expected] = int(sent) + TOLERANCE
            return self.carried_out(request_id, int(sent), json.loads(body))

    def carried_out(self, request_id, sent, request):
        data, value = request["data"], request["data"]["value"]
        if not self.clients.belongs(value["client_id"], data):  # a test would show whether a guess is right
            return 422, {"message": "the client is not this namespace's and secret's to set"}
        if request["type"] == "rotated_secrets.v1.test":
            return 200, self.clients.test(value["client_id"], value["client_secret"])
        if request["type"] != "rotated_secrets.v1.set":
            return 400, {"message": "not a type that is known here"}
        last, last_id, ids = self.done.get(data["secret"]["arn"], (0, None, set()))
        if request_id == last_id:
            return 200, {"ok": True}  # a repetition, because the answer was lost
        if sent < last or request_id in ids:
            return 409, {"message": "a newer one was set since"}
        result = self.clients.put(value["client_id"], value["client_secret"])
        if result["ok"]:
            self.done[data["secret"]["arn"]] = (sent, request_id, {*ids, request_id})
        return 200, result


class Handler(BaseHTTPRequestHandler):
    timeout = 15

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length) if 0 < length <= LONGEST else b""
        status, answer = self.server.answer(self.headers, body)
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", default="0.0.0.0:8443", help="address and port; port 0 takes a free one")
    parser.add_argument("--certificate", required=True, help="PEM file")
    parser.add_argument("--private-key", required=True, help="PEM file")
    parser.add_argument("--clients", required=True, help="JSON file: secret, namespace, arn of each client")
    given = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(given.certificate, given.private_key)
    host, _, port = given.listen.rpartition(":")
    known = Clients(json.loads(Path(given.clients).read_text()))
    with Receiver((host, int(port)), known, os.environ["WEBHOOK_KEY"], context) as receiver:
        sys.stderr.write(f"listening at https://{host}:{receiver.server_port}/\n")
        receiver.serve_forever()
