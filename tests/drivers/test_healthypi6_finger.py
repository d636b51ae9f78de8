"""The finger's curve of a HealthyPi 6: in the recording's object, on the time of its leads."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from pydicom import dcmread

from drivers.base import Device
from drivers.healthypi6.codec import recover
from drivers.healthypi6.framing import Block, Framer, encode
from drivers.healthypi6.recording import Ending, Recorder, Recording
from drivers.healthypi6.samples import ECG_LAYOUT, PPG_LAYOUT, Channel
from drivers.healthypi6.simulator import simulate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from drivers.dicom.waveform import Group

DCIODVFY = shutil.which("dciodvfy")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
DEVICE = Device("usb:1", "healthypi6", manufacturer="ProtoCentral", model="HealthyPi 6")
COUNT = 16


def ecg(seq: int, t_ms: int) -> bytes:
    payload = b"".join(ECG_LAYOUT.pack(0, n, n, n, 0, 0, 0) for n in range(COUNT))
    return encode(seq, t_ms, Channel.ECG, payload, COUNT)


def finger(seq: int, t_ms: int, first: int, off: int = 0) -> bytes:
    counts = range(first, first + COUNT)
    payload = b"".join(PPG_LAYOUT.pack(100_000 + n, -n, off) for n in counts)
    return encode(seq, t_ms, Channel.PPG, payload, COUNT)


def recorded(parts: Iterable[bytes]) -> Recording:
    recorder = Recorder()
    for event in Framer().feed(b"".join(parts)):
        assert isinstance(event, Block)
        assert recorder.take(event, 0.0) == []
    (closed,) = recorder.close(Ending.QUIET)
    return closed


def lanes(groups: Sequence[Group]) -> list[list[int | None]]:
    (group,) = groups
    assert group.rate_hz == 250
    assert [trace.label for trace in group.traces] == ["red", "infrared"]
    return [list(trace.samples) for trace in group.traces]


def test_counts_of_both_colours_stand_on_the_time_of_the_leads() -> None:
    whole = recorded([ecg(1, 1000), finger(2, 1008, 0), ecg(3, 1032), finger(4, 1072, COUNT)])
    red, infrared = lanes(whole.beside)
    assert red == [None, None, *range(100_000, 100_032)]
    assert infrared == [None, None, *(-n for n in range(32))]
    assert whole.quality == ()


def test_what_came_before_the_leads_is_left_out() -> None:
    whole = recorded([ecg(1, 1000), finger(2, 980, 0), ecg(3, 1032), finger(4, 1044, COUNT)])
    red, _ = lanes(whole.beside)
    assert red == list(range(100_005, 100_032))


def test_lost_block_of_the_finger_is_a_gap_of_its_length() -> None:
    blocks = [finger(2 + n, 1000 + 64 * n, COUNT * n) for n in range(6)]
    del blocks[2]
    red, _ = lanes(recorded([ecg(1, 1000), *blocks]).beside)
    assert red[32:48] == [None] * COUNT
    assert [each for each in red if each is None] == [None] * COUNT
    assert len(red) == 6 * COUNT


@pytest.mark.parametrize("step_ms", [32, 128])
def test_another_rate_than_the_usual_one_is_no_curve(step_ms: int) -> None:
    blocks = [finger(2 + n, 1000 + step_ms * n, COUNT * n) for n in range(6)]
    whole = recorded([ecg(1, 1000), *blocks])
    assert whole.beside == ()
    assert whole.raw.endswith(blocks[-1]), "the raw bytes have it"


def test_a_rate_that_cannot_be_told_and_another_layout_are_no_curve() -> None:
    strange = encode(3, 1064, Channel.PPG, b"?" * 5, 1)
    assert recorded([ecg(1, 1000), finger(2, 1000, 0), strange]).beside == ()


def test_finger_that_was_off_makes_its_curve_doubtful() -> None:
    blocks = [finger(2, 1000, 0), finger(3, 1064, COUNT, off=1)]
    (group,) = recorded([ecg(1, 1000), *blocks]).beside
    assert [trace.doubtful for trace in group.traces] == [True, True]


def stored() -> bytes:
    """The object that is stored of two simulated seconds."""
    frames = [b"".join(raw for _, raw in simulate(2.0))]
    outcome: Any = recover(frames, [NOON])
    (reading,) = outcome.readings
    content: bytes = reading.blobs[0].content
    return content


def test_stored_object_holds_the_curve_beside_the_leads_and_reads_back_equal() -> None:
    leads, beside = dcmread(BytesIO(stored())).WaveformSequence
    assert (leads.SamplingFrequency, leads.NumberOfWaveformChannels) == (500, 3)
    assert (beside.SamplingFrequency, beside.NumberOfWaveformChannels) == (250, 2)
    sources = [each.ChannelSourceSequence[0] for each in beside.ChannelDefinitionSequence]
    assert {(each.CodingSchemeDesignator, each.CodeValue) for each in sources} == {
        ("MDC", "2:19380")
    }
    recording = recorded(raw for _, raw in simulate(2.0))
    words = memoryview(beside.WaveformData).cast("h")
    for n, lane in enumerate(lanes(recording.beside)):
        channel = beside.ChannelDefinitionSequence[n]
        assert channel.ChannelSensitivityUnitsSequence[0].CodeValue == "1"
        scale, base = float(channel.ChannelSensitivity), float(channel.ChannelBaseline)
        assert [word * scale + base for word in words[n::2]] == lane


@pytest.mark.skipif(DCIODVFY is None, reason="dciodvfy (Debian package dicom3tools) is missing")
def test_validator_finds_no_error_in_an_object_with_a_curve(tmp_path: Path) -> None:
    file = tmp_path / "ecg.dcm"
    file.write_bytes(stored())
    said = subprocess.run([str(DCIODVFY), file], capture_output=True, text=True, check=False)
    assert "GeneralECG" in said.stderr
    assert "Error" not in said.stderr
    assert said.returncode == 0
