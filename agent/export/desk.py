"""Export as the running agent offers it: files by the control socket, and receipts settled.

The keys are the agent's, the stick is the asker's: he writes with his own rights what only the
centre can read.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.control import RequestWrong
from agent.errors import KeyMissing
from agent.export.contents import from_json, to_json
from agent.export.returning import TAKEN
from agent.export.source import StoreSource
from agent.identity import load_centre_key, load_sealing_key, load_unit_key
from agent.store import settling
from agent.uplink import DESTINATION
from drivers.errors import Misconfigured
from sync.contract.envelope import key_id
from sync.contract.errors import ContractFault
from sync.contract.receipt import decode_receipt
from sync.lane import Ignored, RestoredCopy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.control import Verb
    from agent.export.source import Judged
    from agent.store.store import Store
    from config.model import Settings


class Desk:
    """What a stick is filled from, and where its receipts are handed in."""

    def __init__(self, store: Store, settings: Settings) -> None:
        """Misconfigured where a key is missing or wrong, or none is named."""
        path = _centre_key(settings)
        try:
            self._centre = load_centre_key(path)
            sealing = load_sealing_key(path)
            key = load_unit_key(store.folder)
        except KeyMissing as missing:
            raise Misconfigured("export", str(missing)) from None
        self._store = store
        self.source = StoreSource(store, DESTINATION, key, sealing)

    async def settle(self, frame: bytes) -> str:
        """Weigh a receipt; a word for what became of it. Raises StoreError."""
        keys = {key_id(self._centre): self._centre}
        try:
            receipt = decode_receipt(frame, keys.get)
        except ContractFault as fault:
            code, words = f"receipt-{fault.code}", f"a receipt was ignored: {fault.reason}"
            await self._store.writer.write(
                lambda connection: settling.alarm(connection, code, words)
            )
            return fault.code
        verdict = await self._store.settle_carried(DESTINATION, receipt)
        if isinstance(verdict, Ignored):
            return str(verdict.why)
        return "restored-copy" if isinstance(verdict, RestoredCopy) else TAKEN


class ExportVerbs:
    """The verbs; where export is not set up they say why."""

    def __init__(self, desk: Desk | None, why: str) -> None:
        self._offered = desk
        self._why = why

    def verbs(self) -> dict[str, Verb]:
        """Each verb under its name."""
        return {
            "export-open": self._open,
            "export-judge": self._judge,
            "export-seal": self._seal,
            "settle": self._settle,
        }

    @property
    def _desk(self) -> Desk:
        if self._offered is None:
            raise Misconfigured("export", self._why)
        return self._offered

    async def _open(self, _: Mapping[str, Any]) -> dict[str, Any]:
        opening = await asyncio.to_thread(self._desk.source.open)
        return {
            "epoch": opening.epoch,
            "pending": to_json(opening.pending),
            "unit_key": opening.unit_key.hex(),
            "recipient": opening.recipient.hex(),
        }

    async def _judge(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        desk = self._desk
        slips = [_bytes(each) for each in asked.get("slips", ())]
        judged = await asyncio.to_thread(desk.source.judge, slips)
        return {"judged": [_said(each) for each in judged]}

    async def _seal(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        desk = self._desk
        try:
            wanted = from_json(asked.get("wanted"))
        except ValueError:
            raise RequestWrong("export-seal: wanted is no contents") from None
        sealed, contents = await asyncio.to_thread(desk.source.seal, wanted)
        return {"sealed": b64encode(sealed).decode(), "contents": to_json(contents)}

    async def _settle(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"outcome": await self._desk.settle(_bytes(asked.get("receipt")))}


def _centre_key(settings: Settings) -> Path:
    if settings.uplink is not None:
        return Path(settings.uplink.centre_key)
    if settings.export is not None and settings.export.centre_key is not None:
        return Path(settings.export.centre_key)
    raise Misconfigured("export", "no centre is set: name its keys in [uplink] or [export]")


def _said(judged: Judged | None) -> dict[str, Any] | None:
    if judged is None:
        return None
    return {"contents": to_json(judged.contents), "wanted": to_json(judged.wanted)}


def _bytes(text: object) -> bytes:
    try:
        if isinstance(text, str):
            return b64decode(text, validate=True)
    except ValueError:
        pass
    raise RequestWrong("give bytes in base64")
