"""Codecs: what a capture says, and that nothing but `ProtocolFault` ever leaves one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import pytest

from drivers import DRIVERS
from drivers.card import driver_of_source
from drivers.decode import decode_frame
from tests.contract.cases import CAPTURES, Case, cases, codec, folders, held_to, load
from tests.contract.fuzz import FUZZED, decode_fuzzed, feed_noise, judge

if TYPE_CHECKING:
    from pathlib import Path

SEED = int(os.environ.get("QAFILA_FUZZ_SEED", "20260101"))
CUTS = 50
IMPURE = ("asyncio", "serial", "bleak", "av", "sqlite3", "sqlcipher3", "socket", "bumble")


def captured(rule: str) -> list[Case]:
    return [case for driver in held_to(rule) for case in cases(driver)]


def every_folder() -> list[Path]:
    return [folder for driver in DRIVERS for folder in folders(driver)]


@pytest.mark.parametrize(
    "folder", every_folder(), ids=lambda each: f"{each.parent.name}/{each.name}"
)
def test_capture_says_what_its_folder_expects(folder: Path) -> None:
    case = load(folder)
    said = decode_frame(case.source, case.raw, case.device)
    assert json.loads(json.dumps(said)) == case.expected
    assert judge(case, case.raw) == case.expected["outcome"]


@pytest.mark.parametrize(
    "folder", every_folder(), ids=lambda each: f"{each.parent.name}/{each.name}"
)
def test_capture_names_the_device_it_is_from_or_says_synthetic(folder: Path) -> None:
    about = load(folder).about
    assert {"source"} <= set(about) <= {"source", "name", "characteristic"}
    source = about["source"]
    assert len(source.split()) > 1, source
    assert driver_of_source(source) is None


def test_every_capture_belongs_to_a_driver() -> None:
    assert {each.name for each in CAPTURES.iterdir() if each.is_dir()} <= set(DRIVERS)


@pytest.mark.parametrize("driver", held_to("captures"))
def test_captures_show_a_reading_and_a_rejection(driver: str) -> None:
    assert {"reading", "rejected"} <= {case.expected["outcome"] for case in cases(driver)}


@pytest.mark.parametrize("case", captured("truncation"), ids=str)
def test_every_truncation_is_a_fault_or_legal(case: Case) -> None:
    for length in range(len(case.raw)):
        judge(case, case.raw[:length])


@pytest.mark.parametrize("case", captured("bit-flips"), ids=str)
def test_every_bit_flip_is_a_fault_or_legal(case: Case) -> None:
    for at in range(len(case.raw)):
        for bit in range(8):
            flipped = bytearray(case.raw)
            flipped[at] ^= 1 << bit
            judge(case, bytes(flipped))


@pytest.mark.parametrize("driver", DRIVERS)
def test_fuzzed_frames_are_faults_or_legal(driver: str) -> None:
    print(f"seed {SEED}, {FUZZED} frames")  # noqa: T201 - shown where it fails, and by the soak
    assert "rejected" in decode_fuzzed(driver, SEED, FUZZED)


@pytest.mark.parametrize("case", captured("byte-by-byte"), ids=str)
def test_stream_says_the_same_whole_byte_by_byte_and_in_any_cuts(case: Case) -> None:
    print(f"seed {SEED}")  # noqa: T201 - shown by pytest where it fails
    chance = Random(SEED)
    whole = heard(case, [case.raw])
    assert heard(case, [case.raw[at : at + 1] for at in range(len(case.raw))]) == whole
    for _ in range(CUTS):
        cuts = sorted(chance.randrange(len(case.raw) + 1) for _ in range(chance.randint(1, 9)))
        edges = [0, *cuts, len(case.raw)]
        pieces = [case.raw[start:end] for start, end in pairwise(edges)]
        assert heard(case, pieces) == whole


def heard(case: Case, pieces: list[bytes]) -> list[object]:
    """The events of a stream. Bytes passed over (`raw`, for a `reason`) may come in any cuts."""
    framer = codec(case.driver).Framer()
    events: list[object] = []
    passed_over = b""
    for event in (event for piece in pieces for event in framer.feed(piece)):
        if hasattr(event, "reason"):
            passed_over += event.raw
            continue
        events += [passed_over, event]
        passed_over = b""
    return [*events, passed_over]


@pytest.mark.parametrize("driver", held_to("byte-by-byte"))
def test_stream_of_noise_raises_only_faults(driver: str) -> None:
    print(f"seed {SEED}, {FUZZED // 4} frames")  # noqa: T201 - as above
    feed_noise(driver, SEED, FUZZED // 4)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("module", ["codec", "simulator"])
def test_pure_modules_load_no_edge(driver: str, module: str) -> None:
    name = f"{DRIVERS[driver]}.{module}"
    program = f"import sys, {name}; print(*sorted(set(sys.modules) & set({IMPURE!r})))"
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == []
