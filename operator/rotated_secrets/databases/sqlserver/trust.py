"""Build the TLS context for the driver, which by itself verifies less than the operator needs."""

from __future__ import annotations

import ipaddress
import ssl

from cryptography import x509
from OpenSSL import SSL, crypto

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import Server, Tls, Unavailable


def context_for(server: Server) -> SSL.Context:
    """Return what a handshake has to pass. The name is checked during it, before the password is sent.

    Raises:
        Unavailable: the certificates to trust are no certificates.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    # SQL Server wraps the handshake in its own packets, in which TLS 1.3 does not end where the driver expects.
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    if server.tls.mode is TlsMode.REQUIRE and server.tls.ca_bundle is None:
        context.set_verify(SSL.VERIFY_NONE)
        return context
    _trust(context, server.tls)
    by_name = server.tls.mode is TlsMode.VERIFY_FULL

    def verify(_connection: SSL.Connection, certificate: crypto.X509, _error: int, depth: int, good: int) -> bool:
        return bool(good) and (depth > 0 or not by_name or is_for(certificate.to_cryptography(), server.host))

    context.set_verify(SSL.VERIFY_PEER, verify)
    return context


def is_for(certificate: x509.Certificate, host: str) -> bool:
    """Whether a certificate names this host, as RFC 6125 has it: by its alternative names alone."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    try:
        return ipaddress.ip_address(host) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        return any(_covers(name, host) for name in names.get_values_for_type(x509.DNSName))


def _covers(name: str, host: str) -> bool:
    """A wildcard stands for exactly the first label."""
    known, wanted = name.lower().rstrip("."), host.lower().rstrip(".")
    if known.startswith("*."):
        first, _, rest = wanted.partition(".")
        return bool(first) and "." in rest and rest == known[2:]
    return known == wanted


def _trust(context: SSL.Context, tls: Tls) -> None:
    if tls.ca_bundle is None:
        # The driver's own OpenSSL may look in folders of the machine it was built on; Python's knows this one's.
        paths = ssl.get_default_verify_paths()
        context.load_verify_locations(paths.cafile, paths.capath)
        return
    try:
        certificates = x509.load_pem_x509_certificates(tls.ca_bundle.encode())
    except ValueError:
        raise Unavailable("the CA certificates to trust are not PEM; correct them") from None
    store = context.get_cert_store()
    if store is None:
        raise Unavailable("the driver's OpenSSL has no place for the CA certificates to trust")
    for certificate in certificates:
        store.add_cert(crypto.X509.from_cryptography(certificate))
