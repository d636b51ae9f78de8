"""A device that tells its serial number, read elsewhere than where it belongs: said aloud.

It is read all the same, and in the box where it is bound: only a person moves a device.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.store.bindings import Sighting, sighted
from agent.store.settling import alarm

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from agent.board import Board
    from agent.store.connection import Connection
    from agent.store.store import Store
    from drivers.base import Device, Identity

    Bound = Callable[[], Collection[tuple[str, str | None]]]

KIND = "device-moved"


class Sightings:
    """Notes where each serial number is read; `bound` gives the (identity, box) of all devices."""

    def __init__(self, store: Store, board: Board, bound: Bound) -> None:
        self._store = store
        self._board = board
        self._bound = bound
        self._noting: set[asyncio.Task[None]] = set()

    def saw(self, name: str, box: str | None, device: Device, identity: Identity) -> None:
        """A device called `name` here has said who it is; noted soon, and without waiting."""
        serial = (identity.serial or "").strip()
        if not serial.strip("0-. "):  # many makers leave it so
            return
        whole = "/".join((identity.manufacturer or "", identity.model or "", serial))
        note = asyncio.create_task(self._note(whole, Sighting(device.id, name, box), device.driver))
        self._noting.add(note)
        note.add_done_callback(self._noting.discard)

    async def _note(self, serial: str, here: Sighting, driver: str) -> None:
        bound = tuple(self._bound())

        def job(connection: Connection) -> str:
            belongs = sighted(connection, driver, serial, here, bound)
            if belongs is None:
                return ""
            words = _words(belongs, here)
            alarm(connection, f"{KIND}-{here.name}", f"{here.name}: {words}")
            return words

        self._board.note(here.name, KIND, await self._store.writer.write(job))


def _words(belongs: Sighting, here: Sighting) -> str:
    return (
        f"its serial number is that of {belongs.name} of {_box(belongs.box)}, and it is read in "
        f"{_box(here.box)} now: forget one of the two, or put it back"
    )


def _box(box: str | None) -> str:
    return f"box {box}" if box else "no box"
