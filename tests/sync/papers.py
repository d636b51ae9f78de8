"""Certificates for a broker and a unit, of an authority in a folder."""

from __future__ import annotations

import datetime as dt
import ipaddress
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

    from sync.trust import Certificates


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Authority:
    """Signs what is called `name` as `<name>.pem` and `<name>.key`."""

    def __init__(self, folder: Path, name: str, begins: int = -9) -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._write(name, self._key, ca=True, days=(begins, begins + 700))

    def issue(self, name: str, days: int = 1, begins: int = -9) -> None:
        """`days` are those until it ends, `begins` those until it begins; negative: in the past."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._write(name, key, ca=False, days=(begins, days))

    def papers(self, name: str) -> Certificates:
        from sync.trust import Certificates as Papers  # noqa: PLC0415

        return Papers(
            self._folder / f"{self._name}.pem",
            self._folder / f"{name}.pem",
            self._folder / f"{name}.key",
        )

    def _write(
        self, name: str, key: ec.EllipticCurvePrivateKey, *, ca: bool, days: tuple[int, int]
    ) -> None:
        now = dt.datetime.now(dt.UTC)
        here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = (
            x509.CertificateBuilder(_name(self._name), _name(name), key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + dt.timedelta(days=days[0]))
            .not_valid_after(now + dt.timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(here, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        (self._folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self._folder / f"{name}.key").write_bytes(secret)
