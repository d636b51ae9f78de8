"""A UVC MJPEG frame, taken untouched: its JPEG, whole and readable by any viewer.

Not one pixel is coded anew. What UVC allows and a JPEG file does not is mended, and said:
padding behind the picture is cut off, and the standard Huffman tables that a camera may
leave out are put in (USB Device Class Definition for Video Devices: Motion-JPEG Payload).
"""

from __future__ import annotations

from typing import Final

from drivers.base import Blob, Decoded, Measurement, Outcome
from drivers.dermatoscope.huffman import STANDARD_TABLES
from drivers.dermatoscope.jpeg import walk
from drivers.errors import ProtocolFault

MAX_FRAME: Final = 16 * 1024 * 1024
"""The longest frame taken, in bytes."""

KIND: Final = "dermatoscope-image"
PADDING_TRIMMED: Final = "padding-trimmed"
TRAILING_BYTES_TRIMMED: Final = "trailing-bytes-trimmed"
TABLES_INSERTED: Final = "huffman-tables-inserted"


def decode(raw: bytes, *, name: str | None = None) -> Outcome:  # noqa: ARG001 - no camera deviates
    """One picture from one frame of a camera; raise `ProtocolFault` for anything but a whole one.

    The measurement has no values. Its one blob is the JPEG: `raw` itself where nothing had to
    be mended, else `quality` names each mending.
    """
    if len(raw) > MAX_FRAME:
        raise ProtocolFault("The camera's frame is larger than any picture it can send.")
    layout = walk(raw)
    quality = _mendings(raw[layout.end :], tables=layout.tables)
    jpeg = raw[: layout.end]
    if not layout.tables:
        jpeg = jpeg[: layout.first_scan] + STANDARD_TABLES + jpeg[layout.first_scan :]
    picture = Blob(jpeg, "image/jpeg", "original")
    return Decoded((Measurement(KIND, raw=raw, quality=quality, blobs=(picture,)),))


def _mendings(rest: bytes, *, tables: bool) -> tuple[str, ...]:
    """What was done, in order. Other than zeros behind a picture are an older frame's remains."""
    found = []
    if not tables:
        found.append(TABLES_INSERTED)
    if rest:
        found.append(TRAILING_BYTES_TRIMMED if rest.strip(b"\x00") else PADDING_TRIMMED)
    return tuple(found)
