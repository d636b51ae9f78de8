"""One MQTT connection as a `Link`; with `wire.py` the unit's only files that import paho.

paho's thread does nothing but hand events to the loop. Each session is a new client that never
reconnects by itself, so no state of an old link can leak into a new one, and paho never holds a
message that we could not send again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion

from sync.contract.receipt import RECEIPT_MAX
from sync.outbox import Inbound, LinkLost, LinkRefused, TakenOver
from sync.trust import Certificates, context
from sync.wire import Wire

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

    from paho.mqtt.client import Client, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

CONNECT_TIMEOUT = 20.0
PUBACK_TIMEOUT = 60.0
"""Seconds until a broker that lives but acknowledges nothing is given up."""
_GOODBYE = 2.0
_IN_FLIGHT = 20
_PACKET_MAX = 1 << 20
"""What a broker that says nothing of its maximum packet size is taken to accept."""
_TOPIC_ROOM = 256
_INBOUND_MAX = 256
"""Messages kept while the store is busy; the newest of a lane's receipts says it all."""
_REFUSES_V5 = "Unsupported protocol version"
_FAILURE = 0x80
_TAKEN_OVER = 0x8E
"""MQTT 5, 3.14.2.1: another connection under the same client id; 3.1.1 has no word for it."""


@dataclass(frozen=True, slots=True)
class Will:
    """The retained last will of this session."""

    channel: str
    payload: bytes


@dataclass(slots=True)
class Broker:
    """Where the broker is, and which version of MQTT it is spoken to in next.

    MQTT 5; 3.1.1 once where MQTT 5 was met with silence, for good where it was refused in words.
    """

    host: str
    port: int
    client_id: str
    root: str
    certificates: Certificates | None = None
    keepalive: int = 30
    version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5
    refuses_v5: bool = False


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
        self._inbound: deque[Inbound] = deque(maxlen=_INBOUND_MAX)
        self._arrival: asyncio.Future[None] = self._loop.create_future()
        self._up: asyncio.Future[None] = self._loop.create_future()
        self._down: asyncio.Future[LinkLost] = self._loop.create_future()
        self._acknowledged: dict[int, asyncio.Future[None]] = {}
        self._ended = asyncio.Event()
        self._answered = False
        self._room = asyncio.Semaphore(_IN_FLIGHT)
        self._wire = self._make_wire()
        self.room = _IN_FLIGHT
        self.packet_max = _PACKET_MAX - _TOPIC_ROOM

    async def open(self) -> None:
        """Stand, subscribed to everything below `down/`, or raise."""
        self._wire.loop_start()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._either(self._up)
        except TimeoutError:
            raise LinkLost("the broker does not answer") from None

    async def publish(self, channel: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand over at QoS 1 and wait for the PUBACK, which proves nothing but room."""
        if len(payload) > self.packet_max:
            raise LinkRefused(f"the broker takes at most {self.packet_max} bytes at once: too few")
        async with self._room:
            if self._down.done():
                raise self._end()
            info = self._wire.publish(self._topic(channel), payload, qos=1, retain=retain)
            if info.rc is not MQTTErrorCode.MQTT_ERR_SUCCESS:
                raise LinkLost("the link was lost while sending")
            await self._acknowledgement(info.mid)

    async def receive(self) -> Inbound:
        """Wait for the next message below `down/`."""
        if not self._inbound:
            arrival = self._arrival = self._loop.create_future()
            await self._either(arrival)
        return self._inbound.popleft()

    async def close(self) -> None:
        """Say goodbye where the link still stands, and wait for paho's thread to end.

        A thread that is inside DNS or a TLS handshake can't be reached: it ends by itself.
        """
        self._wire.unwanted = True
        if self._up.done() and not self._down.done():
            self._wire.publish(self._topic(self._will.channel), self._will.payload, 1, retain=True)
            self._wire.disconnect()
            await self._wait_for_end()
        self._wire.cut()
        await self._wait_for_end()
        self._choose_version()
        # paho and this link refer to each other: let its descriptors go now, not some day.
        del self._wire

    async def _wait_for_end(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                await self._ended.wait()

    def _choose_version(self) -> None:
        """An old broker may refuse MQTT 5 in words, or fall silent, or close the socket."""
        broker, v5 = self._broker, MQTTProtocolVersion.MQTTv5
        if self._wire.reached and not self._answered:
            mute_in_v5 = broker.version is v5
            broker.version = MQTTProtocolVersion.MQTTv311 if mute_in_v5 else v5
        elif not broker.refuses_v5:
            broker.version = v5

    def _make_wire(self) -> Wire:
        broker = self._broker
        wire = Wire(broker.host, broker.port, broker.client_id, broker.version, broker.keepalive)
        wire.will_set(self._topic(self._will.channel), self._will.payload, qos=1, retain=True)
        if broker.certificates:
            wire.tls_set_context(_tls(broker.certificates))
        wire.on_connect = self._on_connect
        wire.on_disconnect = self._on_disconnect
        wire.on_subscribe = self._on_subscribe
        wire.on_publish = self._on_publish
        wire.on_message = self._on_message
        wire.on_end = self._on_end
        return wire

    # paho's callbacks run in its thread and only hand over.

    def _on_connect(
        self, client: Client, _u: object, _f: object, code: ReasonCode, props: Properties | None
    ) -> None:
        if code.is_failure:
            self._tell(self._refuse, str(code))
            return
        self._tell(self._adopt, props)
        client.subscribe(self._topic("down/#"), qos=1)

    def _on_subscribe(
        self, _c: Client, _u: object, _mid: int, codes: list[ReasonCode], _p: object
    ) -> None:
        refused = any(code.value >= _FAILURE for code in codes)
        words = "the broker refuses the subscription to this unit's topics"
        self._tell(self._fail, LinkRefused(words)) if refused else self._tell(self._stand)

    def _on_publish(self, _c: Client, _u: object, mid: int, code: ReasonCode, _p: object) -> None:
        self._tell(self._acknowledge, mid, code.value)

    def _on_message(self, _c: Client, _u: object, message: MQTTMessage) -> None:
        if len(message.payload) > 2 * RECEIPT_MAX:
            return
        channel = message.topic.removeprefix(self._topic(""))
        inbound = Inbound(channel, bytes(message.payload), retained=message.retain)
        self._tell(self._deliver, inbound)

    def _on_disconnect(
        self, _c: Client, _u: object, _f: object, code: ReasonCode, _p: object
    ) -> None:
        if code.value == _TAKEN_OVER:
            self._tell(
                self._fail, TakenOver(f"another computer connected as {self._broker.client_id}")
            )
        self._tell(self._lose, str(code))

    def _on_end(self, end: LinkLost) -> None:
        self._tell(self._fail, end)
        self._tell(self._ended.set)

    def _tell(self, call: Callable[..., object], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(call, *args)

    # The rest runs in the loop.

    def _topic(self, channel: str) -> str:
        return f"{self._broker.root}/{channel}"

    def _deliver(self, inbound: Inbound) -> None:
        self._inbound.append(inbound)
        if not self._arrival.done():
            self._arrival.set_result(None)

    def _stand(self) -> None:
        if not self._up.done():
            self._up.set_result(None)

    def _adopt(self, props: Properties | None) -> None:
        self._answered = True
        packet = getattr(props, "MaximumPacketSize", _PACKET_MAX)
        self.packet_max = min(packet, _PACKET_MAX) - _TOPIC_ROOM
        self.room = min(_IN_FLIGHT, getattr(props, "ReceiveMaximum", _IN_FLIGHT))
        self._room = asyncio.Semaphore(self.room)

    def _refuse(self, reason: str) -> None:
        self._answered = True
        if reason == _REFUSES_V5:
            self._broker.refuses_v5 = True
            self._broker.version = MQTTProtocolVersion.MQTTv311
        self._fail(LinkRefused(f"the broker refuses this unit: {reason}"))

    def _lose(self, reason: str) -> None:
        if self._answered:
            self._fail(LinkLost(f"the link was lost: {reason}"))
            return
        words = "the broker ended the connection before it answered"
        why = ": it may not accept this unit's certificate" if self._broker.certificates else ""
        self._fail(LinkLost(words + why))

    def _fail(self, end: LinkLost) -> None:
        if not self._down.done():
            self._down.set_result(end)

    def _end(self) -> LinkLost:
        """The end in words, new for each who hears it: a raised exception keeps its traceback."""
        end = self._down.result()
        return type(end)(*end.args)

    async def _acknowledgement(self, mid: int) -> None:
        future = self._acknowledged[mid] = self._loop.create_future()
        try:
            async with asyncio.timeout(PUBACK_TIMEOUT):
                await self._either(future)
        except TimeoutError:
            raise LinkLost("the broker has stopped acknowledging") from None
        finally:
            del self._acknowledged[mid]

    def _acknowledge(self, mid: int, code: int) -> None:
        future = self._acknowledged.get(mid)
        if future is None or future.done():
            return
        if code >= _FAILURE:
            words = "the broker refuses what this unit publishes: its access list forbids it"
            future.set_exception(LinkRefused(words))
        else:
            future.set_result(None)

    async def _either(self, wanted: asyncio.Future[None]) -> None:
        """Wait for what is wanted, or raise how the link ended."""
        either: set[asyncio.Future[Any]] = {wanted, self._down}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not wanted.done():
            raise self._end()
        wanted.result()


def _tls(certificates: Certificates) -> ssl.SSLContext:
    try:
        return context(certificates)
    except OSError as error:
        why = error.strerror or "they are no certificates and key in PEM"
        raise LinkRefused(f"the certificate files can't be used: {why}") from None
