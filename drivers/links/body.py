"""What a camera is besides its pictures: its button, and the socket that tells it from a twin."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from drivers.errors import Unavailable
from drivers.links.button import Button
from drivers.links.usb import SYSTEM, button_of, twins, usb_device

if TYPE_CHECKING:
    from drivers.links.usb import UsbDevice

INPUTS: Final = Path("/dev/input")


class Body:
    """One camera's body. `remark` is a plain sentence where its identity is not its own alone."""

    def __init__(self, remark: str, button: Button | None, trouble: Unavailable | None) -> None:
        self.remark = remark
        self._button = button
        self._trouble = trouble

    @classmethod
    def of(cls, node: str, system: Path = SYSTEM, inputs: Path = INPUTS) -> Self:
        """The body of the camera at a video node; nothing of it has to be there."""
        remark = _remark(
            usb_device(node, "video4linux", system), twins(node, "video4linux", system)
        )
        name = button_of(node, system)
        try:
            return cls(remark, Button.open(str(inputs / name)) if name else None, None)
        except Unavailable as trouble:
            return cls(remark, None, trouble)

    async def pressed(self) -> None:
        """Wait for the button, for ever where there is none.

        Raises `Unavailable` where there is one and it can't be read, or no more.
        """
        if self._trouble:
            raise self._trouble
        if self._button:
            await self._button.pressed()
        else:
            await asyncio.get_running_loop().create_future()

    def close(self) -> None:
        """Let the button go; may be called again."""
        if self._button:
            self._button.close()


def _remark(own: UsbDevice | None, others: tuple[UsbDevice, ...]) -> str:
    if own is None or not others:
        return ""
    elsewhere = ", ".join(each.port for each in others)
    return (
        f"This is the camera in USB socket {own.port}. Another one calls itself the same "
        f"(USB socket {elsewhere}): bind them by port, never by serial number."
    )
