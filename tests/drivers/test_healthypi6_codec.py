"""HealthyPi 6 framing and decoding: every byte accounted for, no number from a damaged block."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import Decoded, NoReading
from drivers.errors import ProtocolFault
from drivers.framing import Skipped
from drivers.healthypi6.codec import decode, recover
from drivers.healthypi6.framing import (
    LONGEST,
    OVERHEAD,
    Block,
    Event,
    Framer,
    Reason,
    encode,
)
from drivers.healthypi6.samples import ECG_LAYOUT, Channel, ecg_samples
from drivers.healthypi6.simulator import BATCH, Mishap, Planned, simulate
from drivers.healthypi6.tape import Keep, Tape

if TYPE_CHECKING:
    from collections.abc import Iterable

CAPTURES = Path(__file__).parents[1] / "captures" / "healthypi6"
VENDOR = bytes.fromhex((CAPTURES / "vendor-two-samples" / "wire.hex").read_text("ascii"))

micro_volts = st.integers(-(2**31), 2**31 - 1)
ecg_rows = st.lists(
    st.tuples(micro_volts, micro_volts, micro_volts, micro_volts, st.integers(0, 15)), max_size=40
)


def spoken(seconds: float, *mishaps: Planned) -> bytes:
    return b"".join(raw for _, raw in simulate(seconds, mishaps))


def heard(chunks: Iterable[bytes]) -> list[Event]:
    framer = Framer()
    events = [event for chunk in chunks for event in framer.feed(chunk)]
    return events + framer.close()


def blocks_of(events: Iterable[Event]) -> list[Block]:
    return [event for event in events if isinstance(event, Block)]


def cut_at_random(raw: bytes, seed: int) -> list[bytes]:
    random = Random(seed)
    cuts = sorted({0, len(raw), *(random.randrange(len(raw)) for _ in range(50))})
    return [raw[a:b] for a, b in pairwise(cuts)]


def test_vendor_frame_holds_the_samples_its_encoder_was_given() -> None:
    (block,) = blocks_of(heard([VENDOR]))
    assert (block.seq, block.t_ms, block.channel, block.count) == (7, 123456, Channel.ECG, 2)
    assert [sample[:4] for sample in ecg_samples(block)] == [(100, 0, 0, 0), (101, 250, -120, 80)]


def test_whole_bytewise_and_random_cuts_give_the_same_blocks() -> None:
    raw = b"noise" + spoken(1.0) + b"DBLK" + spoken(0.3) + b"DB"
    whole = heard([raw])
    assert len(blocks_of(whole)) > 50
    singly = heard(raw[n : n + 1] for n in range(len(raw)))
    assert blocks_of(singly) == blocks_of(whole)
    for seed in range(20):
        assert blocks_of(heard(cut_at_random(raw, seed))) == blocks_of(whole)


def test_nothing_comes_early_and_trailing_bytes_wait() -> None:
    framer = Framer()
    for byte in VENDOR[:-1]:
        assert framer.feed(bytes([byte])) == []
    assert [event.raw for event in framer.feed(VENDOR[-1:] + VENDOR[:30])] == [VENDOR]
    assert [event.raw for event in framer.feed(VENDOR[30:])] == [VENDOR]


@given(st.lists(st.one_of(st.binary(max_size=80), st.just(VENDOR), st.just(VENDOR[:50]))))
def test_every_byte_leaves_in_exactly_one_event(parts: list[bytes]) -> None:
    events = heard(parts)
    assert b"".join(event.raw for event in events) == b"".join(parts)
    assert all(event.raw for event in events)


@given(st.binary(max_size=200), st.integers(0, 60))
def test_sound_block_is_found_behind_any_garbage(garbage: bytes, cut: int) -> None:
    raw = garbage + VENDOR[:cut] + VENDOR
    assert VENDOR in [event.raw for event in blocks_of(heard([raw]))]


def test_block_inside_a_false_start_costs_one_byte_not_the_block() -> None:
    false_start = b"DBLK" + (400).to_bytes(4, "little") + b"\0" * 20
    events = heard([false_start + VENDOR * 6])
    assert isinstance(events[0], Skipped)
    assert events[0].raw == false_start
    assert events[0].reason is Reason.CHECKSUM
    assert [event.raw for event in events[1:]] == [VENDOR] * 6


@pytest.mark.parametrize("length", [0, OVERHEAD - 1, LONGEST + 1, 0xFFFFFFFF])
def test_impossible_length_is_not_waited_for(length: int) -> None:
    framer = Framer()
    (skipped,) = framer.feed(b"DBLK" + length.to_bytes(4, "little"))
    assert isinstance(skipped, Skipped)
    assert skipped.reason is Reason.LENGTH


@pytest.mark.parametrize("payload", [b"", b"\1" * (LONGEST - OVERHEAD)])
def test_shortest_and_longest_block_are_blocks(payload: bytes) -> None:
    (block,) = blocks_of(heard([encode(1, 2, 9, payload, 1)]))
    assert block.payload == payload


def test_buffer_stays_below_one_block_whatever_comes() -> None:
    framer = Framer()
    longest = b"DBLK" + LONGEST.to_bytes(4, "little")
    for seed in range(60):
        framer.feed(Random(seed).randbytes(3000) + longest * 4)
        assert len(framer._buffer) < LONGEST


def test_truncated_frame_is_refused_and_the_stream_waits() -> None:
    for cut in range(len(VENDOR)):
        assert blocks_of(Framer().feed(VENDOR[:cut])) == []
        with pytest.raises(ProtocolFault):
            decode(VENDOR[:cut])


def test_flipped_bit_never_gives_a_block() -> None:
    for bit in range(len(VENDOR) * 8):
        damaged = bytearray(VENDOR)
        damaged[bit // 8] ^= 1 << bit % 8
        assert blocks_of(heard([bytes(damaged)])) == []
        with pytest.raises(ProtocolFault):
            decode(bytes(damaged))


@given(st.binary(max_size=300))
def test_only_a_protocol_fault_leaves_decode(raw: bytes) -> None:
    with pytest.raises(ProtocolFault):
        decode(raw)


@given(st.integers(0, 255), st.integers(0, 65535), st.binary(max_size=120))
def test_only_a_protocol_fault_leaves_decode_of_sound_blocks(
    channel: int, count: int, payload: bytes
) -> None:
    try:
        outcome = decode(encode(3, 4, channel, payload, count))
    except ProtocolFault:
        assert channel == Channel.ECG
        assert len(payload) != 20 * count
    else:
        has_samples = channel == Channel.ECG and count > 0
        assert isinstance(outcome, Decoded if has_samples else NoReading)


@given(ecg_rows, st.integers(0, 2**32 - 1), st.integers(0, 2**63))
def test_encoded_samples_decode_to_themselves(
    rows: list[tuple[int, int, int, int, int]], seq: int, t_ms: int
) -> None:
    payload = b"".join(ECG_LAYOUT.pack(*row, 0, 0) for row in rows)
    (block,) = blocks_of(heard([encode(seq, t_ms, Channel.ECG, payload, len(rows))]))
    assert (block.seq, block.t_ms) == (seq, t_ms)
    assert [tuple(sample[:5]) for sample in ecg_samples(block)] == rows


def test_fault_says_where_the_capture_goes_wrong() -> None:
    with pytest.raises(ProtocolFault) as caught:
        decode(VENDOR + b"x" + VENDOR)
    assert caught.value.offset == len(VENDOR)


def test_long_capture_leaves_its_samples_in_raw() -> None:
    raw = spoken(5 * BATCH / 500)
    outcome = decode(raw)
    assert isinstance(outcome, Decoded)
    (reading,) = outcome.readings
    assert reading.values == ()
    assert raw.endswith(reading.raw)


def kept_frames(raw: bytes, reads: int = 30) -> list[bytes]:
    """What the driver keeps of a stream read in equal pieces, half a second apart."""
    tape = Tape(0.0)
    size = len(raw) // reads + 1
    for n in range(reads):
        tape.feed(raw[n * size : (n + 1) * size], n / 2)
    tape.feed(b"", reads)
    return [act.raw for act in tape.acts if isinstance(act, Keep)]


def test_recovered_recording_holds_all_that_was_kept() -> None:
    frames = kept_frames(spoken(4.0))
    outcome = recover(frames)
    assert isinstance(outcome, Decoded)
    (reading,) = outcome.readings
    assert len(frames) > 5
    assert reading.raw == b"".join(frames)
    assert reading.quality == ("cut-short",)
    assert [blob.media_type for blob in reading.blobs] == ["application/dicom"]


def test_recovery_tells_recordings_apart_at_a_restart() -> None:
    outcome = recover(kept_frames(spoken(4.0, Planned(2.0, Mishap.RESTART))))
    assert isinstance(outcome, Decoded)
    assert [reading.quality for reading in outcome.readings] == [("restarted",), ("cut-short",)]


def test_recovery_dates_by_when_frames_were_kept() -> None:
    frames = kept_frames(spoken(4.0))
    begin = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)
    dated = recover(frames, [begin + timedelta(seconds=n) for n in range(len(frames))])
    assert isinstance(dated, Decoded)
    assert b"20261122" in dated.readings[0].blobs[0].content
    with pytest.raises(ProtocolFault):
        recover(frames, [begin])


@pytest.mark.parametrize("frames", [[], [b""], [VENDOR, VENDOR[:9]], [VENDOR, b"?", VENDOR]])
def test_frames_that_were_not_kept_by_us_are_refused(frames: list[bytes]) -> None:
    with pytest.raises(ProtocolFault):
        recover(frames)
