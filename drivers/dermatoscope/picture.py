"""From a frame to the picture that is kept: checked, and in the form that was asked for."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from drivers.base import Blob, Device, readings_of
from drivers.dermatoscope.codec import decode
from drivers.dermatoscope.jpeg import walk
from drivers.dicom.instance import MEDIA_TYPE, Origin
from drivers.dicom.photograph import Photograph, Picture, photograph_object
from drivers.links.camera import check

if TYPE_CHECKING:
    from datetime import datetime

    from drivers.base import Measurement

_DEVICE = Device("", "dermatoscope")


class Form(Enum):
    """What is made of a picture: the JPEG itself, or a DICOM object that holds the same bytes."""

    JPEG = "jpeg"
    VL_PHOTOGRAPHIC = "vl-photographic"
    DERMOSCOPIC = "dermoscopic"


_PHOTOGRAPHS = {
    Form.VL_PHOTOGRAPHIC: Photograph.VL_PHOTOGRAPHIC,
    Form.DERMOSCOPIC: Photograph.DERMOSCOPIC,
}


def develop(raw: bytes, form: Form, taken: datetime) -> Measurement:
    """The measurement of a frame that was `taken` then (aware), with its one blob.

    Decodes the picture once and raises `ProtocolFault` where that shows any fault. Takes a
    while: not for the event loop.
    """
    (picture,) = readings_of(decode(raw))
    (original,) = picture.blobs
    check(original.content)
    if form is Form.JPEG:
        return picture
    layout = walk(original.content)
    held = Picture(original.content, layout.width, layout.height, layout.components)
    content = photograph_object(held, Origin(raw, taken, _DEVICE), _PHOTOGRAPHS[form])
    return replace(picture, blobs=(Blob(content, MEDIA_TYPE, "original"),))
