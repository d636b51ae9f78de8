"""TLS with a broker, also where the computer's clock has fallen behind.

A clock that shows less than the latest time known for certain is wrong. Then OpenSSL verifies all
but the dates (chain, name, purpose), and the dates of the chain that it has verified are held
against that latest time. An expired certificate is refused in either case.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography import x509

if TYPE_CHECKING:
    from pathlib import Path

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME (x509_vfy.h); Python has no name for it."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """Mutual TLS: the authority that is trusted, and the unit's own certificate and key.

    `known` is the latest time that is known to have passed, None where none is.
    """

    authority: Path
    certificate: Path
    key: Path
    known: datetime | None = None


class CertificateOutOfDate(ssl.SSLError):
    """A certificate of the broker is not valid at the latest time that is known."""


def context(certificates: Certificates, now: datetime | None = None) -> ssl.SSLContext:
    """The context for one connection; OSError where a file can't be used."""
    made = ssl.create_default_context(cafile=str(certificates.authority))
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.load_cert_chain(certificates.certificate, certificates.key)
    known = certificates.known
    if known is not None and (now or datetime.now(UTC)) < known:
        made.verify_flags = ssl.VerifyFlags(made.verify_flags | _NO_CHECK_TIME)
        made.sslsocket_class = _at(known)
    return made


def _at(known: datetime) -> type[ssl.SSLSocket]:
    class Socket(ssl.SSLSocket):
        """Refuses a chain of which a certificate is out of date at `known`."""

        def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - ssl's own
            super().do_handshake(block)
            try:
                for each in _verified_chain(self):
                    _check(each, known)
            except CertificateOutOfDate:
                self.close()
                raise

    return Socket


def _verified_chain(connection: ssl.SSLSocket) -> list[bytes]:
    """The chain that OpenSSL has verified, in DER; public since Python 3.13 only."""
    public = getattr(connection, "get_verified_chain", None)
    if public is not None:
        return [bytes(each) for each in public()]
    inner: Any = connection._sslobj  # type: ignore[attr-defined]  # noqa: SLF001
    return [each.public_bytes(_DER) for each in inner.get_verified_chain()]


_DER = 2
"""ENCODING_DER of `_ssl`."""


def _check(der: bytes, known: datetime) -> None:
    certificate = x509.load_der_x509_certificate(der)
    if not certificate.not_valid_before_utc <= known <= certificate.not_valid_after_utc:
        raise CertificateOutOfDate("not valid at the latest time that this computer knows")
