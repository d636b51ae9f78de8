"""`make soak`: its last line, its exit code, and that it can fail."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from drivers import DRIVERS
from tests.contract import fuzz
from tests.faults import oracle, soak
from tests.faults.book import Verdict
from tests.faults.oracle import Campaign
from tests.faults.power import Outcome
from tests.faults.scribe import State
from tests.model import schedules

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.cases import Case

KEYS = ["seconds", "seed", "faults", "acknowledged", "at_centre", "lost", "duplicates"]


def test_last_line_is_one_json_object_of_these_keys() -> None:
    tally = soak.Tally(7)
    tally.faults["power-cut-idle"] += 2
    said = json.loads(tally.line())
    assert list(said) == KEYS
    assert said["seed"] == 7
    assert said["faults"] == {"power-cut-idle": 2}


def test_less_than_half_a_minute_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert soak.main("29", "1") == 2
    assert "at least 30" in capsys.readouterr().err


def lose(tally: soak.Tally) -> None:
    tally.lost += 1


def double(tally: soak.Tally) -> None:
    tally.duplicates += 1


def break_promise(tally: soak.Tally) -> None:
    tally.complain("simulation 1: a promise is broken")


@pytest.mark.parametrize("fault", [lose, double, break_promise])
def test_any_broken_promise_is_the_exit_code(
    fault: Callable[[soak.Tally], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    tally = soak.Tally(1)

    def run(_seconds: float, _seed: int) -> soak.Tally:
        return tally

    monkeypatch.setattr(soak, "soak", run)
    assert soak.main("30", "1") == 0
    fault(tally)
    assert soak.main("30", "1") == 1


def test_what_a_campaign_or_a_cut_lost_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(seed: int, **_: float) -> Campaign:
        return Campaign(seed, Verdict(acknowledged=10, at_centre=9, lost=1, duplicates=2))

    monkeypatch.setattr(oracle, "run", run)
    tally = soak.Tally(1)
    soak.campaign(tally, 5, 0.0)
    assert (tally.acknowledged, tally.at_centre, tally.lost, tally.duplicates) == (10, 9, 1, 2)
    assert "tests.faults.oracle 5" in tally.broken[0]
    bad = Outcome(State.IDLE, 1, acknowledged=3, lost=3, doubled=0, broken="no database")
    soak.count_cut(tally, bad)
    assert tally.lost == 4
    assert tally.faults["power-cut-idle"] == 1


def test_what_the_simulation_broke_is_counted() -> None:
    tally = soak.Tally(1)
    say = "print('broken 7 never settled'); print('schedules 12')"
    with ending(say) as said:
        soak.count_schedules(tally, said)
    assert (tally.schedules, tally.clean) == (12, False)
    silent = soak.Tally(1)
    with ending("") as said:
        soak.count_schedules(silent, said)
    assert not silent.clean


def test_what_broke_a_codec_is_counted_and_so_is_every_frame() -> None:
    every = "".join(f"print('{driver} 2000');" for driver in DRIVERS)
    tally = soak.Tally(1)
    with ending(every) as said:
        soak.count_fuzzed(tally, said)
    assert tally.clean
    assert tally.fuzzed == dict.fromkeys(DRIVERS, 2000)
    broken = soak.Tally(1)
    with ending(
        f"print('broken {next(iter(DRIVERS))} FUZZ_SEED=7: IndexError()');" + every
    ) as said:
        soak.count_fuzzed(broken, said)
    assert ["FUZZ_SEED=7" in each for each in broken.broken] == [True]
    silent = soak.Tally(1)
    with ending("") as said:
        soak.count_fuzzed(silent, said)
    assert len(silent.broken) == len(DRIVERS)


def test_what_never_ends_is_a_broken_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "_CEILING", 0.5)
    tally = soak.Tally(1)
    with ending("import time; time.sleep(600)") as endless:
        soak.count_fuzzed(tally, endless)
    assert "codec did not come to its end" in tally.broken


def ending(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def test_a_codec_that_raises_anything_else_is_named_with_its_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    worst = next(iter(DRIVERS))

    def judge(case: Case, raw: bytes) -> str:
        if case.driver == worst and len(raw) > 100:
            raise IndexError(len(raw))
        return "rejected"

    assert fuzz.main("1", "0") == 0
    *said, _ = capsys.readouterr().out.split("\n")
    assert said == [f"{driver} 400" for driver in DRIVERS]
    monkeypatch.setattr(fuzz, "judge", judge)
    assert fuzz.main("1", "0") == 1
    first, *_ = capsys.readouterr().out.split("\n")
    named = re.fullmatch(rf"broken {worst} .*FUZZ_SEED=(\d+) FUZZED=(\d+): IndexError.*", first)
    assert named
    with pytest.raises(IndexError):
        fuzz.decode_fuzzed(worst, *map(int, named.groups()))


def test_schedules_are_run_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert schedules.main("1", "0.3") == 0
    assert int(capsys.readouterr().out.split()[-1]) > 0
