"""paho, connecting in its own thread, and telling when that ends, whatever it ended with."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from sync.outbox import LinkLost, LinkRefused
from sync.trust import CertificateOutOfDate

if TYPE_CHECKING:
    from collections.abc import Callable

_NOT_YET_VALID = 9
"""X509_V_ERR_CERT_NOT_YET_VALID (x509_vfy.h)."""
CONNECT_TIMEOUT = 10.0
"""Seconds for the TCP connection, and again for the TLS handshake."""


class Wire(Client):
    """One connection and its thread; `on_end` is called in that thread, last of all.

    `reached` turns True once the broker's port (and TLS) stood. A wire that is `unwanted` by
    then ends at once. paho must know its thread: publishing would else write to the socket from
    the caller's, beside that one and in the middle of its packets.
    """

    def __init__(
        self, host: str, port: int, client_id: str, version: MQTTProtocolVersion, keepalive: int
    ) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if version is MQTTProtocolVersion.MQTTv5 else True,
            protocol=version,
            reconnect_on_failure=False,
        )
        # The link counts what is in flight; paho holds nothing back behind it.
        self.max_inflight_messages_set(0)
        self.connect_timeout = CONNECT_TIMEOUT
        self._place = (host, port, keepalive)
        self.on_end: Callable[[LinkLost], None] | None = None
        self.reached = False
        self.unwanted = False

    def loop_forever(
        self,
        timeout: float = 1.0,
        retry_first_connection: bool = False,  # noqa: ARG002, FBT001, FBT002 - paho's signature
    ) -> MQTTErrorCode:
        """Connect and serve until the connection ends; never raises."""
        end = LinkLost("the link was lost")
        try:
            self.connect(*self._place)
            self.reached = True
            if not self.unwanted:
                super().loop_forever(timeout)
        except Exception as error:  # noqa: BLE001 - whatever it is, the loop must hear of the end
            end = _end(error, self._place[0])
        finally:
            if self.on_end:
                self.on_end(end)
        return MQTTErrorCode.MQTT_ERR_CONN_LOST

    def cut(self) -> None:
        """End a connection that swallows everything; paho's thread wakes by it."""
        wire = self.socket()
        if isinstance(wire, socket.socket):
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)


def _end(error: Exception, host: str) -> LinkLost:
    """What a person should read; LinkRefused where trying again won't help by itself."""
    if isinstance(error, ssl.SSLError):
        return LinkRefused(_refused(error))
    if isinstance(error, socket.gaierror):
        return LinkLost(f"the name {host} is not found: no network, or a wrong name")
    if isinstance(error, OSError):
        return LinkLost(f"the broker can't be reached: {error.strerror or error or 'no reason'}")
    return LinkLost(f"the broker can't be understood ({type(error).__name__})")


def _refused(error: ssl.SSLError) -> str:
    if isinstance(error, CertificateOutOfDate):
        return f"the broker's certificate is {error}: this computer's clock is behind as well"
    if not isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS with the broker failed: {error.reason or 'no reason given'}"
    if error.verify_code == _NOT_YET_VALID:
        return (
            "the broker's certificate is not valid yet: this computer's clock is behind; set it "
            "(timedatectl), or wait for a time server"
        )
    return f"the broker's certificate is not accepted: {error.verify_message}"
