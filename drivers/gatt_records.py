"""Asking a device for the records in its memory (Record Access Control Point, 2A52)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from drivers.errors import ProtocolFault
from drivers.record_access import (
    NO_RECORDS,
    NOT_UNDERSTOOD,
    REPORT,
    SUCCESS,
    Answer,
    decode_answer,
    report_all,
    report_from,
)

if TYPE_CHECKING:
    from drivers.gatt_link import GattLink


class Records:
    """One procedure of one visit: report all, or those from the last one seen.

    `control` is the control point, empty for a device that needs no asking. The records come as
    frames of their own; `answered` says that the device has told that there are no more.
    """

    def __init__(self, link: GattLink, control: str, last: int | None) -> None:
        self._link = link
        self._control = control if control and link.has(control) else ""
        self._last = last
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()
        self.answered = not self._control

    async def listen(self) -> None:
        """Listen for answers; after everything else, as the profiles demand."""
        if self._control:
            await self._link.subscribe(self._control, self._answers.put_nowait)

    async def ask(self) -> None:
        """Ask, and return when the device has told all; a device that never does is cut short.

        Where it has lost the last record that we have seen, or knows no such request, it is
        asked for all. `ProtocolFault` where it fails.
        """
        if not self._control:
            return
        code = SUCCESS
        if self._last is not None:
            code = await self._request(report_from(self._last))
        if self._last is None or code == NO_RECORDS or code in NOT_UNDERSTOOD:
            code = await self._request(report_all())
        if code not in {SUCCESS, NO_RECORDS}:
            raise ProtocolFault("The device could not give the records in its memory.")
        self.answered = True

    async def _request(self, request: bytes) -> int:
        await self._link.write(self._control, request)
        while True:
            answer = decode_answer(await self._answers.get())
            if isinstance(answer, Answer) and answer.op_code == REPORT:
                return answer.code
