"""HealthyPi 6 recordings: gaps stay gaps, a restart parts them, silence ends them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import ProtocolFault
from drivers.healthypi6.framing import LONGEST, Block, Framer, encode
from drivers.healthypi6.recording import LONGEST_S, Ending, Recorder, Recording
from drivers.healthypi6.samples import ECG_LAYOUT, VITALS_LAYOUT, Channel
from drivers.healthypi6.simulator import Mishap, Planned, lead_values, simulate
from drivers.healthypi6.tape import SPOILED, STRANGE, Finish, Keep, SetAside, Tape

if TYPE_CHECKING:
    from collections.abc import Iterable

BATCH_MS = 32


def ecg(seq: int, t_ms: int, count: int = 16, off: int = 0) -> bytes:
    payload = b"".join(ECG_LAYOUT.pack(0, n + 1, -n, n * n, off, 0, 0) for n in range(count))
    return encode(seq, t_ms, Channel.ECG, payload, count)


def vitals(seq: int, t_ms: int, rate: int, flags: int = 0) -> bytes:
    return encode(seq, t_ms, 4, VITALS_LAYOUT.pack(rate, 975, 0, 0, 0, 0, 0, flags), 1)


def other(seq: int, t_ms: int) -> bytes:
    return encode(seq, t_ms, 77, b"?", 1)


def recorded(parts: Iterable[bytes], ending: Ending = Ending.QUIET) -> list[Recording]:
    recorder = Recorder()
    closed = []
    for n, event in enumerate(Framer().feed(b"".join(parts))):
        assert isinstance(event, Block)
        closed += recorder.take(event, float(n))
    return closed + recorder.close(ending)


def present(recording: Recording) -> int:
    return sum(sample is not None for sample in recording.samples)


def test_recording_is_the_exact_blocks_and_their_samples() -> None:
    parts = [ecg(1, 1000), other(2, 1004), ecg(3, 1032)]
    (whole,) = recorded(parts)
    assert whole.raw == b"".join(parts)
    assert whole.quality == ()
    assert whole.duration == Decimal("0.064")
    leads = [trace.samples for trace in whole.traces]
    assert leads[0] == (*range(1, 17), *range(1, 17))
    assert leads[1][:3] == (0, -1, -2)
    assert leads[2][:3] == (0, 1, 4)


def test_blocks_before_the_first_lead_belong_to_no_recording() -> None:
    (whole,) = recorded([other(1, 900), ecg(2, 1000)])
    assert whole.raw == ecg(2, 1000)
    assert recorded([other(1, 900), vitals(2, 1000, 70)]) == []


@pytest.mark.parametrize("lost", [1, 2, 30])
def test_lost_blocks_leave_a_gap_of_their_length(lost: int) -> None:
    (whole,) = recorded([ecg(1, 1000), ecg(2 + lost, 1032 + lost * BATCH_MS)])
    assert whole.samples[16 : 16 + lost * 16] == (None,) * (lost * 16)
    assert present(whole) == 32
    assert whole.quality == ("blocks-missing", "gaps")
    assert whole.traces[0].samples[16] is None


def test_samples_lost_before_numbering_are_a_gap_too() -> None:
    (whole,) = recorded([ecg(1, 1000), ecg(2, 1032 + BATCH_MS)])
    assert whole.quality == ("gaps",)
    assert len(whole.samples) - present(whole) == 16


def test_lost_block_of_another_channel_is_said_and_is_no_gap() -> None:
    (whole,) = recorded([ecg(1, 1000), ecg(3, 1032)])
    assert whole.quality == ("blocks-missing",)
    assert present(whole) == len(whole.samples)


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=60))
def test_stamps_a_few_milliseconds_off_make_no_gap(jitter: list[int]) -> None:
    parts = [ecg(n, 1000 + n * BATCH_MS + off) for n, off in enumerate(jitter)]
    (whole,) = recorded(parts)
    assert whole.quality == ()
    assert present(whole) == len(whole.samples) == 16 * len(jitter)


def test_blocks_closer_than_their_samples_are_said_to_be_uneven() -> None:
    (whole,) = recorded([ecg(1, 1000), ecg(2, 1016)])
    assert whole.quality == ("timing-uneven",)
    assert len(whole.samples) == 32


@pytest.mark.parametrize(("seq", "t_ms"), [(0, 4000), (7, 90000), (8, 90000), (12, 89999)], ids=str)
def test_number_or_uptime_going_back_parts_two_recordings(seq: int, t_ms: int) -> None:
    first, second = recorded([ecg(8, 90000), ecg(seq, t_ms)])
    assert first.quality == ("restarted",)
    assert second.quality == ()
    assert (first.raw, second.raw) == (ecg(8, 90000), ecg(seq, t_ms))


def test_two_seconds_of_device_time_without_leads_end_a_recording() -> None:
    (joined,) = recorded([ecg(1, 1000), ecg(2, 1032 + 2000)])
    assert len(joined.samples) == 32 + 1000
    apart = recorded([ecg(1, 1000), ecg(2, 1032 + 2001)])
    assert [each.quality for each in apart] == [(), ()]
    (ended,) = recorded([ecg(1, 1000), other(2, 1032 + 2001)])
    assert ended.raw == ecg(1, 1000)


def test_thirty_seconds_split_between_blocks_without_loss() -> None:
    blocks = LONGEST_S * 1000 // BATCH_MS
    parts = [ecg(n, 1000 + n * BATCH_MS) for n in range(blocks + 3)]
    first, second = recorded(parts)
    assert first.quality == ("continues",)
    assert second.quality == ()
    assert len(first.samples) == blocks * 16 <= LONGEST_S * 500
    assert first.raw + second.raw == b"".join(parts)


def test_block_lost_at_the_split_is_said_by_the_second_recording() -> None:
    blocks = LONGEST_S * 1000 // BATCH_MS
    parts = [ecg(n, 1000 + n * BATCH_MS) for n in range(blocks + 3)]
    del parts[blocks]
    _, second = recorded(parts)
    assert second.quality == ("blocks-missing",)


@pytest.mark.parametrize(
    ("bits", "doubtful"),
    [(0, (False, False, False)), (2, (True, False, True)), (8, (False, False, True))],
)
def test_electrode_off_makes_its_leads_doubtful(bits: int, doubtful: tuple[bool, ...]) -> None:
    (whole,) = recorded([ecg(1, 1000), ecg(2, 1032, off=bits)])
    assert tuple(trace.doubtful for trace in whole.traces) == doubtful
    assert ("lead-off" in whole.quality) is bool(bits)


def test_heart_rate_is_the_last_the_device_took_from_the_leads() -> None:
    said = [vitals(2, 1000, 71), vitals(3, 2000, 73), vitals(4, 2001, 0), vitals(5, 2002, 66, 1)]
    (whole,) = recorded([ecg(1, 1000), *said])
    assert whole.heart_rate == 73
    (mute,) = recorded([ecg(1, 1000), vitals(2, 1000, 0)])
    assert mute.heart_rate is None


def test_vitals_of_an_older_format_are_not_guessed_at() -> None:
    (whole,) = recorded([ecg(1, 1000), encode(2, 1001, 4, b"\x48\0" + b"\0" * 10, 1)])
    assert whole.heart_rate is None


def test_motion_and_lead_off_said_by_vitals_are_kept() -> None:
    (whole,) = recorded([ecg(1, 1000), vitals(2, 1000, 71, 0b1010)])
    assert set(whole.quality) == {"lead-off", "motion"}


def test_clock_is_anchored_at_the_first_sample() -> None:
    (event,) = Framer().feed(ecg(1, 1000, count=500))
    recorder = Recorder()
    assert isinstance(event, Block)
    recorder.take(event, 50.0)
    (whole,) = recorder.close(Ending.QUIET)
    assert whole.started == pytest.approx(49.0)


def test_simulated_heart_comes_through_unchanged() -> None:
    (whole,) = recorded(raw for _, raw in simulate(3.0))
    for n, sample in enumerate(whole.samples):
        assert sample is not None
        lead_i, lead_ii, v1 = lead_values(n / 500)
        assert abs(sample.i - lead_i) <= 7
        assert abs(sample.ii - lead_ii) <= 7
        assert abs(sample.v1 - v1) <= 7
    assert whole.heart_rate == 72


def test_simulated_mishaps_show_as_what_they_are() -> None:
    mishaps = [
        Planned(1.0, Mishap.GAP),
        Planned(2.0, Mishap.LEAD_OFF),
        Planned(3.0, Mishap.RESTART),
        Planned(4.0, Mishap.SILENCE, 2.5),
    ]
    qualities = [each.quality for each in recorded(raw for _, raw in simulate(8.0, mishaps))]
    assert qualities == [
        ("blocks-missing", "gaps", "lead-off", "restarted"),
        ("lead-off",),
        ("lead-off",),
    ]


def test_tape_keeps_exactly_the_blocks_of_the_recordings_it_finishes() -> None:
    tape = Tape(0.0)
    for second, raw in simulate(70.0, [Planned(9.0, Mishap.RESTART)]):
        tape.feed(raw, second)
    tape.end(Ending.CUT, 70.0)
    kept = b""
    finished = 0
    for act in tape.acts:
        if isinstance(act, Keep):
            kept += act.raw
        else:
            assert isinstance(act, Finish)
            assert act.recording.raw == kept
            kept = b""
            finished += 1
    assert finished == 4
    assert kept == b""


def test_tape_keeps_about_once_a_second() -> None:
    tape = Tape(0.0)
    for second, raw in simulate(10.0):
        tape.feed(raw, second)
    assert 8 <= len(tape.acts) <= 11


def test_tape_ends_a_recording_after_two_silent_seconds() -> None:
    tape = Tape(0.0)
    tape.feed(ecg(1, 1000), 0.5)
    tape.tick(2.4)
    assert [type(act) for act in tape.acts] == [Keep]
    tape.tick(2.5)
    assert [type(act) for act in tape.acts] == [Keep, Finish]
    assert not tape.recording


def test_tape_finds_blocks_behind_a_false_length_when_the_link_falls_silent() -> None:
    tape = Tape(0.0)
    tape.feed(ecg(0, 968) + b"DBLK" + (60000).to_bytes(4, "little") + ecg(1, 1000), 0.0)
    assert not tape.acts
    tape.tick(2.0)
    assert [type(act) for act in tape.acts] == [Keep, SetAside, Finish]


def test_tape_sets_every_unreadable_byte_aside_with_its_reason() -> None:
    tape = Tape(0.0)
    damaged = bytearray(ecg(2, 1032))
    damaged[50] ^= 1
    tape.feed(ecg(0, 968) + b"???" + ecg(1, 1000) + damaged + ecg(3, 1064), 0.0)
    tape.end(Ending.CUT, 0.1)
    (aside,) = (act for act in tape.acts if isinstance(act, SetAside))
    assert aside.raw == b"???" + damaged
    assert aside.reason == (
        "The stream held bytes that begin no block. The stream held a block with a wrong checksum."
    )
    (finish,) = (act for act in tape.acts if isinstance(act, Finish))
    assert finish.recording.quality == ("blocks-missing", "gaps", "cut-short")


@pytest.mark.parametrize("cut", [1, 4, 31, 100])
def test_tape_passes_over_the_block_it_joined_in_and_no_other(cut: int) -> None:
    tape = Tape(0.0)
    tape.feed(ecg(0, 968)[cut:], 0.0)
    assert not [act for act in tape.acts if isinstance(act, SetAside)]
    tape.feed(ecg(1, 1000) + ecg(2, 1032)[cut:] + ecg(3, 1064), 0.0)
    tape.end(Ending.CUT, 0.1)
    (aside,) = (act for act in tape.acts if isinstance(act, SetAside))
    assert aside.raw == ecg(2, 1032)[cut:]


def test_tape_sets_more_than_a_block_aside_before_the_first_one() -> None:
    tape = Tape(0.0)
    tape.feed(b"\0" * (LONGEST - 1), 0.0)
    tape.feed(ecg(1, 1000), 0.0)
    tape.end(Ending.CUT, 0.1)
    assert not [act for act in tape.acts if isinstance(act, SetAside)]
    silent = Tape(0.0)
    silent.feed(b"\0" * 100, 0.0)
    silent.tick(3.0)
    (aside,) = (act for act in silent.acts if isinstance(act, SetAside))
    assert aside.raw == b"\0" * 100


def test_tape_refuses_a_peer_that_speaks_otherwise() -> None:
    tape = Tape(0.0)
    for _ in range(STRANGE // 1000):
        tape.feed(b"A0;12;34\n" * 111, 0.0)
    with pytest.raises(ProtocolFault, match="not a HealthyPi 6"):
        tape.feed(b"A0;12;34\n" * 111, 0.0)


def test_tape_stops_at_another_layout_and_loses_no_byte() -> None:
    odd = encode(2, 1032, Channel.ECG, b"\0" * 24, 1)
    tape = Tape(0.0)
    with pytest.raises(ProtocolFault):
        tape.feed(ecg(1, 1000) + odd + ecg(3, 1064) + odd[:9], 0.0)
    tape.end(Ending.CUT, 0.0)
    aside = b"".join(act.raw for act in tape.acts if isinstance(act, SetAside))
    (finish,) = (act for act in tape.acts if isinstance(act, Finish))
    assert aside == odd + ecg(3, 1064) + odd[:9]
    assert finish.recording.raw == ecg(1, 1000)


def test_worn_cable_cannot_fill_the_disk() -> None:
    tape = Tape(0.0)
    for n in range(SPOILED // 30000 + 10):
        tape.feed(b"\0" * 30000 + ecg(n, 1000 + n * BATCH_MS), float(n))
    asides = [act for act in tape.acts if isinstance(act, SetAside)]
    assert sum(len(act.raw) for act in asides) == SPOILED
    assert "More than is set aside for one link." in asides[-1].reason
