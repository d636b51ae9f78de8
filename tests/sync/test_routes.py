from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync import routes

if TYPE_CHECKING:
    from typing import Any

HEAD = struct.Struct("=IHHII")
NEW_ROUTE, DEL_ROUTE, NEW_LINK = 24, 25, 16


def said(*kinds: int, size: int = 21) -> bytes:
    """What a kernel says: one message a kind, each padded to four bytes (netlink(7))."""
    body = bytes(size)
    parts = (HEAD.pack(HEAD.size + size, kind, 0, 0, 0) + body for kind in kinds)
    return b"".join(part + bytes(-len(part) % 4) for part in parts)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """The kernel's end; the other is what `next_route` reads."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    theirs.setblocking(False)  # noqa: FBT003 - the socket module's own signature
    monkeypatch.setattr(routes, "_listen", lambda: theirs)
    return ours


async def test_only_a_new_route_ends_the_waiting(kernel: socket.socket) -> None:
    with kernel:
        waiting = asyncio.create_task(routes.next_route())
        kernel.send(said(DEL_ROUTE, NEW_LINK))
        kernel.send(said(DEL_ROUTE, DEL_ROUTE))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        kernel.send(said(DEL_ROUTE, NEW_LINK, NEW_ROUTE))
        await asyncio.wait_for(waiting, 10)


async def test_a_kernel_that_had_more_to_say_than_fits_counts_as_news(
    kernel: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOBUFS: messages were dropped, and one of them may have been a route."""

    async def overrun(*_: Any) -> bytes:
        raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_recv", overrun)
    with kernel:
        await asyncio.wait_for(routes.next_route(), 10)


async def test_cancelled_waiting_closes_its_socket(kernel: socket.socket) -> None:
    with kernel:
        waiting = asyncio.create_task(routes.next_route())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(OSError, match=r"\[Errno"):
            kernel.send(said(NEW_ROUTE))


@pytest.mark.parametrize("where", ["socket", "bind"])
async def test_where_the_kernel_can_not_be_asked_nobody_is_told_of_routes(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sandbox may forbid either; the backoff alone must do then."""

    class Forbidden(socket.socket):
        def __init__(self, *args: Any) -> None:
            if where == "socket":
                raise PermissionError(errno.EAFNOSUPPORT, "forbidden")
            super().__init__(*args)

        def bind(self, *_: Any) -> None:
            raise PermissionError(errno.EPERM, "forbidden")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", Forbidden)
        waiting = asyncio.create_task(routes.next_route())
        await asyncio.sleep(0.05)
    assert not waiting.done()
    waiting.cancel()


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_of_a_kernel_of_tomorrow_are_a_fault(message: bytes) -> None:
    routes._adds_route(message)
    assert routes._adds_route(said(NEW_ROUTE) + message)


SCRIPT = """
import asyncio, subprocess
from sync.routes import next_route

def ip(*words):
    subprocess.run(["ip", *words], check=True)

async def main():
    ip("link", "set", "lo", "up")
    waiting = asyncio.create_task(next_route())
    await asyncio.sleep(0.2)
    assert not waiting.done()
    ip("route", "add", "203.0.113.0/24", "dev", "lo")
    await asyncio.wait_for(waiting, 10)
    print("told")

asyncio.run(main())
"""


def own_network() -> list[str] | None:
    """The command that gives a process a network of its own, where this machine allows it."""
    words = ["unshare", "--user", "--map-root-user", "--net"]
    if not shutil.which("unshare") or not shutil.which("ip"):
        return None
    allowed = subprocess.run([*words, "true"], check=False, capture_output=True)
    return words if allowed.returncode == 0 else None


@pytest.mark.skipif(own_network() is None, reason="needs ip and unprivileged user namespaces")
def test_the_real_kernel_tells_of_a_real_route() -> None:
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [*(own_network() or []), sys.executable, "-c", SCRIPT],
        env=os.environ | {"PYTHONPATH": root},
        check=False,
        capture_output=True,
        timeout=60,
    )
    assert done.stdout == b"told\n", done.stderr
