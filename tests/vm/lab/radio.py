"""In the guest: put the host's virtual Bluetooth controller behind /dev/vhci, as an adapter.

radio.py HOST PORT. HCI in UART transport (Core, volume 4, part A) goes over TCP; the driver
wants one packet a write. The adapter is pulled out when either side ends.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading

# Type of packet: octets of its header, and where and how its length stands there.
_HEADERS = {1: (3, 2, "B"), 2: (4, 2, "<H"), 3: (3, 2, "B"), 4: (2, 1, "B"), 5: (4, 2, "<H")}
_VENDOR = 0xFF
_MOST = 4096


def packet(stream: socket.SocketIO) -> bytes:
    """The next packet with its type; empty at the end."""
    kind = stream.read(1)
    if not kind:
        return b""
    length, at, layout = _HEADERS[kind[0]]
    header = whole(stream, length)
    return kind + header + whole(stream, struct.unpack_from(layout, header, at)[0])


def whole(stream: socket.SocketIO, length: int) -> bytes:
    """Exactly so many octets."""
    found = b""
    while len(found) < length:
        more = stream.read(length - len(found))
        if not more:
            raise EOFError
        found += more
    return found


def main() -> None:
    """Carry packets both ways until the host hangs up."""
    line = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    driver = os.open("/dev/vhci", os.O_RDWR)
    os.write(driver, bytes([_VENDOR, 0]))  # one primary controller

    def up() -> None:
        while found := os.read(driver, _MOST):
            if found[0] != _VENDOR:
                line.sendall(found)

    threading.Thread(target=up, daemon=True).start()
    stream = line.makefile("rb", buffering=0)
    while found := packet(stream):
        os.write(driver, found)


if __name__ == "__main__":
    main()
