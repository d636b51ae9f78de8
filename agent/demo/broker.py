"""An embedded broker for machines without mosquitto: amqtt, which speaks MQTT 3.1.1."""

from __future__ import annotations

import asyncio
import logging
import sys


async def serve(port: int) -> None:
    """Listen on loopback until the process ends."""
    from amqtt.broker import Broker  # noqa: PLC0415 - of the extra `lab` only

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


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)
    asyncio.run(serve(int(sys.argv[1])))
