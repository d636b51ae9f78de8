"""Picture files as dermatoscopes and telephones leave them on their storage. Pure bytes."""

from __future__ import annotations

from typing import Final

TRAILER: Final = b"SEFHe\x00\x00\x00\x01"
"""A maker's own bytes behind the end of the picture."""


def described(jpeg: bytes, text: str) -> bytes:
    """The picture with an APP1 segment behind its SOI (ITU-T T.81 B.2.4.6), as EXIF is kept."""
    body = b"Exif\x00\x00" + text.encode("ascii")
    return jpeg[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


def file_name(number: int) -> str:
    """What a camera calls its picture (DCF naming: four letters, four digits)."""
    return f"DERM{number:04}.JPG"
