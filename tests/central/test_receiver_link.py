from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from central import backoff
from central.keys import load_key
from central.ledger import Inbound, Ledger
from central.link import Connection, LinkLost, Speech
from central.settings import Broker

from .listener import CEILING, running, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from central.store import Store
    from tests.brokers import Mosquitto


def test_nothing_is_published_while_disconnected(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[str] = []
    original = Client.publish

    def publish(client: Client, topic: str, *args: Any, **more: Any) -> Any:
        published.append(topic)
        return original(client, topic, *args, **more)

    monkeypatch.setattr(Client, "publish", publish)
    broker = Broker(mosquitto.host, mosquitto.port)
    link = Connection(broker, "clinical", Speech.V5, lambda _: None)
    assert not link.publish("a", b"x")
    link.open()
    assert link.publish("b", b"x")
    mosquitto.kill()
    link.wait()
    assert not link.publish("c", b"x")
    link.close()
    assert published == ["b"]


def test_fault_in_a_callback_does_not_end_the_link(mosquitto: Mosquitto) -> None:
    heard: list[str] = []

    def deliver(message: Inbound) -> None:
        heard.append(message.topic)
        raise ZeroDivisionError

    broker = Broker(mosquitto.host, mosquitto.port)
    link = Connection(broker, "clinical", Speech.V5, deliver)
    link.open()
    for number in range(3):
        assert link.publish(f"qafila/v1/u{number}/up/hello", b"x")
    wait_until(lambda: len(heard) == 3, "three messages")
    assert link.standing
    link.close()


def test_death_of_pahos_thread_ends_the_link(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker(mosquitto.host, mosquitto.port)
    link = Connection(broker, "clinical", Speech.V5, lambda _: None)
    link.open()

    def die(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(link._client, "_packet_read", die)
    link.publish("qafila/v1/u/up/hello", b"x")
    assert "ZeroDivisionError" in str(link.wait())
    link.close()


def test_refused_subscription_is_said_in_words(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker(mosquitto.host, mosquitto.port)
    link = Connection(broker, "clinical", Speech.V5, lambda _: None)
    denied = ReasonCode(PacketTypes.SUBACK, identifier=0x87)
    subscribed = link._on_subscribe
    monkeypatch.setattr(
        link._client,
        "_on_subscribe",
        lambda c, u, mid, _codes, p: subscribed(c, u, mid, [denied], p),
    )
    with pytest.raises(LinkLost, match="access list"):
        link.open()
    link.close()


@pytest.mark.parametrize("answer", [b"", b"\x20\x03\x00\x84\x00", b"HTTP/1.1 400 no\r\n\r\n"])
def test_mute_broker_is_spoken_to_in_the_other_mqtt(
    answer: bytes, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "FIRST", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        versions: list[int] = []

        def serve() -> None:
            while len(versions) < 2:
                peer, _ = server.accept()
                with peer:
                    hello = peer.recv(1000)
                    versions.append(hello[hello.index(b"MQTT") + 4])
                    peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with running(Ledger(store), load_key(folder), "127.0.0.1", port):
            thread.join(CEILING)
        assert versions == [5, 4]
