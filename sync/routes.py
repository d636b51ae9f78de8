"""Hear from the kernel that a route came up, so that a unit need not wait out its backoff."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys

_NEW_ROUTE = 24
_GROUPS = 0x40 | 0x400
"""RTMGRP_IPV4_ROUTE and RTMGRP_IPV6_ROUTE (rtnetlink(7))."""
_HEAD = struct.Struct("=IHHII")


async def next_route() -> None:
    """Return when the kernel says that a route was added; never, where it can't be asked."""
    kernel = _listen()
    if kernel is None:
        await asyncio.Event().wait()
        return
    with kernel:
        loop = asyncio.get_running_loop()
        try:
            while not _adds_route(await loop.sock_recv(kernel, 65536)):
                pass
        except OSError:  # the kernel had more to say than we could hold: a route may be in it
            return


def _listen() -> socket.socket | None:
    if sys.platform != "linux":
        return None
    try:
        kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    except OSError:
        return None
    kernel.setblocking(False)  # noqa: FBT003 - the socket module's own signature
    try:
        kernel.bind((0, _GROUPS))
    except OSError:
        kernel.close()
        return None
    return kernel


def _adds_route(message: bytes) -> bool:
    at = 0
    while at + _HEAD.size <= len(message):
        length, kind, *_ = _HEAD.unpack_from(message, at)
        if kind == _NEW_ROUTE:
            return True
        if length < _HEAD.size:
            return False
        at += (length + 3) & ~3
    return False
