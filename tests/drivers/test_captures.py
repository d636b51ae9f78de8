"""Every captured frame says what its folder expects, through the one public decoder."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from drivers.card import card
from drivers.decode import UnknownSource, decode_frame

CAPTURES = Path(__file__).parent.parent / "captures"
FRAMES = sorted(folder.parent for folder in CAPTURES.glob("*/*/wire.hex"))


def test_there_are_captures_of_both_bluetooth_drivers() -> None:
    assert {"blood-pressure", "thermometer"} <= {folder.parent.name for folder in FRAMES}


@pytest.mark.parametrize("folder", FRAMES, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_capture_decodes_to_what_is_expected(folder: Path) -> None:
    case = tomllib.loads((folder / "case.toml").read_text("utf-8"))
    raw = bytes.fromhex((folder / "wire.hex").read_text("utf-8"))
    expected = json.loads((folder / "expected.json").read_text("utf-8"))

    source = case.get("characteristic", card(folder.parent.name).sources[0])
    said = decode_frame(source, raw, case.get("name"))

    assert case["source"]
    assert json.loads(json.dumps(said)) == expected


def test_source_is_known_in_any_case() -> None:
    assert decode_frame("2a1c", bytes.fromhex("0025000000"), None)["outcome"] == "reading"


def test_intermediate_cuff_pressure_is_no_reading() -> None:
    said = decode_frame("2A36", bytes.fromhex("008200FF07FF07"), None)
    assert (said["outcome"], said["readings"]) == ("no-reading", [])


def test_unknown_source_is_told_the_known_ones() -> None:
    with pytest.raises(UnknownSource, match="2A35") as caught:
        decode_frame("2A99", b"", None)
    assert {"2A35", "2A36", "2A1C"} <= set(caught.value.known)
