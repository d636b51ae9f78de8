"""A picture file, taken untouched. Pure; the checks are those of the dermatoscope's frames."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from drivers.base import Decoded, readings_of
from drivers.dermatoscope.codec import decode as decode_frame

if TYPE_CHECKING:
    from drivers.base import Outcome

SOURCE = "picture-import"


def decode(raw: bytes, *, name: str | None = None) -> Outcome:
    """One picture from one JPEG file; raise `ProtocolFault` for anything but a whole one.

    As a frame of a dermatoscope, but the file is the identity: the same file, met again, is
    the same picture.
    """
    readings = readings_of(decode_frame(raw, name=name))
    return Decoded(tuple(replace(each, repeatable=True, from_memory=True) for each in readings))
