"""The platform's side on this machine: an authority, a broker with mutual TLS, the centre."""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from central import report
from tests.brokers import HOST, Mosquitto, free_port
from tests.vm.image import LINK
from tests.vm.place import ROOT

if TYPE_CHECKING:
    from pathlib import Path

BROKER = f"{LINK}.2"
_LONG_AGO = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_VALID = dt.timedelta(days=3650)


def found_authority(folder: Path) -> None:
    """Make the centre's authority, and the broker's certificate for the address it has here."""
    key = _new_key(folder / "ca.key")
    _certify(folder / "ca.crt", "Authority", key.public_key(), key, ca=True)
    broker = _new_key(folder / "broker.key")
    _certify(folder / "broker.crt", BROKER, broker.public_key(), key, ca=False)


def sign(folder: Path, request: bytes) -> bytes:
    """Sign a unit's request, as the page of installation asks of the centre's authority."""
    asked = x509.load_pem_x509_csr(request)
    (name,) = asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    key = load_pem_private_key((folder / "ca.key").read_bytes(), None)
    public = asked.public_key()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    target = folder / "unit.crt"
    _certify(target, str(name.value), public, key, ca=False)
    return target.read_bytes()


def _new_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key


def _certify(
    path: Path,
    name: str,
    public: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
) -> None:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(BROKER))])
    made = (
        x509.CertificateBuilder(issuer, subject, public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_LONG_AGO)
        .not_valid_after(_LONG_AGO + _VALID)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(address, critical=False)
        .sign(signer, hashes.SHA256())
    )
    path.write_bytes(made.public_bytes(Encoding.PEM))


def central(*words: str) -> None:
    """Run a command of the centre to its end."""
    subprocess.run(_words(*words), env=_environment(), check=True, capture_output=True)


def _words(*words: str) -> list[str]:
    return [sys.executable, "-m", "central", *words]


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


class Centre:
    """A broker and a centre that run. `papers` is the folder of the authority."""

    def __init__(self, folder: Path, papers: Path, state: Path) -> None:
        self.folder = state
        self.port = free_port()
        self._logs = folder
        self._running = ExitStack()
        self.broker = Mosquitto(
            folder,
            (
                f"listener {self.port} {HOST}",
                f"cafile {papers / 'ca.crt'}",
                f"certfile {papers / 'broker.crt'}",
                f"keyfile {papers / 'broker.key'}",
                "require_certificate true",
                "use_identity_as_username true",
            ),
        )

    def __enter__(self) -> Self:
        self.broker.start()
        self._running.callback(self.broker.stop)
        settings = self.folder / "central.toml"
        settings.write_text(f'[broker]\nhost = "{HOST}"\nport = {self.broker.port}\n')
        log = self._running.enter_context((self._logs / "central.log").open("ab"))
        process = subprocess.Popen(
            _words("run", str(self.folder)),
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        self._running.callback(process.wait, 30)
        self._running.callback(process.terminate)
        assert process.stdout is not None
        self._running.callback(process.stdout.close)
        assert b"ready" in process.stdout.readline(), "the centre did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def readings(self, device: str | None = None) -> Counter[str]:
        """How often the centre holds each frame (SHA-256 of its bytes), of one device or of all.

        Read from the lines themselves; no counter of the program is trusted.
        """
        return Counter(each["raw"]["sha256"] for each in self.lines(device))

    def records(self) -> set[str]:
        """The id of every record."""
        return {record for _, record, _ in report.lines(self.folder)}

    def lines(self, device: str | None = None) -> list[dict[str, Any]]:
        """What the centre was told of readings, in order of arrival."""
        every = (json.loads(line) for _, _, line in report.lines(self.folder))
        return [
            each
            for each in every
            if (of := each["context"].get("device")) is not None
            and device in {None, of["name"]}
            and each["raw"] is not None
        ]

    def doubled(self) -> int:
        """How many records the centre has taken twice."""
        taken = sum(lane.taken for unit in report.status(self.folder).units for lane in unit.lanes)
        return taken - sum(unit.records for unit in report.status(self.folder).units)

    def pictures(self) -> dict[str, bytes]:
        """Every complete object that a record refers to, by the hash its bytes really have."""
        found = {}
        for _, pieces in report.attachments(self.folder):
            content = b"".join(pieces)
            found[hashlib.sha256(content).hexdigest()] = content
        return found
