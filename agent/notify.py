"""Tell systemd how we are (sd_notify(3)): one datagram to `$NOTIFY_SOCKET`, or nothing."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(message: str) -> None:
    """Send `READY=1`, `WATCHDOG=1`, `STATUS=…`; no-op where systemd didn't start us."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path
    with (
        contextlib.suppress(OSError),  # a unit must not stop because nobody listens to how it is
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.sendto(message.encode(), address)


def watchdog_interval() -> float | None:
    """Seconds between two pings: half of what systemd allows; None where it watches nobody."""
    microseconds = os.environ.get("WATCHDOG_USEC")
    watched = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / 2_000_000 if microseconds and watched else None
