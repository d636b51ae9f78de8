"""What is plugged into the machine's USB sockets: a thermometer, an ECG and a camera.

The thermometer sits behind QEMU's own serial converter; the others are devices of the package
`usbip`, which the guest imports over USB/IP. All live on threads of this process.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from usbip.classes.device import CDCACM, UVC
from usbip.classes.device.uvc import VideoControl
from usbip.device import In, USBDevice
from usbip.function import Function
from usbip.transport import USBIP

from drivers.dermatoscope.simulator import lesion, without_tables
from drivers.healthypi6.simulator import simulate
from drivers.lab.camera import encode
from drivers.suretemp.record import State
from drivers.suretemp.simulator import IDLE, Module
from tests.brokers import HOST, free_port

if TYPE_CHECKING:
    from decimal import Decimal
    from pathlib import Path

_HEALTHYPI6 = 0x2FE3, 0x0100
_FIREFLY = 0xA168, 0x0870
_SIZE = 640, 480
_RATE = 5
_KEPT = 4096
"""Octets of a stream that wait for the machine to take them, at most."""


class Thermometer:
    """A SureTemp module behind a serial line that ends in a Unix socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[bytes] = []
        self.asked = 0
        self._module = Module(IDLE)
        self._torn = False
        self._server = socket.socket(socket.AF_UNIX)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._server.bind(str(self.path))
        self._server.listen()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(30)

    def measure(self, kelvin: Decimal, *, torn: bool = False) -> None:
        """Someone takes a temperature; it is told until the probe is put back.

        If it is to be torn, the next answer ends in the middle, and none follows on this line.
        """
        self._torn = torn
        self._module.play(State.FINAL, kelvin)

    def put_back(self) -> None:
        """The probe is put back."""
        self._module.play(State.IDLE)

    @property
    def torn(self) -> bool:
        """Whether the next answer is still to be torn."""
        return self._torn

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._server.accept()
            except OSError:
                return
            with line:
                self._answer(line)

    def _answer(self, line: socket.socket) -> None:
        silent = False
        with suppress(OSError):
            while heard := line.recv(4096):
                self.asked += 1
                answer = b"" if silent else self._module.answer(heard)
                if answer and self._torn:
                    self._torn, silent = False, True
                    answer = answer[: len(answer) // 2]
                if answer:
                    self.said.append(answer)
                    line.sendall(answer)


class _Exported:
    """A USB device that the guest may import from `port`."""

    def __init__(self, ids: tuple[int, int], product: str, serial: str) -> None:
        self.port = free_port()
        self.device = USBDevice(*ids, manufacturer="Qafila", product=product, serial=serial)

    def __enter__(self) -> Self:
        self.device.plug(via=USBIP(HOST, self.port))
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.device.unplug()


class Ecg(_Exported):
    """A HealthyPi 6: it streams from the start to whoever raises DTR."""

    def __init__(self) -> None:
        super().__init__(_HEALTHYPI6, "HealthyPi 6", "ECG0001")
        self.opened = threading.Event()
        self.blocks: list[bytes] = []
        self._data: Any = self.device.add(
            CDCACM(on_open=lambda *_: self.opened.set(), on_close=lambda *_: self.opened.clear())
        )

    def record(self, seconds: float) -> None:
        """Someone is recorded for some seconds, at the pace of the device."""
        begin = time.monotonic()
        for second, raw in simulate(seconds):
            time.sleep(max(0.0, begin + second - time.monotonic()))
            self._data.write(raw)
            self.blocks.append(raw)


class _ButtonedControl(VideoControl):  # type: ignore[misc] # usbip carries no types
    """The control interface with the status endpoint that a button needs (UVC 1.5, 2.4.2)."""

    status = In(0x83, "interrupt", mps=16, interval=4)

    def descriptor_block(self) -> bytes:
        block: bytes = super().descriptor_block()
        standard = struct.pack("<BBBBHB", 7, 0x05, self.status.addr, 0x03, 16, 4)
        specific = struct.pack("<BBBH", 5, 0x25, 0x03, 16)
        return block[:4] + b"\x01" + block[5:] + standard + specific

    def press(self) -> None:
        """Tell of a press and of a release (UVC 1.5, table 2-6)."""
        streaming = self.interface_number + 1
        for pressed in (1, 0):
            self.status.write(bytes([2, streaming, 0, pressed]))


class _ButtonedUvc(UVC):  # type: ignore[misc] # as above
    def __init__(self, *words: Any, **more: Any) -> None:
        super().__init__(*words, **more)
        self.vc = _ButtonedControl()
        self.interfaces = (self.vc, self.vs)
        Function.__init__(self)


class Camera(_Exported):
    """A dermatoscope; each picture is another one. It leaves its Huffman tables out."""

    def __init__(self) -> None:
        super().__init__(_FIREFLY, "Dermatoscope", "DERM0001")
        self.pictures = [without_tables(encode(lesion(number))) for number in range(6)]
        self.events: list[str] = []
        self.socket = ""
        width, height = _SIZE
        function = _ButtonedUvc(
            width,
            height,
            _RATE,
            formats=("mjpeg",),
            source=lambda _, __, number: self.pictures[number % len(self.pictures)],
            on_event=self.events.append,
        )
        self.device.add(function)
        self.press = function.vc.press
        """Somebody presses its button."""


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal, as a record names its raw bytes."""
    return hashlib.sha256(content).hexdigest()
