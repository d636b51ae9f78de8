"""One connection to the broker: it stands, or it has ended and never stands again."""

from __future__ import annotations

import ssl
import threading
import uuid
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from central.errors import CentreError
from central.ledger import Inbound
from sync.contract.topics import ROOTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.client import MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

    from central.settings import Broker, Tls

CONNECT_TIMEOUT = 10.0
STAND_TIMEOUT = 20.0
KEEPALIVE = 30
_FAILURE = 0x80
_UNSUPPORTED_VERSION = "Unsupported protocol version"


class Speech(Enum):
    """Which MQTT the broker is spoken to in; it is asked in 5 first."""

    V5 = auto()
    V311 = auto()


class LinkLost(CentreError):  # noqa: N818 - a state of the world, not a mistake
    """The broker can't be reached, refuses, or has gone; the text is for people.

    `mute` is True where something listened and never answered in this version of MQTT.
    """

    def __init__(self, text: str, *, mute: bool = False) -> None:
        super().__init__(text)
        self.mute = mute


class _Wire(Client):
    """paho, telling when its thread ends, whatever it ended with."""

    ended: Callable[[str], None]

    def loop_forever(
        self,
        timeout: float = 1.0,
        retry_first_connection: bool = False,  # noqa: FBT001, FBT002
    ) -> MQTTErrorCode:
        reason = "the link was lost"
        try:
            return super().loop_forever(timeout, retry_first_connection)
        except Exception as error:  # noqa: BLE001 - bytes that paho can't read end a link only
            reason = f"the broker can't be understood ({type(error).__name__})"
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        finally:
            self.ended(reason)


class Connection:
    """Subscribes to all units of one origin; `deliver` gets each message, in paho's thread."""

    def __init__(
        self, broker: Broker, origin: str, speech: Speech, deliver: Callable[[Inbound], None]
    ) -> None:
        self._broker = broker
        self._filter = f"{ROOTS[origin]}/+/up/#"
        self._v5 = speech is Speech.V5
        self._deliver = deliver
        self._news = threading.Condition()
        self._answered = False
        self._standing = False
        self._end: LinkLost | None = None
        self._client = self._make_client()

    @property
    def standing(self) -> bool:
        """Whether the link is connected and subscribed now."""
        return self._standing

    def open(self) -> None:
        """Return once subscribed; LinkLost where that can't be."""
        # No MQTT 5 properties: a broker of 3.1.1 would read them as a client id, and fall silent.
        try:
            self._client.connect(self._broker.host, self._broker.port, KEEPALIVE)
        except (OSError, ValueError) as error:
            words = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise LinkLost(f"the broker can't be reached: {words}") from None
        self._client.loop_start()
        with self._news:
            self._news.wait_for(lambda: self._standing or self._end is not None, STAND_TIMEOUT)
            if not self._standing:
                raise self._end or LinkLost("the broker does not answer", mute=True)

    def wait(self) -> LinkLost:
        """Wait until the link has ended; give why."""
        with self._news:
            self._news.wait_for(lambda: self._end is not None)
            return self._end or LinkLost("the link was lost")

    def publish(self, topic: str, payload: bytes) -> bool:
        """Send at QoS 1, never retained; False where the link does not stand."""
        if not self._standing:
            return False
        sent = self._client.publish(topic, payload, qos=1, retain=False)
        return sent.rc is MQTTErrorCode.MQTT_ERR_SUCCESS

    def end(self, reason: str) -> None:
        """Declare the link ended; whoever waits for it wakes."""
        with self._news:
            self._standing = False
            if self._end is None:
                self._end = LinkLost(reason, mute=not self._answered)
            self._news.notify_all()

    def close(self) -> None:
        """Say goodbye where that is still possible, and end paho's thread."""
        self.end("the link was closed")
        self._client.disconnect()
        self._client.loop_stop()

    def _make_client(self) -> Client:
        client = _Wire(
            CallbackAPIVersion.VERSION2,
            client_id=f"qafila-central-{uuid.uuid4().hex[:12]}",
            clean_session=None if self._v5 else True,
            protocol=MQTTProtocolVersion.MQTTv5 if self._v5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        client.suppress_exceptions = True
        client.connect_timeout = CONNECT_TIMEOUT
        if self._broker.tls:
            client.tls_set_context(_context(self._broker.tls))
        client.ended = self.end
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    # paho's callbacks run in its thread.

    def _on_connect(self, client: Client, _u: Any, _f: Any, code: ReasonCode, _p: Any) -> None:
        # A broker of MQTT 3.1.1 may refuse in words that paho reads as MQTT 5.
        self._answered = str(code) != _UNSUPPORTED_VERSION
        if code.is_failure:
            self.end(f"the broker refuses this centre: {code}")
        else:
            client.subscribe(self._filter, qos=1)

    def _on_subscribe(
        self, _c: Client, _u: Any, _mid: int, codes: list[ReasonCode], _p: Any
    ) -> None:
        if any(code.value >= _FAILURE for code in codes):
            self.end("the broker refuses the subscription: allow it in the broker's access list")
            return
        with self._news:
            self._standing = self._end is None
            self._news.notify_all()

    def _on_disconnect(self, _c: Client, _u: Any, _f: Any, code: ReasonCode, _p: Any) -> None:
        self.end(f"the link was lost: {code}")

    def _on_message(self, _c: Client, _u: Any, message: MQTTMessage) -> None:
        self._deliver(Inbound(message.topic, bytes(message.payload), retained=message.retain))


def _context(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key)
    except OSError as error:
        words = error.strerror or "they are no certificates and key in PEM"
        raise LinkLost(f"the files of [broker.tls] can't be used: {words}") from None
    return context
