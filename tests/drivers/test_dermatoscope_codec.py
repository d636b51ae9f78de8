from __future__ import annotations

import av
import pytest

from drivers.base import Decoded, Measurement
from drivers.dermatoscope.codec import MAX_FRAME, decode
from drivers.dermatoscope.huffman import STANDARD_TABLES
from drivers.dermatoscope.jpeg import MAX_PIXELS
from drivers.dermatoscope.simulator import lesion, padded, truncated, without_tables
from drivers.errors import ProtocolFault
from drivers.lab.camera import encode

JPEG = encode(lesion(1, 64, 48))
BARE = without_tables(JPEG)
SOF, SOS = JPEG.index(b"\xff\xc0"), JPEG.index(b"\xff\xda")
DHT, DQT, DRI = (JPEG.index(b"\xff" + code) for code in (b"\xc4", b"\xdb", b"\xdd"))
RST0 = JPEG.index(b"\xff\xd0")


def reading(raw: bytes) -> Measurement:
    outcome = decode(raw)
    assert isinstance(outcome, Decoded)
    (only,) = outcome.readings
    return only


def picture(raw: bytes) -> bytes:
    (blob,) = reading(raw).blobs
    assert (blob.media_type, blob.role) == ("image/jpeg", "original")
    return blob.content


def samples(jpeg: bytes) -> list[bytes]:
    decoder = av.CodecContext.create("mjpeg", "r")
    (frame,) = [*decoder.decode(av.Packet(jpeg)), *decoder.decode(None)]
    return [bytes(plane) for plane in frame.planes]


def tables(segment: bytes) -> dict[int, bytes]:
    assert segment[:2] == b"\xff\xc4"
    assert int.from_bytes(segment[2:4], "big") == len(segment) - 2
    found, at = {}, 4
    while at < len(segment):
        behind = at + 17 + sum(segment[at + 1 : at + 17])
        found[segment[at]] = segment[at + 1 : behind]
        at = behind
    return found


def test_whole_frame_is_kept_byte_for_byte() -> None:
    assert picture(JPEG) == JPEG
    assert reading(JPEG).quality == ()


def test_reading_has_a_picture_and_no_values() -> None:
    only = reading(JPEG)
    assert (only.kind, only.raw, only.values) == ("dermatoscope-image", JPEG, ())
    assert (only.repeatable, only.device_time, only.clock_trusted) == (False, None, False)


def test_standard_tables_are_those_an_independent_encoder_writes() -> None:
    assert len(STANDARD_TABLES) == 420
    assert tables(STANDARD_TABLES) == tables(JPEG[DHT : DHT + 420])


def test_tables_left_out_are_inserted_and_nothing_else_changes() -> None:
    assert STANDARD_TABLES not in BARE
    mended = picture(BARE)
    assert mended.replace(STANDARD_TABLES, b"", 1) == BARE
    assert mended.index(STANDARD_TABLES) + 420 == mended.index(b"\xff\xda")
    assert samples(mended) == samples(JPEG)
    assert reading(BARE).quality == ("huffman-tables-inserted",)


def test_mended_picture_needs_no_mending() -> None:
    assert picture(picture(BARE)) == picture(BARE)
    assert reading(picture(BARE)).quality == ()


def test_padding_is_cut_off_and_raw_keeps_it() -> None:
    frame = padded(JPEG, 4096)
    assert len(frame) % 4096 == 0
    assert picture(frame) == JPEG
    assert reading(frame).raw == frame
    assert reading(frame).quality == ("padding-trimmed",)


def test_remains_of_an_older_frame_are_cut_off_and_named_otherwise_than_padding() -> None:
    frame = JPEG + JPEG[-300:]
    assert picture(frame) == JPEG
    assert reading(frame).quality == ("trailing-bytes-trimmed",)


def test_two_mendings_are_both_named() -> None:
    frame = padded(BARE, 4096)
    assert reading(frame).quality == ("huffman-tables-inserted", "padding-trimmed")
    assert picture(frame) == picture(BARE)


def test_end_of_a_thumbnail_inside_a_segment_is_not_the_end() -> None:
    body = b"Exif\x00\x00" + JPEG
    frame = JPEG[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + JPEG[2:]
    assert picture(frame) == frame


def test_fill_bytes_before_markers_are_allowed() -> None:
    frame = JPEG[:SOF] + b"\xff\xff" + JPEG[SOF:-2] + b"\xff" + JPEG[-2:]
    assert picture(frame) == frame


def test_one_scan_for_each_component_is_allowed() -> None:
    header = JPEG[SOS : SOS + 14]
    scans = b"".join(
        b"\xff\xda\x00\x08\x01" + header[at : at + 2] + b"\x00\x3f\x00" + b"\x12\x34"
        for at in (5, 7, 9)
    )
    assert picture(JPEG[:SOS] + scans + b"\xff\xd9")


def test_grey_picture_is_allowed() -> None:
    frame = JPEG[:SOF] + b"\xff\xc0\x00\x0b\x08\x00\x08\x00\x08\x01\x01\x11\x00"
    assert picture(frame + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x12\xff\xd9")


def test_every_truncated_frame_is_refused() -> None:
    for lost in range(1, len(JPEG) + 1):
        with pytest.raises(ProtocolFault):
            decode(truncated(JPEG, lost))


def patched(at: int, new: bytes) -> bytes:
    return JPEG[:at] + new + JPEG[at + len(new) :]


def without(start: int) -> bytes:
    behind = start + 2 + int.from_bytes(JPEG[start + 2 : start + 4], "big")
    return JPEG[:start] + JPEG[behind:]


def with_half_of_the_tables() -> bytes:
    half = b"\xff\xc4" + (2 + 29 + 179).to_bytes(2, "big") + STANDARD_TABLES[4 : 4 + 29 + 179]
    assert set(tables(half)) == {0x00, 0x10}
    return JPEG[:DHT] + half + JPEG[DHT + 420 :]


REFUSED = {
    "empty": (b"", "begin"),
    "not a picture": (b"GIF89a" + bytes(100), "begin"),
    "start alone": (JPEG[:2], "breaks off"),
    "progressive": (patched(SOF, b"\xff\xc2"), "baseline"),
    "lossless": (patched(SOF, b"\xff\xc3"), "baseline"),
    "arithmetic": (patched(SOF, b"\xff\xc9"), "baseline"),
    "arithmetic tables": (patched(DHT, b"\xff\xcc"), "no place"),
    "twelve bits": (patched(SOF + 4, b"\x0c"), "UVC"),
    "height told later": (patched(SOF + 5, b"\x00\x00"), "UVC"),
    "too many pixels": (patched(SOF + 5, b"\xff\xff\xff\xff"), "UVC"),
    "two components": (patched(SOF + 2, b"\x00\x0e"), "frame header"),
    "components alike": (patched(SOF + 13, JPEG[SOF + 10 : SOF + 11]), "UVC"),
    "no sampling": (patched(SOF + 11, b"\x00"), "UVC"),
    "second frame header": (JPEG[:SOS] + JPEG[SOF:], "frame header"),
    "frame header of no length": (patched(SOF + 2, b"\x00\x02"), "frame header"),
    "scan header of no length": (patched(SOS + 2, b"\x00\x02"), "scan header"),
    "no frame header": (without(SOF), "lacks"),
    "no quantisation": (without(DQT), "lacks"),
    "sixteen-bit quantisation": (patched(DQT + 4, b"\x10"), "quantisation"),
    "no chroma tables": (with_half_of_the_tables(), "lacks"),
    "third table": (patched(DHT + 4, b"\x02"), "Huffman"),
    "too many codes": (patched(DHT + 5, b"\xff\xff"), "Huffman"),
    "table cut": (patched(DHT + 2, b"\x01\xa1"), "Huffman"),
    "restart interval of three bytes": (patched(DRI + 2, b"\x00\x05"), "restart interval"),
    "no restart interval": (without(DRI), "missing"),
    "restart out of turn": (patched(RST0, b"\xff\xd1"), "missing"),
    "scan of part of a spectrum": (patched(SOS + 12, b"\x05"), "scan header"),
    "scan of no component": (patched(SOS + 4, b"\x00"), "scan header"),
    "scan of a stranger": (patched(SOS + 5, b"\x77"), "lacks"),
    "no scan": (JPEG[:SOS] + b"\xff\xd9", "ends before"),
    "two components never scanned": (
        JPEG[:SOS] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x12\xff\xd9",
        "ends before",
    ),
    "segment of no length": (patched(DQT + 2, b"\x00\x01"), "impossible length"),
    "segment beyond the end": (patched(SOS + 2, b"\xff\xff"), "breaks off"),
    "bytes between segments": (JPEG[:SOF] + b"\x00" + JPEG[SOF:], "marker must be"),
    "height in the middle": (JPEG[:-2] + b"\xff\xdc\x00\x04\x00\x30\xff\xd9", "no place"),
    "only fill bytes": (JPEG[:2] + b"\xff" * 50, "breaks off"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_broken_frame_is_refused_in_a_plain_sentence(case: str) -> None:
    raw, words = REFUSED[case]
    with pytest.raises(ProtocolFault) as caught:
        decode(raw)
    assert words in caught.value.reason
    assert caught.value.reason.endswith(".")


def test_picture_of_the_most_pixels_is_taken_and_one_more_row_is_not() -> None:
    width = 6000
    height = MAX_PIXELS // width

    def sized(rows: int) -> bytes:
        return patched(SOF + 5, rows.to_bytes(2, "big") + width.to_bytes(2, "big"))

    assert picture(sized(height))
    with pytest.raises(ProtocolFault):
        decode(sized(height + 1))


def test_frame_above_the_bound_is_refused_before_it_is_walked() -> None:
    assert reading(JPEG + bytes(MAX_FRAME - len(JPEG))).quality == ("padding-trimmed",)
    with pytest.raises(ProtocolFault, match="larger"):
        decode(JPEG + bytes(MAX_FRAME - len(JPEG) + 1))
