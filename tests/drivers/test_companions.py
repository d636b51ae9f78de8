"""What stands beside a measurement: identity, battery, clock, the asking for records."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.companions import (
    LONGEST_TEXT,
    SystemId,
    decode_battery,
    decode_current_time,
    decode_system_id,
    decode_text,
    encode_battery,
    encode_current_time,
    encode_system_id,
    encode_text,
)
from drivers.errors import ProtocolFault
from drivers.record_access import (
    Answer,
    Count,
    decode_answer,
    decode_request,
    encode_answer,
    report_all,
    report_from,
)

if TYPE_CHECKING:
    from collections.abc import Callable

DECODERS = [
    lambda raw: decode_text(raw, "model"),
    decode_battery,
    decode_current_time,
    decode_system_id,
    decode_answer,
    decode_request,
]


@pytest.mark.parametrize("decode", DECODERS)
@given(raw=st.binary(max_size=140))
def test_any_octets_are_understood_or_a_fault(
    decode: Callable[[bytes], object], raw: bytes
) -> None:
    try:
        decode(raw)
    except ProtocolFault as fault:
        assert fault.reason.endswith(".")  # noqa: PT017 - either outcome is legal


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=30))
def test_text_is_read_as_it_was_written_without_its_padding(text: str) -> None:
    assert decode_text(encode_text(text), "model") == text
    assert decode_text(encode_text(text) + b"\0\0 \r\n", "model") == text


@pytest.mark.parametrize("raw", [b"", b"\0", b"  \0"])
def test_empty_text_is_none(raw: bytes) -> None:
    assert decode_text(raw, "model") is None


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"a\x1b[2Jb", "a\u202eb".encode(), b"\xc3", b"a\0b"])
def test_text_that_is_none_is_a_fault_that_names_its_field(raw: bytes) -> None:
    with pytest.raises(ProtocolFault, match="serial in no readable text"):
        decode_text(raw, "serial")


def test_text_longer_than_a_label_is_a_fault() -> None:
    assert decode_text(b"a" * LONGEST_TEXT, "model")
    with pytest.raises(ProtocolFault, match="length"):
        decode_text(b"a" * (LONGEST_TEXT + 1), "model")
    with pytest.raises(ValueError, match="label"):
        encode_text("a" * (LONGEST_TEXT + 1))


@given(st.integers(0, 255))
def test_battery_is_a_percentage(octet: int) -> None:
    if octet > 100:
        with pytest.raises(ProtocolFault, match="battery"):
            decode_battery(bytes([octet]))
        with pytest.raises(ValueError, match="percent"):
            encode_battery(octet)
    else:
        assert decode_battery(encode_battery(octet)) == octet


@given(st.datetimes(datetime(1600, 1, 1), datetime(9998, 1, 1)))  # noqa: DTZ001
def test_current_time_is_exact_to_a_256th_of_a_second(when: datetime) -> None:
    decoded = decode_current_time(encode_current_time(when))
    assert decoded is not None
    assert timedelta(0) <= when - decoded <= timedelta(seconds=1 / 256)


def test_current_time_is_laid_out_as_the_service_says() -> None:
    saturday = datetime(2026, 11, 21, 9, 30, 15, 500_000)  # noqa: DTZ001
    assert encode_current_time(saturday).hex() == "ea070b15091e0f" + "06" + "80" + "00"


def test_unknown_date_is_no_time_and_an_eighth_day_of_the_week_a_fault() -> None:
    assert decode_current_time(bytes(10)) is None
    with pytest.raises(ProtocolFault, match="day of the week"):
        decode_current_time(bytes.fromhex("ea070b15091e0f080000"))


@given(st.integers(0, 2**40 - 1), st.integers(0, 2**24 - 1))
def test_system_id_is_read_as_it_was_written(number: int, company: int) -> None:
    system = SystemId(number, company)
    assert decode_system_id(encode_system_id(system)) == system


@given(st.integers(0, 0xFFFF))
def test_requests_are_those_of_the_profile(sequence: int) -> None:
    assert report_all().hex() == "0101"
    assert report_from(sequence) == b"\x01\x03\x01" + sequence.to_bytes(2, "little")
    assert decode_request(report_from(sequence)) == sequence
    assert decode_request(report_all()) is None


@pytest.mark.parametrize("sequence", [-1, 0x10000])
def test_no_sequence_number_is_asked_for_that_cannot_be(sequence: int) -> None:
    with pytest.raises(ValueError, match="sequence"):
        report_from(sequence)


@pytest.mark.parametrize("raw", ["0201", "020301000000", "0300", "0401", "01"])
def test_no_request_deletes_stops_or_counts(raw: str) -> None:
    with pytest.raises(ProtocolFault):
        decode_request(bytes.fromhex(raw))


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 0xFFFF))
def test_answers_are_read_as_they_were_written(op_code: int, code: int, records: int) -> None:
    for answer in (Answer(op_code, code), Count(records)):
        assert decode_answer(encode_answer(answer)) == answer


def test_program_holds_no_way_to_delete_a_record() -> None:
    import drivers.record_access as access  # noqa: PLC0415 - its names are what is tested

    assert not [name for name in dir(access) if "delete" in name.lower()]
    made = {report_all()[0]} | {report_from(number)[0] for number in range(0x10000)}
    assert made == {access.REPORT}
