"""The whole way by stick: a real agent, the real commands of both sides, no network at all.

Issue 4, point 10; contract, part 10.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from central import report

from .store.truck import capture
from .unit import CEILING, NAME, ROOT, Unit, end, environment, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PICTURE = bytes(range(256)) * 1200


def central(*words: object) -> subprocess.CompletedProcess[str]:
    """The centre's command as a process of its own."""
    code = "from central.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=CEILING,
        check=False,
    )


def done(ran: subprocess.CompletedProcess[str]) -> str:
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def refused(ran: subprocess.CompletedProcess[str]) -> str:
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stdout + ran.stderr


def store_readings(unit: Unit, readings: Sequence[tuple[bytes, tuple[bytes, ...]]]) -> None:
    """Save readings while no agent has the store."""

    async def save() -> None:
        with closing(unit.store()) as store:
            await store.record_all([capture(raw, blobs=blobs) for raw, blobs in readings])

    asyncio.run(save())


def files(stick: Path, way: str) -> list[Path]:
    return sorted((stick / "qafila-sim" / "v1" / NAME / way).glob("*"))


class Village:
    """A unit that never had a link, its centre far away, and a stick."""

    def __init__(self, folder: Path, stick: Path) -> None:
        self.centre = folder / "centre"
        self.stick = stick
        done(central("init", self.centre, "--origin", "simulated"))
        self.pinned = folder / "centre.pub"
        shutil.copy(self.centre / "central.pub", self.pinned)
        self.unit = Unit(folder / "unit")
        self.settings()
        done(central("enrol", self.centre, NAME, self.unit.state / "keys" / "unit.pub"))

    def settings(self, *, plugged_in: bool = False) -> None:
        folder = f'folder = "{self.stick}"\n' if plugged_in else ""
        self.unit.write(f'[export]\ncentre_key = "{self.pinned}"\n{folder}')

    def figures(self) -> dict[str, Any]:
        found: dict[str, Any] = self.unit.ask("status")["status"]
        return found

    def at_centre(self) -> int:
        return sum(1 for _ in report.records(self.centre))


@pytest.fixture
def stick() -> Iterator[Path]:
    """A folder on another file system than the state folder, as a stick's is."""
    with tempfile.TemporaryDirectory(prefix="qafila-stick-", dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def village(tmp_path: Path, stick: Path) -> Iterator[Village]:
    village = Village(tmp_path, stick)
    with village.unit:
        yield village


def ready(village: Village) -> None:
    village.unit.until(lambda _: True, "an answer")


def test_readings_and_a_picture_go_by_stick_and_their_receipts_settle_them(
    village: Village,
) -> None:
    """C-1.7, C-10.1, C-10.9: there, back, and a second time, which changes nothing."""
    store_readings(village.unit, [(b"one", ()), (b"two", (PICTURE,)), (b"three", ())])
    village.unit.start()
    ready(village)
    said = done(village.unit.cli("export", str(village.stick)))
    assert "3 of 3 records that wait are on it, in 1 files, 1 of them new" in said
    assert b'"value":36.0' not in files(village.stick, "up")[0].read_bytes()
    assert village.figures()["store"]["confirmed"] == 0, "lying on a stick settles nothing"

    said = done(central("import", village.centre, village.stick))
    assert f"{NAME}: 1 files read, 3 records new here" in said
    assert village.at_centre() == 3
    assert "0 records new here" in done(central("import", village.centre, village.stick))
    (blob,) = report.blobs(village.centre)
    assert blob.complete

    said = done(village.unit.cli("import-receipts", str(village.stick)))
    assert "0 wait now" in said
    assert village.figures()["store"]["confirmed"] == 3
    assert village.figures()["store"]["blobs_pending"] == 0
    assert files(village.stick, "down") == []

    assert "0 of 0 records" in done(village.unit.cli("export", str(village.stick)))
    assert files(village.stick, "up") == [], "what is settled is taken away"
    assert "holds no receipts" in refused(village.unit.cli("import-receipts", str(village.stick)))


def test_stick_left_plugged_in_follows_goes_and_comes_back(village: Village) -> None:
    """C-10.12: written as readings come, receipts taken by itself, pruned; back after a pull."""
    store_readings(village.unit, [(b"one", (PICTURE,))])
    village.settings(plugged_in=True)
    agent = village.unit.start()
    found = village.unit.until(lambda s: s["export"]["state"] == "whole", "a whole stick")
    assert (found["export"]["files"], found["export"]["lacking"]) == (1, 0)
    until(  # the command reads the file, which the agent writes every two seconds
        lambda: re.search(
            r"(?m)^stick +whole; 1 files, whole \d+ s ago$", village.unit.cli("status").stdout
        ),
        "the row of the stick",
    )
    shutil.move(village.stick, village.stick.with_suffix(".away"))
    away = village.unit.until(lambda s: s["export"]["state"] == "unavailable", "no stick")
    assert "plug it in" in away["export"]["detail"]
    end(agent)
    store_readings(village.unit, [(b"two", ())])
    shutil.move(village.stick.with_suffix(".away"), village.stick)
    done(central("import", village.centre, village.stick))
    village.unit.start()
    found = village.unit.until(
        lambda s: s["export"]["state"] == "whole" and s["store"]["confirmed"] == 1,
        "receipts taken from the stick",
    )
    assert found["export"]["pending"] == 1
    assert len(files(village.stick, "up")) == 1
    assert files(village.stick, "down") == []


def test_agent_that_does_not_run_is_said_and_nothing_is_made_on_the_stick(
    tmp_path: Path,
) -> None:
    with Unit(tmp_path / "unit") as unit:
        (tmp_path / "stick").mkdir()
        for words in ("export", "import-receipts"):
            ran = unit.cli(words, str(tmp_path / "stick"))
            assert ran.returncode == 1
        assert "the agent is not running" in refused(unit.cli("export", str(tmp_path / "stick")))
        assert list((tmp_path / "stick").iterdir()) == []
