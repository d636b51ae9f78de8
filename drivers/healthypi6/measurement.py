"""A recording as a measurement.

`repeatable` is False though every block carries a sequence number and a time: both start anew
at each boot, and the device never sends anything twice, so that equal bytes are two recordings
(of open leads, of a test signal) and must not merge. What keeps a recording from being stored
twice is that its kept frames are settled in the commit that stores it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from drivers.base import Blob, Device, Measurement, Value
from drivers.dicom.waveform import MEDIA_TYPE, ecg_object
from drivers.healthypi6.samples import Electrode

if TYPE_CHECKING:
    from datetime import datetime

    from drivers.healthypi6.recording import Recording

SOURCE = "healthypi6"
KIND = "ecg"
SPELLED_OUT = 64
"""Captures of at most this many samples list them as values; above, only raw holds them."""

_COMPUTED = {
    "heart_rate": ("147842", "/min"),
    "pulse_rate": ("149530", "/min"),
    "saturation": ("150456", "%"),
    "respiratory_rate": ("151562", "/min"),
}
_DRIFTS_PPM = 1000
"""A clock this wrong stretches half a minute by a sample and a half: shown as a quality."""

_LEADS = {"131329": "i", "131330": "ii", "131331": "v1"}


def device_at(place: str) -> Device:
    """The device as its stream lets it be known: what it is, and the port it speaks from."""
    return Device(place, SOURCE, manufacturer="ProtoCentral", model="HealthyPi 6")


def stored_form(recording: Recording, *, acquired: datetime | None, device: Device) -> Measurement:
    """The measurement to store: the samples in a DICOM object, what the device computed if any."""
    content = ecg_object(recording, acquired=acquired, device=device, beside=recording.beside)
    blob = Blob(content, MEDIA_TYPE, "recording")
    return _measurement(recording, _computed(recording), (blob,))


def bench_form(recording: Recording) -> Measurement:
    """The measurement a technician reads: every sample of a short capture, lead after lead."""
    present = [sample for sample in recording.samples if sample]
    spelled = [
        Value(code, Decimal(getattr(sample, lead)), "uV")
        for sample in (present if len(present) <= SPELLED_OUT else ())
        for code, lead in _LEADS.items()
    ]
    return _measurement(recording, (*spelled, *_computed(recording)), ())


def _measurement(
    recording: Recording, values: tuple[Value, ...], blobs: tuple[Blob, ...]
) -> Measurement:
    return Measurement(
        kind=KIND,
        raw=recording.raw,
        values=values,
        status=_status(recording),
        quality=recording.quality + (("clock-drifts",) if _drifts(recording) else ()),
        duration=recording.duration,
        blobs=blobs,
    )


def _status(recording: Recording) -> tuple[str, ...]:
    off = tuple(
        f"lead-off-{electrode.name.lower()}"
        for electrode in Electrode
        if electrode & recording.electrodes_off and electrode.name
    )
    drift = recording.drift_ppm
    return off if drift is None else (*off, f"clock-drift-ppm:{drift:+d}")


def _drifts(recording: Recording) -> bool:
    return recording.drift_ppm is not None and abs(recording.drift_ppm) >= _DRIFTS_PPM


def _computed(recording: Recording) -> tuple[Value, ...]:
    """What the device computed itself, each as it said it last."""
    said = ((getattr(recording, what), *how) for what, how in _COMPUTED.items())
    return tuple(Value(code, Decimal(number), unit) for number, code, unit in said if number)
