"""An embedded broker for machines without mosquitto: amqtt, which speaks MQTT 3.1.1."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

_SPOKEN = 4
"""The protocol level of MQTT 3.1.1."""


async def serve(port: int) -> None:
    """Listen on loopback until the process ends."""
    from amqtt.broker import Broker  # noqa: PLC0415 - of the extra `lab` only

    _refuse_mqtt_5_at_once()
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
            },
        }
    )
    await broker.start()
    await asyncio.Event().wait()


def _refuse_mqtt_5_at_once() -> None:
    """Let amqtt tell a client that it doesn't speak MQTT 5, as MQTT 3.1.1 [3.1.2-2] asks.

    amqtt 0.11 reads the will of such a client as if it were one of 3.1.1, and waits ten seconds
    for the rest, before it looks at the version.
    """
    from amqtt.mqtt.connect import ConnectPacket, ConnectPayload  # noqa: PLC0415

    class Payload(ConnectPayload):  # type: ignore[misc] # amqtt carries no types
        @classmethod
        async def from_stream(cls, reader: Any, fixed: Any, variable: Any) -> Any:
            if variable.proto_level != _SPOKEN:
                return cls(client_id="refused", will_topic="none", will_message=b"")
            return await super().from_stream(reader, fixed, variable)

    ConnectPacket.PAYLOAD = Payload


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)
    asyncio.run(serve(int(sys.argv[1])))
