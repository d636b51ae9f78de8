"""The demonstration, and that its verdict is one: every sabotage of its databases is found."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from sqlcipher3 import dbapi2 as sqlite

from agent.cli import cli
from agent.demo import stage
from agent.demo.comparison import Comparison, compare
from agent.demo.stage import StageFault
from agent.demo.story import Story
from agent.demo.world import BOXES
from agent.store.connection import open_reader, open_writer
from agent.store.keys import load_key

from .unit import CEILING, ROOT, environment, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Demo

KEYS = (
    "devices",
    "saved",
    "confirmed",
    "at_centre",
    "lost",
    "duplicates",
    "tray",
    "link_cuts",
    "seconds",
)
pytestmark = pytest.mark.timeout(150)


@pytest.mark.parametrize("broker", ["mosquitto", "embedded"])
def test_unattended_demonstration_loses_and_doubles_nothing(
    broker: str, demos: dict[str, Demo]
) -> None:
    demo = demos[broker].ended()
    stdout, stderr = demo.told
    assert demo.process.returncode == 0, stderr
    told = json.loads(stdout.splitlines()[-1])
    assert stdout.count("\n") == 1
    assert tuple(told) == KEYS
    assert set(told["devices"]) == set(BOXES)
    assert (told["lost"], told["duplicates"], told["link_cuts"]) == (0, 0, 2)
    assert told["saved"] == told["confirmed"] == told["at_centre"] == sum(told["devices"].values())
    assert min(told["devices"].values()) == 3
    assert told["tray"] == told["saved"] // 2
    assert "… and breaks again, in the middle of what it was carrying." in stderr
    assert "Traceback" not in stderr


def test_page_promises_the_object_that_is_printed(demos: dict[str, Demo]) -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text("utf-8")
    section = page.split("## `qafila demo`")[1]
    (example,) = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    told = json.loads(demos["mosquitto"].ended().told[0])
    assert tuple(json.loads(example)) == tuple(told)
    assert set(json.loads(example)["devices"]) == set(told["devices"])


def test_brokers_are_the_ones_meant(demos: dict[str, Demo]) -> None:
    assert "mosquitto version" in (demos["mosquitto"].ended().folder / "broker.log").read_text()
    assert "mosquitto" not in (demos["embedded"].ended().folder / "broker.log").read_text()
    assert not (demos["embedded"].folder / "mosquitto.conf").exists()


def test_kept_folder_holds_databases_pictures_recordings_and_logs(demos: dict[str, Demo]) -> None:
    folder = demos["mosquitto"].ended().folder
    names = [path.name for path in (folder / "blobs").rglob("*") if path.is_file()]
    assert sum(name.endswith(".jpg") for name in names) == 3
    assert sum(name.endswith(".dcm") for name in names) == 3
    for path in (folder / "blobs").rglob("*.jpg"):
        assert path.read_bytes().startswith(b"\xff\xd8")
    for path in (folder / "blobs").rglob("*.dcm"):
        assert path.read_bytes()[128:132] == b"DICM"
    for name in ("unit/qafila.db", "centre/central.db", "agent.log", "centre.log"):
        assert (folder / name).stat().st_size
    assert "Traceback" not in (folder / "agent.log").read_text()
    with closing(open_reader(folder / "unit", load_key(folder / "unit"))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert b"SQLite format 3" not in (folder / "unit" / "qafila.db").read_bytes()[:16]


def test_figures_and_logs_of_the_demonstration_tell_of_no_patient(demos: dict[str, Demo]) -> None:
    folder = demos["mosquitto"].ended().folder
    patient = re.compile(r"0b8e6a52-7d1f|demo-nurse|mmHg|°C")
    for name in ("unit/status.json", "agent.log", "centre.log", "broker.log"):
        assert not patient.search((folder / name).read_text("utf-8", "replace"))


class Copy:
    """What the demonstration left, to be spoilt."""

    def __init__(self, demo: Demo, folder: Path) -> None:
        self.folder = folder
        for name in ("unit", "centre", "blobs"):
            shutil.copytree(demo.ended().folder / name, folder / name)
        self.told = json.loads(demo.told[0])["devices"]

    def compare(self) -> Comparison:
        whole_day = [(0, 1 << 62)]
        return compare(
            self.folder / "unit",
            self.folder / "centre",
            self.folder / "blobs",
            self.told,
            whole_day,
        )

    def at_centre(self, *statements: str) -> None:
        with closing(sqlite.connect(str(self.folder / "centre" / "central.db"))) as connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            triggers = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            ).fetchall()
            for (name,) in triggers:
                connection.execute(f"DROP TRIGGER {name}")
            for statement in statements:
                assert connection.execute(statement).rowcount > 0, statement
            connection.commit()

    def on_truck(self, statement: str) -> None:
        unit = self.folder / "unit"
        with closing(open_writer(unit, load_key(unit))) as connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            assert connection.execute(statement).rowcount > 0, statement

    def blob(self, suffix: str) -> Path:
        return next(iter((self.folder / "blobs").rglob(f"*{suffix}")))


@pytest.fixture
def copy(demos: dict[str, Demo], tmp_path: Path) -> Copy:
    return Copy(demos["mosquitto"], tmp_path)


def lose_at_centre(copy: Copy) -> None:
    copy.at_centre("DELETE FROM records WHERE rowid = (SELECT max(rowid) FROM records)")


def alter_at_centre(copy: Copy) -> None:
    copy.at_centre(
        "UPDATE records SET line = CAST(substr(line, 1, length(line) - 1) || ' ' AS BLOB) "
        "WHERE rowid = (SELECT min(rowid) FROM records)"
    )


def flip_picture(copy: Copy) -> None:
    path = copy.blob(".jpg")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_recording(copy: Copy) -> None:
    path = copy.blob(".dcm")
    path.write_bytes(path.read_bytes()[:-1])


def lose_picture(copy: Copy) -> None:
    copy.blob(".jpg").unlink()


def spoil_picture_on_truck(copy: Copy) -> None:
    # Of one that a single reading names: a camera that sees the same twice gives one blob.
    copy.on_truck(
        "UPDATE chunk SET content = CAST(substr(content, 2) || 'x' AS BLOB) WHERE rowid = "
        "(SELECT min(chunk.rowid) FROM chunk JOIN blob USING (sha256) WHERE refs = 1)"
    )


def never_saved(copy: Copy) -> None:
    copy.told["box1-cuff"] += 1


@pytest.mark.parametrize(
    "sabotage",
    [
        lose_at_centre,
        alter_at_centre,
        flip_picture,
        cut_recording,
        lose_picture,
        spoil_picture_on_truck,
        never_saved,
    ],
)
def test_whatever_is_lost_or_altered_is_told_as_lost(
    sabotage: Callable[[Copy], None], copy: Copy
) -> None:
    assert copy.compare().sound
    sabotage(copy)
    found = copy.compare()
    assert (found.lost, found.duplicates) == (1, 0)
    assert not found.sound


def test_record_taken_twice_at_the_centre_is_told_as_doubled(copy: Copy) -> None:
    copy.at_centre(
        "INSERT INTO entries (lane_id, seq, hash, prev_hash, record_id, outcome) "
        "SELECT lane_id, 1000, hash, prev_hash, record_id, outcome FROM entries "
        "WHERE outcome = 'taken' LIMIT 1"
    )
    found = copy.compare()
    assert (found.lost, found.duplicates) == (0, 1)
    assert not found.sound


def test_reading_that_the_cuff_told_once_and_the_truck_holds_twice_is_told(copy: Copy) -> None:
    copy.on_truck(
        "UPDATE record SET line = (SELECT line FROM record AS other WHERE other.kind = "
        "'blood-pressure' ORDER BY seq LIMIT 1) WHERE seq = "
        "(SELECT max(seq) FROM record WHERE kind = 'blood-pressure')"
    )
    found = copy.compare()
    assert found.duplicates == 1
    assert not found.sound


def test_stranger_at_the_centre_is_told_as_doubled(copy: Copy) -> None:
    copy.at_centre(
        "UPDATE records SET record_id = 'stranger' WHERE rowid = (SELECT max(rowid) FROM records)"
    )
    found = copy.compare()
    assert (found.lost, found.duplicates) == (1, 1)
    assert not found.sound


def test_reading_without_a_confirmation_spoils_the_verdict(copy: Copy) -> None:
    copy.on_truck("UPDATE watermark SET through = through - 1 WHERE through > 0")
    found = copy.compare()
    assert (found.lost, found.confirmed) == (0, found.saved - 1)
    assert not found.sound


def test_device_never_read_offline_spoils_the_verdict(copy: Copy) -> None:
    folder = copy.folder
    found = compare(folder / "unit", folder / "centre", folder / "blobs", copy.told, [])
    assert found.lost == found.duplicates == 0
    assert not found.sound


def test_demonstration_takes_a_new_or_empty_folder_only(tmp_path: Path) -> None:
    (tmp_path / "something").write_text("")
    told = CliRunner().invoke(cli, ["demo", "--once", "--keep", str(tmp_path)])
    assert told.exit_code == 1
    assert told.stderr == f"Error: {tmp_path} is not empty: name a new folder\n"
    assert [path.name for path in tmp_path.iterdir()] == ["something"]


async def test_part_of_the_stage_that_ends_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(_: object, __: object) -> Any:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(Story, "_tell", gone)

    async def pause(_: str) -> None:
        return

    with pytest.raises(StageFault, match="Connection refused: see the logs in"):
        await Story(tmp_path, print, pause).tell()


def test_settings_of_the_stage_are_settings(tmp_path: Path) -> None:
    devices = {name: ("thermometer", f"F{n}:00:00:00:00:00") for n, name in enumerate(BOXES)}
    path = stage.write_settings(tmp_path, 1883, "tcp-client:127.0.0.1:1", devices, BOXES)
    settings = tomllib.loads(path.read_text())
    assert {each["name"]: each["box"] for each in settings["devices"]} == BOXES


def test_demonstration_that_is_stopped_leaves_no_process_behind(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "agent", "demo", "--once", "--keep", str(tmp_path / "kept")]
    with (tmp_path / "told").open("wb") as told:
        demo = subprocess.Popen(words, env=environment(), cwd=ROOT, stdout=told, stderr=told)
    until(lambda: (tmp_path / "kept" / "unit" / "status.json").exists() or None, "the agent")
    assert len(of_folder(tmp_path)) == 4
    demo.terminate()
    assert demo.wait(CEILING) == 1
    assert of_folder(tmp_path) == []
    assert "Traceback" not in (tmp_path / "told").read_text()


def of_folder(folder: Path) -> list[str]:
    """The command lines of all processes that name a folder: broker, centre, agent, and it."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().decode("utf-8", "replace")
            if str(folder) in words:
                found.append(words)
    return found
