"""What bytes of a HealthyPi 6 say: captures on the bench, and frames kept before a crash. Pure.

The live stream goes through `Framer` and `Recorder`; see `tape`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from drivers.base import Decoded, NoReading, Outcome
from drivers.errors import ProtocolFault
from drivers.framing import Skipped
from drivers.healthypi6.framing import Block, Event, Framer, Reason
from drivers.healthypi6.measurement import bench_form, device_at, stored_form
from drivers.healthypi6.recording import Ending, Recorder, Recording

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from drivers.base import Measurement

__all__ = ["Block", "Event", "Framer", "Reason", "Skipped", "decode", "recover"]

_NO_ECG = NoReading("The blocks are sound and hold no ECG sample.")


def decode(raw: bytes, *, name: str | None = None) -> Outcome:  # noqa: ARG001 - every codec's shape
    """Decode captured bytes of one or more whole blocks.

    Each recording they hold is one reading of kind `ecg`. Up to 64 samples are given as values
    in microvolts, sample after sample, each as lead I, II and V1 (131329, 131330, 131331);
    then the heart rate if the device computed one from the ECG (147842). No blob is made.
    Raises `ProtocolFault` where a single byte belongs to no sound block.
    """
    recordings = _recordings([(raw, 0.0)], Ending.QUIET)
    return Decoded(tuple(map(bench_form, recordings))) if recordings else _NO_ECG


def recover(frames: Sequence[bytes], received: Sequence[datetime] = ()) -> Outcome:
    """Rebuild the recordings of one device from the frames the driver kept, in their order.

    The last recording is `cut-short`. `received` is when each frame was kept (aware, one a
    frame): the first sample is then dated up to a second late; without it the DICOM objects are
    undated. Raises `ProtocolFault` where the frames are not what was kept.
    """
    if received and len(received) != len(frames):
        raise ProtocolFault("The kept frames and their times are not of one number.")
    times = [each.timestamp() for each in received] or [0.0] * len(frames)
    recordings = _recordings(zip(frames, times, strict=True), Ending.CUT)
    if not recordings:
        return _NO_ECG
    return Decoded(tuple(_recovered(each, dated=bool(received)) for each in recordings))


def _recovered(recording: Recording, *, dated: bool) -> Measurement:
    acquired = datetime.fromtimestamp(recording.started, UTC) if dated else None
    return stored_form(recording, acquired=acquired, device=device_at(""))


def _recordings(frames: Iterable[tuple[bytes, float]], ending: Ending) -> list[Recording]:
    framer, recorder = Framer(), Recorder()
    recordings: list[Recording] = []
    offset = 0
    for raw, now in frames:
        for event in framer.feed(raw):
            recordings += recorder.take(_sound(event, offset), now)
            offset += len(event.raw)
    for event in framer.close():
        _sound(event, offset)
    if not offset:
        raise ProtocolFault("There are no bytes to decode.", 0)
    return recordings + recorder.close(ending)


def _sound(event: Event, offset: int) -> Block:
    if isinstance(event, Skipped):
        raise ProtocolFault(f"The capture holds {event.reason}.", offset)
    return event
