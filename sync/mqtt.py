"""One MQTT connection as a `Link`; the only file of the unit's side that imports paho.

paho's thread does nothing but hand events to the loop. Each session is a new client that never
reconnects by itself, so no state of an old link can leak into a new one, and paho never holds a
message that we could not send again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from sync.outbox import Inbound, LinkLost, LinkRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

CONNECT_TIMEOUT = 20.0
_GOODBYE = 2.0
_IN_FLIGHT = 20
_PACKET_MAX = 1 << 20
"""What a broker that says nothing of its maximum packet size is taken to accept."""
_TOPIC_ROOM = 256
_V3_REFUSES_V5 = {"Unsupported protocol version"}
_FAILURE = 0x80


@dataclass(frozen=True, slots=True)
class Certificates:
    """Mutual TLS: the authority that is trusted, and the unit's own certificate and key."""

    authority: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Will:
    """The retained last will of this session."""

    channel: str
    payload: bytes


@dataclass(slots=True)
class Broker:
    """Where the broker is, and which version of MQTT it was last seen to speak."""

    host: str
    port: int
    client_id: str
    root: str
    certificates: Certificates | None = None
    keepalive: int = 30
    version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5


@contextlib.asynccontextmanager
async def connect(broker: Broker, birth: Will, will: Will) -> AsyncIterator[MqttLink]:
    """Connect, subscribe and announce; disconnect cleanly at the end. LinkLost, LinkRefused."""
    link = MqttLink(broker, will)
    try:
        await link.open()
        await link.publish(birth.channel, birth.payload, retain=True)
        yield link
    finally:
        await link.close()


class MqttLink:
    """A connection that stands, or has ended; it never stands again."""

    def __init__(self, broker: Broker, will: Will) -> None:
        self._broker = broker
        self._will = will
        self._loop = asyncio.get_running_loop()
        self._inbound: deque[Inbound] = deque()
        self._arrival: asyncio.Future[None] = self._loop.create_future()
        self._up: asyncio.Future[None] = self._loop.create_future()
        self._down: asyncio.Future[None] = self._loop.create_future()
        self._acknowledged: dict[int, asyncio.Future[None]] = {}
        self._early: dict[int, int] = {}
        self._ended = asyncio.Event()
        self._room = asyncio.Semaphore(_IN_FLIGHT)
        self._client = self._make_client()
        self._thread = threading.Thread(target=self._pump, name="mqtt", daemon=True)
        self.packet_max = _PACKET_MAX - _TOPIC_ROOM

    async def open(self) -> None:
        """Stand, subscribed to everything below `down/`, or raise."""
        self._thread.start()
        try:
            await asyncio.wait_for(asyncio.shield(self._either(self._up)), CONNECT_TIMEOUT)
        except TimeoutError:
            raise LinkLost("the broker does not answer") from None

    async def publish(self, channel: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand over at QoS 1 and wait for the PUBACK, which proves nothing but room."""
        async with self._room:
            if self._down.done():
                raise self._end()
            topic = f"{self._broker.root}/{channel}"
            info = self._client.publish(topic, payload, qos=1, retain=retain)
            if info.rc is not MQTTErrorCode.MQTT_ERR_SUCCESS:
                raise LinkLost("the link was lost while sending")
            await self._either(self._expect(info.mid))

    async def receive(self) -> Inbound:
        """Wait for the next message below `down/`."""
        if not self._inbound:
            arrival = self._arrival = self._loop.create_future()
            await self._either(arrival)
        return self._inbound.popleft()

    async def close(self) -> None:
        """Say goodbye where the link still stands, and wait for paho's thread to end."""
        if self._up.done() and not self._down.done():
            self._client.disconnect()
        closing = self._loop.call_later(_GOODBYE, self._abort)
        if self._thread.is_alive():
            await self._ended.wait()
        closing.cancel()
        for future in (self._up, self._down):
            if future.done() and not future.cancelled():
                future.exception()

    def _abort(self) -> None:
        """Let a socket that swallows everything not hold up the next attempt."""
        wire = self._client.socket()
        if wire is not None and self._thread.is_alive():
            with contextlib.suppress(OSError):
                wire.close()

    def _make_client(self) -> Client:
        v5 = self._broker.version is MQTTProtocolVersion.MQTTv5
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._broker.client_id,
            clean_session=None if v5 else True,
            protocol=self._broker.version,
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(_IN_FLIGHT)
        client.connect_timeout = CONNECT_TIMEOUT / 2
        root = self._broker.root
        client.will_set(f"{root}/{self._will.channel}", self._will.payload, qos=1, retain=True)
        if self._broker.certificates:
            client.tls_set_context(_tls(self._broker.certificates))
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        return client

    def _pump(self) -> None:
        """Run paho's network loop until the connection ends, whatever it ends with."""
        end: LinkLost = LinkLost("the link was lost")
        try:
            self._client.connect(self._broker.host, self._broker.port, self._broker.keepalive)
            self._client.loop_forever()
        except ssl.SSLError as error:
            end = LinkRefused(f"TLS with the broker failed: {error.reason or 'no reason given'}")
        except (OSError, ValueError) as error:
            end = LinkLost(f"the broker can't be reached: {_words(error)}")
        finally:
            self._tell(self._fail, end)
            self._tell(self._ended.set)

    # paho's callbacks run in its thread and only hand over.

    def _on_connect(
        self, client: Client, _u: object, _f: object, code: ReasonCode, props: Properties | None
    ) -> None:
        if code.is_failure:
            self._tell(self._refuse, str(code))
            return
        self._tell(self._adopt, props)
        client.subscribe(f"{self._broker.root}/down/#", qos=1)

    def _on_subscribe(
        self, _c: Client, _u: object, _mid: int, codes: list[ReasonCode], _p: object
    ) -> None:
        refused = any(code.value >= _FAILURE for code in codes)
        words = "the broker refuses the subscription to this unit's topics"
        self._tell(self._fail, LinkRefused(words)) if refused else self._tell(self._stand)

    def _on_publish(self, _c: Client, _u: object, mid: int, code: ReasonCode, _p: object) -> None:
        self._tell(self._acknowledge, mid, code.value)

    def _on_message(self, _c: Client, _u: object, message: MQTTMessage) -> None:
        channel = message.topic.removeprefix(f"{self._broker.root}/")
        inbound = Inbound(channel, bytes(message.payload), retained=message.retain)
        self._tell(self._deliver, inbound)

    def _on_disconnect(
        self, _c: Client, _u: object, _f: object, code: ReasonCode, _p: object
    ) -> None:
        self._tell(self._fail, LinkLost(f"the link was lost: {code}"))

    def _tell(self, call: Callable[..., object], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(call, *args)

    # The rest runs in the loop.

    def _deliver(self, inbound: Inbound) -> None:
        self._inbound.append(inbound)
        if not self._arrival.done():
            self._arrival.set_result(None)

    def _stand(self) -> None:
        if not self._up.done():
            self._up.set_result(None)

    def _adopt(self, props: Properties | None) -> None:
        packet = getattr(props, "MaximumPacketSize", _PACKET_MAX)
        self.packet_max = min(packet, _PACKET_MAX) - _TOPIC_ROOM
        room = min(_IN_FLIGHT, getattr(props, "ReceiveMaximum", _IN_FLIGHT))
        self._room = asyncio.Semaphore(room)

    def _refuse(self, reason: str) -> None:
        v5 = self._broker.version is MQTTProtocolVersion.MQTTv5
        if reason in _V3_REFUSES_V5 and v5:
            self._broker.version = MQTTProtocolVersion.MQTTv311
        self._fail(LinkRefused(f"the broker refuses this unit: {reason}"))

    def _fail(self, end: LinkLost) -> None:
        if not self._down.done():
            self._down.set_exception(end)

    def _end(self) -> LinkLost:
        error = self._down.exception()
        return error if isinstance(error, LinkLost) else LinkLost("the link was lost")

    def _expect(self, mid: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        if mid in self._early:  # a PUBACK may overtake the return of publish()
            _conclude(future, self._early.pop(mid))
        else:
            self._acknowledged[mid] = future
        return future

    def _acknowledge(self, mid: int, code: int) -> None:
        future = self._acknowledged.pop(mid, None)
        if future is None:
            self._early[mid] = code
        elif not future.done():
            _conclude(future, code)

    async def _either(self, wanted: asyncio.Future[None]) -> None:
        await asyncio.wait({wanted, self._down}, return_when=asyncio.FIRST_COMPLETED)
        if not wanted.done():
            raise self._end()
        wanted.result()


def _conclude(future: asyncio.Future[None], code: int) -> None:
    if code >= _FAILURE:
        words = "the broker refuses what this unit publishes: its access list does not allow it"
        future.set_exception(LinkRefused(words))
    else:
        future.set_result(None)


def _tls(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates.authority))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificates.certificate, certificates.key)
    return context


def _words(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or "no reason"
