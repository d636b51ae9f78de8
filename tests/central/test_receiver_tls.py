from __future__ import annotations

import datetime as dt
import gc
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from central.link import Connection, LinkLost, Speech
from central.settings import Broker, Tls, load_settings

from .listener import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from central.ledger import Inbound
    from tests.brokers import Mosquitto

NOW = dt.datetime.now(dt.UTC)


@dataclass
class Authority:
    """A certificate authority in a folder."""

    folder: Path
    name: str

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        self._sign(self.name, self.key, ca=True)

    def issue(self, name: str) -> None:
        """Write `name.pem` and `name.key`."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._sign(name, key, ca=False)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.folder / f"{name}.key").write_bytes(secret)

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> None:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = (
            x509.CertificateBuilder(self.subject, subject, key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - dt.timedelta(days=1))
            .not_valid_after(NOW + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(here, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))


@pytest.fixture
def papers(folder: Path) -> Path:
    authority = Authority(folder, "authority")
    authority.issue("broker")
    authority.issue("centre")
    Authority(folder, "stranger").issue("impostor")
    return folder


@pytest.fixture
def strict(papers: Path, start_mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    """A broker that asks for a certificate of its own authority."""
    return start_mosquitto(
        f"cafile {papers}/authority.pem",
        f"certfile {papers}/broker.pem",
        f"keyfile {papers}/broker.key",
        "require_certificate true",
    )


def link_by(folder: Path, broker: Mosquitto, tls: str, heard: list[Inbound]) -> Connection:
    text = f'[broker]\nhost = "{broker.host}"\nport = {broker.port}\n{tls}'
    (folder / "central.toml").write_text(text)
    return Connection(load_settings(folder).broker, "clinical", Speech.V5, heard.append)


def test_centre_speaks_over_mutual_tls_with_paths_relative_to_its_folder(
    papers: Path, strict: Mosquitto
) -> None:
    tls = '[broker.tls]\nca = "authority.pem"\ncert = "centre.pem"\nkey = "centre.key"\n'
    heard: list[Inbound] = []
    link = link_by(papers, strict, tls, heard)
    link.open()
    link.publish("qafila/v1/azilal-03/up/hello", b"x")
    wait_until(lambda: heard, "the message")
    link.close()


# paho leaves the socket of a failed handshake to the collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize(
    "tls",
    [
        "",
        '[broker.tls]\nca = "stranger.pem"\n',
        '[broker.tls]\nca = "authority.pem"\n',
        '[broker.tls]\nca = "authority.pem"\ncert = "impostor.pem"\nkey = "impostor.key"\n',
    ],
)
def test_link_without_trust_on_both_sides_never_stands(
    tls: str, papers: Path, strict: Mosquitto
) -> None:
    link = link_by(papers, strict, tls, [])
    with pytest.raises(LinkLost):
        link.open()
    assert not link.standing
    link.close()
    del link
    gc.collect()


def test_certificate_files_that_can_not_be_used_are_said_in_words(papers: Path) -> None:
    tls = Tls(str(papers / "central.toml"))
    (papers / "central.toml").write_text("no certificate")
    with pytest.raises(LinkLost, match=r"broker\.tls"):
        Connection(Broker("127.0.0.1", 1, tls), "clinical", Speech.V5, lambda _: None)
