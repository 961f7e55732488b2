"""Throw-away certificates for the API servers of the sandbox."""

from __future__ import annotations

import base64
import ipaddress
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = timedelta(days=7)
_USAGES = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


@dataclass(frozen=True)
class Certificate:
    certificate: bytes
    key: bytes

    def write(self, certificate: Path, key: Path) -> None:
        certificate.write_bytes(self.certificate)
        key.touch(mode=0o600)
        key.write_bytes(self.key)

    def server_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        with tempfile.TemporaryDirectory() as directory:
            place = Path(directory)
            self.write(place / "crt", place / "key")
            context.load_cert_chain(place / "crt", place / "key")
        return context


@dataclass(frozen=True)
class Authority:
    certificate: bytes
    _root: x509.Certificate
    _key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, name: str) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(f"{name} throw-away CA")
        builder = _builder(subject, subject, key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        root = builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())
        return cls(root.public_bytes(serialization.Encoding.PEM), root, key)

    def issue(self, name: str, addresses: Sequence[str] = (), organizations: Sequence[str] = ()) -> Certificate:
        """For a server at `addresses` (IP or host names), or a client `name` in the groups `organizations`."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name, organizations), self._root.subject, key)
        builder = builder.add_extension(x509.ExtendedKeyUsage(_USAGES), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        if addresses:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(each) for each in addresses]), critical=False
            )
        issued = builder.sign(self._key, hashes.SHA256())
        return Certificate(issued.public_bytes(serialization.Encoding.PEM), _pem(key))


def _name(common: str, organizations: Sequence[str] = ()) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(minutes=5))
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return builder.not_valid_after(now + _VALID).add_extension(identifier, critical=False)


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form, encryption = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, encryption)


def inline(client: Certificate) -> dict[str, str]:
    """The user of a kubeconfig who logs in with this certificate."""
    certificate, key = (base64.b64encode(each).decode() for each in (client.certificate, client.key))
    return {"client-certificate-data": certificate, "client-key-data": key}
