"""In the guest: plug in a USB device that the host serves over USB/IP.

attach.py HOST PORT BUSID. Facts: Linux `Documentation/usb/usbip_protocol.rst` (OP_REQ_IMPORT) and
`Documentation/ABI/testing/sysfs-platform-usbip-vudc`'s counterpart `vhci_hcd`: a free socket is
one of state 4 in `status`, and `attach` takes «port descriptor device speed».
"""

from __future__ import annotations

import socket
import struct
import sys
from pathlib import Path

_VHCI = Path("/sys/devices/platform/vhci_hcd.0")
_IMPORT, _VERSION = 0x8003, 0x0111
_DEVICE = 312
_NUMBERS = 288
_FREE = 4
_SUPER_SPEED = 5


def main() -> None:
    """Import the device and hand the connection to the kernel, which keeps it."""
    line = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.sendall(struct.pack(">HHI", _VERSION, _IMPORT, 0) + sys.argv[3].encode().ljust(32, b"\0"))
    with line.makefile("rb", buffering=0) as answers:
        _, _, status = struct.unpack(">HHI", whole(answers, 8))
        if status:
            raise SystemExit(f"the host refuses the device: {status}")
        bus, device, speed = struct.unpack_from(">III", whole(answers, _DEVICE), _NUMBERS)
    port = free_port("ss" if speed >= _SUPER_SPEED else "hs")
    order = f"{port} {line.fileno()} {bus << 16 | device} {speed}"
    (_VHCI / "attach").write_text(order)
    sys.stdout.write(f"{port}\n")


def whole(stream: socket.SocketIO, length: int) -> bytes:
    """Exactly so many octets."""
    found = b""
    while len(found) < length:
        more = stream.read(length - len(found))
        if not more:
            raise SystemExit("the host hung up")
        found += more
    return found


def free_port(kind: str) -> int:
    """The number of the first free socket of a kind (`hs`, `ss`)."""
    for line in (_VHCI / "status").read_text().splitlines()[1:]:
        words = line.split()
        if words[0] == kind and int(words[2]) == _FREE:
            return int(words[1])
    raise SystemExit("no virtual socket is free")


if __name__ == "__main__":
    main()
