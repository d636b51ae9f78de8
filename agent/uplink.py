"""Build the uplink from its settings: the one place where sync meets the store."""

from __future__ import annotations

import asyncio
import json
import ssl
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import KeyMissing
from agent.identity import load_centre_key, load_unit_key
from drivers.errors import Misconfigured
from sync.contract import CONTRACT
from sync.contract.topics import ROOTS
from sync.mqtt import Broker, Will, connect
from sync.routes import next_route
from sync.trust import Certificates
from sync.uplink import Uplink

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from agent.store.store import Store
    from config.model import Settings, Tls
    from config.model import Uplink as UplinkSettings
    from sync.comparing import Books
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
        """Return at the next impulse; one that came since the last wait counts."""
        route = asyncio.ensure_future(next_route())
        asked = asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait({route, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            route.cancel()
            asked.cancel()
            self._asked.clear()


def build_uplink(
    store: Store,
    settings: Settings,
    impulse: Impulse,
    books: Books | None = None,
    known: datetime | None = None,
) -> Uplink | None:
    """The uplink of a unit that has one; Misconfigured where a key or certificate is wrong.

    `known` is the latest time that is known to have passed, for the dates of certificates.
    """
    if settings.uplink is None:
        return None
    try:
        key = load_unit_key(store.folder)
        centre = load_centre_key(Path(settings.uplink.centre_key))
    except KeyMissing as missing:
        raise Misconfigured("uplink", str(missing)) from None
    broker = _broker(store.unit, store.origin, settings.uplink, known)

    def link() -> AbstractAsyncContextManager[Link]:
        session = str(uuid.uuid4())
        return connect(
            broker,
            birth=Will("up/state", _state(store.unit, session, "online")),
            will=Will("up/state", _state(store.unit, session, "offline")),
        )

    cap = settings.uplink.bytes_per_second
    return Uplink(store.outbox(DESTINATION), link, key, centre, impulse.wait, books, cap)


def _broker(unit: str, origin: Origin, settings: UplinkSettings, known: datetime | None) -> Broker:
    certificates = None if settings.tls is None else _certificates(settings.tls, known)
    return Broker(
        host=settings.host,
        port=settings.port,
        client_id=unit,
        root=f"{ROOTS[origin]}/{unit}",
        certificates=certificates,
        keepalive=settings.keepalive,
    )


def _certificates(tls: Tls, known: datetime | None) -> Certificates:
    """The files of mutual TLS, found to be what they should be."""
    paths = {name: Path(getattr(tls, name)) for name in ("authority", "certificate", "key")}
    for name, path in paths.items():
        try:
            path.read_bytes()
        except OSError as error:
            why = f"$.uplink.tls.{name}: {path} can't be read: {error.strerror}"
            raise Misconfigured("uplink", why) from None
    try:
        context = ssl.create_default_context(cafile=str(paths["authority"]))
        context.load_cert_chain(paths["certificate"], paths["key"])
    except ssl.SSLError:
        why = "$.uplink.tls: these are no PEM files, or the key is not that of the certificate"
        raise Misconfigured("uplink", why) from None
    return Certificates(paths["authority"], paths["certificate"], paths["key"], known)


def shown(uplink: Uplink | None, why: str) -> dict[str, Any]:
    """The uplink as `status.json` carries it; `why` there is none, empty where none is wanted."""
    if uplink is None:
        return {
            "state": "misconfigured" if why else "none",
            "detail": why or "no uplink is set",
            "for_seconds": 0,
            "connections": 0,
            "last_receipt_seconds": None,
            "ignored": {},
        }
    state, clock = uplink.state, asyncio.get_running_loop().time()
    last = state.last_receipt
    return {
        "state": state.state,
        "detail": state.detail,
        "for_seconds": round(clock - state.since),
        "connections": state.connections,
        "last_receipt_seconds": None if last is None else round(clock - last),
        "ignored": dict(state.ignored),
    }


def _state(unit: str, session: str, state: str) -> bytes:
    said = {"contract": CONTRACT, "unit": unit, "session": session, "state": state}
    return json.dumps(said).encode()
