"""Build the uplink from its settings: the one place where sync meets the store."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from agent.identity import load_centre_key, load_unit_key
from sync.contract import CONTRACT
from sync.contract.topics import ROOTS
from sync.mqtt import Broker, Certificates, Will, connect
from sync.routes import next_route
from sync.uplink import Uplink

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from agent.store.store import Store
    from config.model import Settings
    from config.model import Uplink as UplinkSettings
    from sync.contract.hello import Origin
    from sync.outbox import Link

DESTINATION = "centre"


class Impulse:
    """Why to connect at once: the kernel has a new route, or a person says so."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()

    def give(self) -> None:
        """Let whoever waits out a backoff try now."""
        self._asked.set()

    async def wait(self) -> None:
        """Return at the next impulse."""
        self._asked.clear()
        route = asyncio.ensure_future(next_route())
        asked = asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait({route, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            route.cancel()
            asked.cancel()


def build_uplink(store: Store, settings: Settings, impulse: Impulse) -> Uplink | None:
    """The uplink of a unit that has one; KeyMissing where a key is."""
    if settings.uplink is None:
        return None
    key, centre = load_unit_key(store.folder), load_centre_key(Path(settings.uplink.centre_key))
    broker = _broker(store.unit, store.origin, settings.uplink)

    def link() -> AbstractAsyncContextManager[Link]:
        session = str(uuid.uuid4())
        return connect(
            broker,
            birth=Will("up/state", _state(store.unit, session, "online")),
            will=Will("up/state", _state(store.unit, session, "offline")),
        )

    return Uplink(store.outbox(DESTINATION), link, key, centre, impulse.wait)


def _broker(unit: str, origin: Origin, settings: UplinkSettings) -> Broker:
    tls = settings.tls
    certificates = None
    if tls is not None:
        certificates = Certificates(Path(tls.authority), Path(tls.certificate), Path(tls.key))
    return Broker(
        host=settings.host,
        port=settings.port,
        client_id=unit,
        root=f"{ROOTS[origin]}/{unit}",
        certificates=certificates,
        keepalive=settings.keepalive,
    )


def _state(unit: str, session: str, state: str) -> bytes:
    said = {"contract": CONTRACT, "unit": unit, "session": session, "state": state}
    return json.dumps(said).encode()
