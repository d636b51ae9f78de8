"""IEEE 11073 numbers and GSS dates: exact both ways, and never an error of another kind."""

# ruff: noqa: DTZ001 - devices know no time zone

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import ProtocolFault
from drivers.medfloat import (
    Reader,
    Special,
    decode_date_time,
    decode_float,
    decode_sfloat,
    encode_date_time,
    encode_float,
    encode_sfloat,
)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (0x007C, "124"),
        (0xF4F6, "127.0"),
        (0xF168, "36.0"),
        (0x0000, "0"),
        (0x0FFF, "-1"),
        (0x07FD, "2045"),
        (0x0803, "-2045"),
        (0xF7FF, "204.7"),
        (0xF800, "-204.8"),
        (0x100C, "1.2E+2"),
        (0x8001, "1E-8"),
    ],
)
def test_sfloat_keeps_the_digits_it_came_with(word: int, text: str) -> None:
    assert str(decode_sfloat(word)) == text


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (0xFF000168, "36.0"),
        (0xFE000EB0, "37.60"),
        (0x0000007C, "124"),
        (0xFFFFFFFF, "-0.1"),
        (0x7F000001, "1E+127"),
        (0x80000000, "0E-128"),
    ],
)
def test_float_keeps_the_digits_it_came_with(word: int, text: str) -> None:
    assert str(decode_float(word)) == text


@pytest.mark.parametrize(
    ("word", "special"),
    [
        (0x07FE, Special.POSITIVE_INFINITY),
        (0x07FF, Special.NAN),
        (0x0800, Special.NRES),
        (0x0801, Special.RESERVED),
        (0x0802, Special.NEGATIVE_INFINITY),
    ],
)
def test_sfloat_special_is_no_number(word: int, special: Special) -> None:
    assert decode_sfloat(word) is special
    assert encode_sfloat(special) == word


@pytest.mark.parametrize(
    ("word", "special"),
    [
        (0x007FFFFE, Special.POSITIVE_INFINITY),
        (0x007FFFFF, Special.NAN),
        (0x00800000, Special.NRES),
        (0x00800001, Special.RESERVED),
        (0x00800002, Special.NEGATIVE_INFINITY),
    ],
)
def test_float_special_is_no_number_under_any_exponent(word: int, special: Special) -> None:
    assert decode_float(word) is special
    assert decode_float(word | 0xFF000000) is special
    assert encode_float(special) == word


def test_every_sfloat_word_comes_back_as_itself() -> None:
    changed = [word for word in range(0x10000) if encode_sfloat(decode_sfloat(word)) != word]
    assert changed == []


@given(st.integers(0, 0xFFFFFFFF))
def test_every_float_number_comes_back_as_itself(word: int) -> None:
    number = decode_float(word)
    back = encode_float(number)
    assert back == (word & 0xFFFFFF if isinstance(number, Special) else word)


@given(st.integers(0, 0xFFFFFFFF))
def test_text_of_a_float_stays_short(word: int) -> None:
    number = decode_float(word)
    assert isinstance(number, Special) or len(str(number)) < 16


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_encoding_says_a_number_exactly_or_refuses_it(number: Decimal) -> None:
    for encode, decode in ((encode_sfloat, decode_sfloat), (encode_float, decode_float)):
        try:
            said = decode(encode(number))
        except ValueError:
            continue
        assert said == number


@pytest.mark.parametrize("word", ["2047", "-2048", "2048", "1E+8", "1E-9", "NaN", "Infinity"])
def test_sfloat_refuses_what_it_cannot_say(word: str) -> None:
    with pytest.raises(ValueError, match=word.replace("+", r"\+")):
        encode_sfloat(Decimal(word))


def test_float_refuses_its_special_mantissas_under_any_exponent() -> None:
    with pytest.raises(ValueError, match="special"):
        encode_float(Decimal("838860.7"))


@given(st.datetimes(min_value=datetime(1582, 1, 1)))
def test_date_and_time_come_back_as_themselves(when: datetime) -> None:
    seconds = when.replace(microsecond=0)
    assert decode_date_time(encode_date_time(seconds)) == seconds


@given(st.binary(max_size=9))
def test_date_is_a_time_or_unknown_or_a_fault(raw: bytes) -> None:
    try:
        when = decode_date_time(raw)
    except ProtocolFault:
        return
    assert len(raw) == 7
    assert when is None or encode_date_time(when) == raw


@pytest.mark.parametrize("raw", ["00000B050C0D0E", "EA07000B0C0D0E", "EA0702000C0D0E", "00" * 7])
def test_date_with_an_unknown_part_is_unknown(raw: str) -> None:
    assert decode_date_time(bytes.fromhex(raw)) is None


@pytest.mark.parametrize(
    "raw",
    [
        "EA07021D000000",  # 29 February 2026
        "EA070D01000000",
        "EA070120000000",
        "EA070101180000",
        "EA0701010C3C00",
        "EA0701010C003C",
        "2D060101000000",  # 1581
        "10270101000000",  # 10000
        "00000000190000",  # an hour of 25 in an unknown date
        "EA07",
    ],
)
def test_date_that_cannot_be_is_a_fault(raw: str) -> None:
    with pytest.raises(ProtocolFault):
        decode_date_time(bytes.fromhex(raw))


def test_date_unknown_is_seven_zeros() -> None:
    assert encode_date_time(None) == bytes(7)


def test_date_before_the_calendar_cannot_be_encoded() -> None:
    with pytest.raises(ValueError, match="1582"):
        encode_date_time(datetime(1581, 12, 31))


def test_reader_tells_where_a_frame_is_short() -> None:
    reader = Reader(b"\x01\x02\x03")
    assert reader.unsigned(2) == 0x0201
    with pytest.raises(ProtocolFault) as caught:
        reader.sfloat()
    assert caught.value.offset == 3


def test_reader_tells_where_a_frame_goes_on() -> None:
    reader = Reader(b"\x00\x7c\xff")
    assert reader.sfloat("big") == 124
    with pytest.raises(ProtocolFault) as caught:
        reader.end()
    assert caught.value.offset == 2
