"""The driver of a folder of pictures: every JPEG file in it is taken in once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.base import readings_of
from drivers.errors import Misconfigured
from drivers.imports import Importer
from drivers.links.camera import check
from drivers.picture_import.codec import SOURCE, decode

if TYPE_CHECKING:
    from drivers.base import Measurement


def build(settings: dict[str, object]) -> Importer:
    """The driver. It has no settings: `Misconfigured` where there are any."""
    if settings:
        given = ", ".join(sorted(settings))
        raise Misconfigured(SOURCE, f"remove {given}: this driver has no settings")
    return Importer(SOURCE, _develop)


def _develop(raw: bytes) -> Measurement:
    """Decode the picture once, so that a damaged one is known before it is stored."""
    (picture,) = readings_of(decode(raw))
    for blob in picture.blobs:
        check(blob.content)
    return picture
