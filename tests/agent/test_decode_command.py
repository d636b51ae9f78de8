"""`qafila decode`: captured frames by the real command, and every way to ask wrongly."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner, Result

from agent.cli import cli
from drivers.card import card, cards
from tests.contract.cases import cases, codec

from .unit import ROOT, run_cli

# Captured frames as they stand in public sources (see their folders under tests/captures).
CUFFS = {
    "BP1": ("def6f416f3ff07e4070114082b00b2f2018000", None, ("127.0", "79.0", "69.0")),
    "BP2": ("167c0056006100e807060f11111b33000000", None, ("124", "86", "97", "51")),
    "BP3": ("566a0047000000ea07080b121f00003f000000", "Beurer BM85", ("106", "71", "63")),
    "BP4": ("56710049000000ea07080b1438000041010000", "Beurer BM85", ("113", "73", "65")),
}
THERMOMETERS = {
    "06680100ffe207030a15340002": "36.0",
    "066a0100ffe207030a14140002": "36.2",
    "06700100ffe207030a141b0002": "36.8",
    "06d70a00fee107081e082d3504": "27.75",
    "06b00e00fedc070c050b092704": "37.60",
    "06660100ffda070102011d0000": "35.8",
    "066b0100ffda070102011f0000": "36.3",
    "06640f00fedc070c050b0b3604": "39.40",
}
SENTENCE = re.compile(r"Error: [^\n]+\n")


def decode(*words: str) -> Result:
    return CliRunner().invoke(cli, ["decode", *words])


@pytest.mark.parametrize("name", CUFFS)
def test_captured_cuffs_decode_to_the_digits_they_showed(name: str) -> None:
    frame, called, values = CUFFS[name]
    words = ("2A35", frame, "--json") + (("--name", called) if called else ())
    told = decode(*words)
    assert told.exit_code == 0
    (reading,) = json.loads(told.stdout)["readings"]
    assert tuple(value["value"] for value in reading["values"]) == values


@pytest.mark.parametrize("frame", THERMOMETERS)
def test_captured_thermometers_decode_to_the_digits_they_showed(frame: str) -> None:
    told = decode("2a1c", frame.upper(), "--json")
    assert told.exit_code == 0
    (reading,) = json.loads(told.stdout)["readings"]
    assert [value["value"] for value in reading["values"]] == [THERMOMETERS[frame]]
    assert f"{THERMOMETERS[frame]} °C" in decode("2A1C", frame).stdout


def test_the_example_of_the_page_is_what_a_process_of_its_own_prints() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text("utf-8")
    example = re.search(r"\$ qafila (decode .*)\n([^`]+)```", page)
    assert example
    told = run_cli(*example[1].split())
    assert (told.returncode, told.stdout, told.stderr) == (0, example[2], "")


def test_quirk_hangs_on_the_name() -> None:
    frame, called, _ = CUFFS["BP3"]
    assert called
    told = decode("2A35", frame)
    assert told.exit_code == 1
    assert told.stdout.startswith("rejected: ")
    assert decode("2A35", frame, "--name", called).exit_code == 0


def test_frame_that_is_not_to_be_decoded_ends_with_1_and_its_reason() -> None:
    told = decode("2A35", "16", "--json")
    assert told.exit_code == 1
    said = json.loads(told.stdout)
    assert (said["outcome"], said["readings"]) == ("rejected", [])
    assert said["reason"].endswith(".")


def test_truncated_and_flipped_frames_never_end_in_a_traceback() -> None:
    for frame, called, _ in CUFFS.values():
        words = ("--name", called) if called else ()
        for digits in range(2, len(frame), 2):
            assert decode("2A35", frame[:digits], *words).exit_code in {0, 1}
        for place in range(len(frame)):
            flipped = frame[:place] + f"{int(frame[place], 16) ^ 8:x}" + frame[place + 1 :]
            told = decode("2A35", flipped, *words)
            assert told.exit_code in {0, 1}
            assert isinstance(told.exception, SystemExit | None)


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        ("", "empty"),
        ("167", "odd number"),
        ("16 7c", "hexadecimal digits only"),
        ("16:7c", "hexadecimal digits only"),
        ("0x167c", "hexadecimal digits only"),
        ("xyz!", "hexadecimal digits only"),
        ("-16", "hexadecimal digits only"),
        ("-", "hexadecimal digits only"),
        ("--16", "hexadecimal digits only"),
        ("١٦", "hexadecimal digits only"),  # digits, but not of this alphabet
        ("16\n", "hexadecimal digits only"),
        ("\x00", "hexadecimal digits only"),
        ("f" * 1_000_001, "odd number"),
        ("-" + "0" * 1_000_000, "hexadecimal digits only"),
    ],
    ids=lambda text: repr(text[:12]),
)
def test_wrong_digits_give_one_sentence(frame: str, why: str) -> None:
    told = decode("2A35", frame)
    assert told.exit_code == 1
    assert told.stdout == ""
    assert SENTENCE.fullmatch(told.stderr)
    assert why in told.stderr


@pytest.mark.parametrize("source", ["2A35", "2A1C", "healthypi6", "dermatoscope"])
def test_a_megabyte_of_digits_is_refused_in_a_sentence(source: str) -> None:
    told = decode(source, "5a" * (1 << 19))
    assert told.exit_code == 1
    assert told.stdout.startswith("rejected: ")
    assert told.stdout.count("\n") == 1


def test_unknown_source_names_the_known_ones() -> None:
    told = decode("2A99", "00")
    assert told.exit_code == 1
    assert SENTENCE.fullmatch(told.stderr)
    for known in ("2A35", "2A1C", "healthypi6", "dermatoscope"):
        assert known in told.stderr


EVERY_SOURCE = [(each.name, source) for each in cards() for source in each.sources]


@pytest.mark.parametrize(("driver", "source"), EVERY_SOURCE)
def test_every_source_of_every_card_is_decoded_as_its_captures_say(
    driver: str, source: str
) -> None:
    known = [case for case in cases(driver) if case.raw]
    sources = {each.lower() for each in card(driver).sources}
    assert {case.source.lower() for case in known} <= sources
    # A source without captures of its own is another name for the first one's frames.
    own = [case for case in known if case.source.lower() == source.lower()]
    assert own or source.upper() not in getattr(codec(driver), "DECODERS", {})
    alias = [case for case in known if case.source == card(driver).sources[0]]
    assert own or alias
    for case in own or alias:
        words = ("--name", case.device) if case.device else ()
        told = decode(source, case.raw.hex(), "--json", *words)
        assert json.loads(told.stdout) == case.expected, str(case)
        assert told.exit_code == (0 if case.expected["outcome"] == "reading" else 1), str(case)


@pytest.mark.parametrize("words", [(), ("2A35",), ("2A35", "00", "00")])
def test_too_few_or_too_many_words_are_a_usage_error(words: tuple[str, ...]) -> None:
    assert decode(*words).exit_code == 2


def test_a_process_of_its_own_ends_with_the_same_codes() -> None:
    for words, code in (
        (("2A35", CUFFS["BP2"][0]), 0),
        (("2A35", "16"), 1),
        (("2A35", "-16"), 1),
        ((), 2),
    ):
        told = run_cli("decode", *words)
        assert told.returncode == code
        assert "Traceback" not in told.stderr
