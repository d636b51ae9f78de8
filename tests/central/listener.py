"""A unit's end of the wire, and a receiver to speak to, for tests with a real broker."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from central.receiver import Receiver
from central.settings import Broker
from sync.contract.envelope import key_id
from sync.contract.receipt import Receipt, decode_receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from paho.mqtt.client import MQTTMessage

    from central.ledger import Inbound, Ledger

CEILING = 60.0


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + CEILING
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)


@dataclass(frozen=True)
class Heard:
    receipt: Receipt
    topic: str
    qos: int
    retained: bool


class Listener:
    """Publishes a unit's messages and hears every receipt on the broker."""

    def __init__(self, host: str, port: int, centre: Ed25519PrivateKey, *, v5: bool = True) -> None:
        public = centre.public_key()
        self._keys = {key_id(public): public}
        self.heard: list[Heard] = []
        self._subscribed = threading.Event()
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            protocol=MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311,
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_disconnect = lambda *_: self._subscribed.clear()
        self._client.on_message = self._on_message
        self._client.connect(host, port)
        self._client.loop_start()
        self.await_broker()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def await_broker(self) -> None:
        assert self._subscribed.wait(CEILING)

    def say(self, message: Inbound, *, retain: bool = False) -> None:
        info = self._client.publish(message.topic, message.payload, qos=1, retain=retain)
        info.wait_for_publish(CEILING)

    def receipts(self) -> list[Receipt]:
        return [each.receipt for each in self.heard]

    def hear(self, wanted: Callable[[Receipt], bool], what: str) -> Receipt:
        wait_until(lambda: any(map(wanted, self.receipts())), what)
        return next(each for each in self.receipts() if wanted(each))

    def _on_connect(self, client: Client, *_: Any) -> None:
        client.subscribe("+/+/+/down/receipt", qos=1)

    def _on_message(self, _c: Client, _u: object, message: MQTTMessage) -> None:
        receipt = decode_receipt(bytes(message.payload), self._keys.get)
        self.heard.append(Heard(receipt, message.topic, message.qos, message.retain))


@dataclass
class Running:
    """A receiver in a thread of this process."""

    receiver: Receiver
    ready: threading.Event

    def standing(self) -> bool:
        link = self.receiver._link
        return link is not None and link.standing

    def await_standing(self) -> None:
        wait_until(self.standing, "a standing link")


@contextmanager
def running(
    ledger: Ledger, key: Ed25519PrivateKey, host: str, port: int, origin: str = "clinical"
) -> Iterator[Running]:
    ready = threading.Event()
    receiver = Receiver(ledger, key, origin, Broker(host, port), ready.set)
    thread = threading.Thread(target=receiver.run)
    thread.start()
    try:
        yield Running(receiver, ready)
    finally:
        receiver.stop()
        thread.join(CEILING)
        assert not thread.is_alive()
