"""Packets in a stream: found behind false starts, in any cut, and nothing is left unaccounted."""

from __future__ import annotations

import pytest

from drivers.framing import Skipped
from drivers.microlife import codec as microlife
from drivers.packets import CHECKSUM, CUT, LENGTH, NO_START, Packet, crc8_maxim, sum8
from drivers.pc60 import codec as pc60
from drivers.pc60.simulator import wave

VALUE = pc60.values(97, 70, 45)


def test_checksums_are_those_of_the_catalogues() -> None:
    assert crc8_maxim(b"123456789") == 0xA1
    assert sum8(b"123456789") == 0xDD


@pytest.mark.parametrize(
    ("false_start", "reason"),
    [
        (b"\xaa\x55\x0f\x20", CHECKSUM),
        (b"\xaa\x55\x0f\x01", LENGTH),
        (b"\xaa\x55\x0f\xff", LENGTH),
        (b"\xaa\xaa", NO_START),
        (b"noise", NO_START),
    ],
)
def test_packet_behind_a_false_start_is_found(false_start: bytes, reason: str) -> None:
    framer = pc60.Framer()
    stream = false_start + VALUE + wave() * 4
    events = framer.feed(stream)
    assert events == [Skipped(false_start, reason), Packet(VALUE), *[Packet(wave())] * 4]
    assert not framer.holds


def test_beginning_of_a_packet_waits_for_the_rest_and_is_given_up_at_the_end() -> None:
    framer = pc60.Framer()
    assert framer.feed(VALUE[:-1]) == []
    assert framer.holds
    assert framer.feed(VALUE[-1:]) == [Packet(VALUE)]
    assert framer.feed(VALUE[:-1]) == []
    assert framer.close() == [Skipped(VALUE[:-1], CUT)]
    assert framer.feed(VALUE) == [Packet(VALUE)]


def test_whole_packet_in_a_cut_one_is_found_at_the_end() -> None:
    framer = pc60.Framer()
    assert framer.feed(b"\xaa\x55\x0f\x40" + VALUE) == []
    assert framer.close() == [Skipped(b"\xaa\x55\x0f\x40", CUT), Packet(VALUE)]


def test_commands_and_answers_are_built_as_they_were_captured() -> None:
    assert microlife.GIVE_ALL.hex() == "4dff000900000000000000fd52"
    assert microlife.DISCONNECT.hex() == "4dff00020452"
    assert microlife.packet(microlife.ANSWER, microlife.DONE).hex() == "4d3a0002810a"
    assert pc60.values(97, 64, 81).hex() == "aa550f08016140005100c05b"
