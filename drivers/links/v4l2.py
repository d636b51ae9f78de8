"""What is asked of a V4L2 device beside its pictures (<linux/videodev2.h>)."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from errno import EINVAL, ENOTTY
from fcntl import ioctl
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENUM_FMT: Final = 0xC0405602
_STREAMOFF: Final = 0x40045613
_VIDEO_CAPTURE: Final = 1
_FORMAT: Final = struct.Struct("<3I32s2I12x")
"""v4l2_fmtdesc: index, type, flags, description, pixelformat, mbus_code."""
_MJPEG: Final = frozenset({int.from_bytes(each, "little") for each in (b"MJPG", b"JPEG")})


def gives_mjpeg(source: str) -> bool | None:
    """Whether a device lists MJPEG among its formats; None where it can't be asked any more."""
    try:
        device = os.open(source, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return any(each in _MJPEG for each in _formats(device))
    except OSError as error:  # EINVAL ends the list; ENOTTY is no such device at all
        return False if error.errno in {EINVAL, ENOTTY} else None
    finally:
        os.close(device)


def _formats(device: int) -> Iterator[int]:
    """The pixel formats; the list ends in an OSError."""
    for index in count():
        asked = _FORMAT.pack(index, _VIDEO_CAPTURE, 0, b"", 0, 0)
        yield _FORMAT.unpack(ioctl(device, _ENUM_FMT, asked))[4]


def stop_streaming(source: str) -> None:
    """Wake a thread that waits inside the kernel for a camera that fell silent.

    libavdevice waits in VIDIOC_DQBUF, where its time-outs don't reach; VIDIOC_STREAMOFF on the
    same descriptor ends that wait (V4L2 API, «VIDIOC_STREAMON, VIDIOC_STREAMOFF»).
    """
    if not source.startswith("/dev/"):
        return
    with suppress(OSError):
        device = Path(source).stat().st_rdev
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                if descriptor.stat().st_rdev == device:
                    ioctl(int(descriptor.name), _STREAMOFF, _VIDEO_CAPTURE.to_bytes(4, "little"))
