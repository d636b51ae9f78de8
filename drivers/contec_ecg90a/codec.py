"""What the bytes of an `.ECG` file say: captures on the bench, and the files of a medium. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from drivers.base import Blob, Decoded, Device, Measurement, Outcome, Value
from drivers.contec_ecg90a.recording import MEASURED, STEP_UV, Recording, parse
from drivers.dicom.waveform import MEDIA_TYPE, twelve_lead_objects

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = "contec-ecg90a"
KIND = "ecg"
SPELLED_OUT = 64
"""Files of at most this many samples a lead list them as values; above, only raw holds them."""

_PLAUSIBLE = range(2001, 2100)  # a clock that was never set begins with 2000
_MAKER = Device("", SOURCE, manufacturer="Contec", model="ECG90A")


def decode(raw: bytes, *, name: str | None = None) -> Outcome:  # noqa: ARG001 - every codec's shape
    """Decode one whole file. Raises `ProtocolFault` where it is cut, foreign or too long.

    Up to 64 samples are given as values in microvolts, sample after sample, each as the leads
    that were measured: II, III, V1 to V6. No blob is made.
    """
    recording = parse(raw)
    return Decoded((_measurement(recording, tuple(_spelled(recording)), ()),))


def stored_form(raw: bytes) -> Measurement:
    """The measurement to store: twelve leads as DICOM, in several objects where it is long.

    The objects follow from the file alone, whatever it was copied through, so that the same
    file makes the same objects. Their time is the device's own. Raises as `decode`.
    """
    recording = parse(raw)
    contents = twelve_lead_objects(recording, acquired=recording.device_time, device=_MAKER)
    roles = ("recording", *(f"recording-{number}" for number in range(2, len(contents) + 1)))
    blobs = tuple(
        Blob(content, MEDIA_TYPE, role) for content, role in zip(contents, roles, strict=True)
    )
    return _measurement(recording, (), blobs)


def _measurement(
    recording: Recording, values: tuple[Value, ...], blobs: tuple[Blob, ...]
) -> Measurement:
    said = recording.device_time
    quality = {"clock-invalid": said is None, "out-of-range": recording.out_of_range}
    return Measurement(
        kind=KIND,
        raw=recording.raw,
        values=values,
        repeatable=True,
        device_time=said,
        clock_trusted=said is not None and said.year in _PLAUSIBLE,
        quality=tuple(word for word, holds in quality.items() if holds),
        duration=recording.duration,
        blobs=blobs,
        from_memory=True,
    )


def _spelled(recording: Recording) -> Iterator[Value]:
    if len(recording.numbers[0]) > SPELLED_OUT:
        return
    for instant in zip(*recording.numbers, strict=True):
        for lead, number in zip(MEASURED, instant, strict=True):
            if number is not None:
                yield Value(lead.potential, Decimal(number) * STEP_UV, "uV")
