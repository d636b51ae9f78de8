"""`qafila status`: an answer in every state of the agent and of its file."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from agent import control, status_file
from agent.cli import cli
from agent.cli.status import PATIENCE
from agent.clock import PROJECT_BORN, Stamp
from agent.known_time import KnownTime

from .test_verdict import FIGURES, WELL
from .unit import ROOT, Unit, end, run_cli, tables, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORBIDDEN = ("bleak", "av", "sqlite_utils", "sqlcipher3", "paho", "pydicom", "numpy", "bumble")
OVERHEAD = 25
"""How many times its own patience a hurried process may take here: it also has to start."""


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unit]:
    """A running agent with a port that nothing is plugged into, and a broker that isn't there."""
    folder = tmp_path_factory.mktemp("unit")
    key = f'centre_key = "{folder / "state" / "keys" / "unit.pub"}"'
    uplink = f'[uplink]\nhost = "127.0.0.1"\nport = 9\n{key}'
    ecg = {"box1-ecg": ("healthypi6", "/nowhere/ecg", "1")}
    with Unit(folder, tables(ecg, uplink)) as unit:
        unit.start()
        unit.until(
            lambda status: (
                status["devices"]["box1-ecg"]["state"] == "unavailable"
                and status["uplink"]["state"] == "waiting"
            ),
            "the port to be missed",
        )
        unit.until(lambda _: '"unavailable"' in unit.cli("status", "--json").stdout, "figures")
        yield unit


def asked(folder: Path, *words: str) -> Result:
    """Ask a unit of which there are only files."""
    settings = folder / "unit.toml"
    settings.write_text(
        f'[unit]\nname = "a"\nstate = "{folder}"\nruntime = "{folder / "run"}"\n', "utf-8"
    )
    return CliRunner().invoke(cli, ["status", "--settings", str(settings), *words])


def leave(folder: Path, **changes: object) -> None:
    """Leave figures as an agent of this boot does."""
    boot = status_file._boot()
    more = {
        "unit": "a",
        "origin": "simulated",
        "boot": boot,
        "written": status_file.moment(),
        "consultations": [],
    }
    figures: dict[str, Any] = WELL | more | changes
    figures["devices"] = {}
    figures["store"] = figures["store"] | {"lanes": {}}
    status_file.write(folder, figures)


def test_dead_agent_leaves_its_figures_and_their_age(tmp_path: Path) -> None:
    leave(tmp_path)
    told = asked(tmp_path)
    assert told.exit_code == 3
    line = told.stdout.splitlines()[0]
    assert re.fullmatch(
        rf"UNKNOWN: the agent is not running; figures are \d+ s old: {FIGURES}", line
    )


def test_agent_that_left_nothing_is_unknown(tmp_path: Path) -> None:
    told = asked(tmp_path)
    assert told.exit_code == 3
    assert told.stdout == "UNKNOWN: the agent is not running, and it has left no figures\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"version": 1, "agent": "0.1.0", "un',
        b"[1]",
        b"3",
        b'{"version": 2}',
        b'{"version": 1}',
        b'{"version": 1, "written": 5, "disk": {}, "store": {}, "uplink": {}, "devices": {}}',
        b'{"version": 1, "written": {}, "disk": {}, "store": {}, "uplink": {}, "devices": {}}',
        b"\xff\xff",
    ],
    ids=lambda content: repr(content[:24]),
)
def test_half_written_or_foreign_file_is_no_figures(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_bytes(content)
    for words in ((), ("--json",)):
        told = asked(tmp_path, *words)
        assert told.exit_code == 3
        assert isinstance(told.exception, SystemExit)
        assert "it has left no figures" in told.stdout


def test_file_is_replaced_in_one_step_and_read_by_the_group(tmp_path: Path) -> None:
    leave(tmp_path)
    with (tmp_path / "status.json").open("rb") as old:
        leave(tmp_path, unit="b")
        assert json.loads(old.read())["unit"] == "a"
    assert status_file.read(tmp_path)[0]["unit"] == "b"
    assert (tmp_path / "status.json").stat().st_mode & 0o777 == 0o640 & ~_umask()
    assert [each.name for each in tmp_path.iterdir()] == ["status.json"]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_disk_that_fills_up_leaves_the_last_whole_file(tmp_path: Path) -> None:
    leave(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))  # it stops half-way
    try:
        with pytest.raises(OSError, match="File too large"):
            leave(tmp_path, unit="b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status_file.read(tmp_path)[0]["unit"] == "a"


def test_age_is_counted_by_a_clock_that_nobody_can_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T49."""
    leave(tmp_path)
    for years in (-10, 10):
        monkeypatch.setattr(time, "time", lambda years=years: 1.8e9 + years * 31_557_600)
        assert status_file.read(tmp_path)[1] < 3600


def test_figures_of_another_boot_are_as_old_as_their_file(tmp_path: Path) -> None:
    leave(tmp_path, boot="another", written={"boottime": 0.0, "wall": 0.0})
    os.utime(tmp_path / "status.json", (time.time() - 7200, time.time() - 7200))
    assert 7100 < status_file.read(tmp_path)[1] < 10_000


def test_wrong_settings_are_unknown_also_in_json(tmp_path: Path) -> None:
    settings = tmp_path / "unit.toml"
    settings.write_text("[unit]\n")
    told = CliRunner().invoke(cli, ["status", "--settings", str(settings)])
    line = "UNKNOWN: $.unit.name: this setting is missing"
    assert told.exit_code == 3
    assert told.stdout.startswith(line)
    assert told.stdout.count("\n") == 1
    told = CliRunner().invoke(cli, ["status", "--json", "--settings", str(settings)])
    assert told.exit_code == 3
    said = json.loads(told.stdout)
    assert said["line"].startswith(line)
    assert (said["status"], said["age_seconds"], said["daemon"]) == (None, None, "not asked")


def test_agent_whose_queue_of_askers_is_full_is_not_called_dead(tmp_path: Path) -> None:
    leave(tmp_path)
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as deaf, socket.socket(socket.AF_UNIX) as first:
        deaf.bind(str(tmp_path / "run" / control.SOCKET))
        deaf.listen(0)
        first.connect(str(tmp_path / "run" / control.SOCKET))
        told = asked(tmp_path)
    assert told.exit_code == 3
    assert "the agent is not responding" in told.stdout


def test_socket_that_nobody_listens_on_any_more_is_a_dead_agent(tmp_path: Path) -> None:
    leave(tmp_path)
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "run" / control.SOCKET))
    assert "the agent is not running" in asked(tmp_path).stdout


def test_user_who_may_not_ask_is_not_told_that_the_agent_is_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(tmp_path)

    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(control, "ask", forbidden)
    told = asked(tmp_path)
    assert told.exit_code == 3
    assert told.stdout.startswith("UNKNOWN: the agent is not for this user to ask; figures are ")


def test_status_loads_no_radio_camera_database_or_broker(unit: Unit) -> None:
    code = (
        "import sys\nfrom agent.cli import cli\n"
        "try:\n    cli()\n"
        "finally:\n    print(sorted(set(sys.modules)), file=sys.stderr)"
    )
    told = run_cli("status", "--settings", str(unit.settings), code=code)
    assert told.stdout.startswith("WARNING: ")
    loaded = set(re.findall(r"'([a-z0-9_]+)'", told.stderr))
    assert "click" in loaded
    assert loaded.isdisjoint(FORBIDDEN)


def test_running_agent_answers_verdict_first_then_remarks_then_a_table(unit: Unit) -> None:
    told = unit.cli("status")
    assert (told.returncode, told.stderr) == (1, "")
    lines = told.stdout.splitlines()
    assert lines[0] == (
        "WARNING: 0 on the truck, 0 confirmed by the centre, 0 waiting "
        "(box1-ecg is unavailable: nothing is plugged in here)"
    )
    assert lines[1] == "  warning: box1-ecg is unavailable: nothing is plugged in here"
    assert lines[2].startswith("unit ")
    assert "\x1b" not in told.stdout


def test_latest_time_known_never_goes_back_and_outlives_a_restart(tmp_path: Path) -> None:
    """T50: neither a clock that is not synchronised nor one that has fallen back moves it."""
    known = KnownTime(tmp_path)
    assert known.latest == PROJECT_BORN
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    known.hear(Stamp("boot", 1, noon, "synchronised"))
    known.hear(Stamp("boot", 2, noon + timedelta(days=900), "unsynchronised"))
    told = known.hear(Stamp("boot", 3, noon - timedelta(days=9), "synchronised"))
    assert known.latest == noon
    whole: dict[str, Any] = {key: {} for key in ("disk", "store", "uplink", "devices")}
    moment = {"boottime": 0.0, "wall": 0.0}
    status_file.write(tmp_path, whole | {"version": 1, "written": moment, "time_known": told})
    assert KnownTime(tmp_path).latest == noon


def test_json_has_the_shape_that_the_page_promises(unit: Unit) -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text("utf-8")
    for command in ("status", "devices", "pending", "readings"):
        section = page.split(f"## `qafila {command}`")[1].split("\n## ")[0]
        (example,) = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
        told = unit.cli(command, "--json")
        assert told.stdout.count("\n") == 1
        assert unlike(json.loads(example), json.loads(told.stdout)) == []


def unlike(promised: Any, real: Any, at: str = "$") -> list[str]:
    """Where two documents differ in their fields, as far as both tell."""
    if isinstance(promised, dict) and isinstance(real, dict):
        if _named(at):  # the names of devices, lanes and reasons are no fields
            pairs = [(f"{at}.*", a, b) for a in promised.values() for b in real.values()]
        else:
            pairs = [(f"{at}.{key}", promised[key], real[key]) for key in promised & real.keys()]
            odd = [f"{at}.{key}" for key in promised.keys() ^ real.keys()]
            if odd:
                return odd
        return [each for path, a, b in pairs for each in unlike(a, b, path)]
    if isinstance(promised, list) and isinstance(real, list):
        return [each for a in promised for b in real for each in unlike(a, b, f"{at}[]")]
    kinds = (bool, int | float, str, dict, list)
    same = any(isinstance(promised, kind) and isinstance(real, kind) for kind in kinds)
    return [] if same or None in (promised, real) else [at]


def _named(at: str) -> bool:
    return at.rsplit(".", 1)[-1] in {"devices", "lanes", "reasons", "ignored", "notes"}


def test_stopped_agent_is_said_not_to_respond_with_the_age_of_its_figures(unit: Unit) -> None:
    """T55."""
    agent = unit.agents[-1]
    agent.send_signal(signal.SIGSTOP)
    try:
        time.sleep(2.5)  # figures grow older than the agent lets them
        begun = time.monotonic()
        told = unit.cli("status")
        took = time.monotonic() - begun
        as_json = json.loads(unit.cli("status", "--json").stdout)
    finally:
        agent.send_signal(signal.SIGCONT)
    assert told.returncode == 3
    line = told.stdout.splitlines()[0]
    age = re.fullmatch(r"UNKNOWN: the agent is not responding; figures are (\d+) s old: .*", line)
    assert age is not None
    assert int(age[1]) >= 2
    assert (as_json["daemon"], as_json["level"]) == ("not responding", "UNKNOWN")
    assert as_json["age_seconds"] >= 2
    assert took < PATIENCE * OVERHEAD
    until(lambda: unit.cli("status").returncode == 1 or None, "the agent to go on")


def test_commands_that_ask_a_stopped_agent_give_up_with_a_sentence(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.cli.talk._PATIENCE", PATIENCE)
    unit.agents[-1].send_signal(signal.SIGSTOP)
    try:
        told = CliRunner().invoke(cli, ["reconnect", "--settings", str(unit.settings)])
    finally:
        unit.agents[-1].send_signal(signal.SIGCONT)
    assert told.exit_code == 1
    assert told.stderr == "Error: the agent does not respond: see `qafila status`\n"


def test_second_agent_on_the_same_folder_is_refused_with_a_sentence(unit: Unit) -> None:
    second = unit.cli("run")
    assert second.returncode == 1
    assert second.stderr == (
        f"Error: another agent works on {unit.state}: stop it first, "
        "or give this one its own folder\n"
    )
    assert unit.until(lambda _: True, "the first to go on")


def test_stopping_takes_no_notice_of_whoever_holds_a_connection(unit: Unit) -> None:
    """The last test of this agent: it ends it."""
    with socket.socket(socket.AF_UNIX) as idle:
        idle.connect(str(unit.runtime / control.SOCKET))
        before = unit.figures()["written"]["boottime"]
        assert end(unit.agents[-1]) == 0
    assert unit.figures()["written"]["boottime"] > before
    assert not (unit.runtime / control.SOCKET).exists()
    assert unit.log.read_text().count("<6>stopped") == 1
    assert "the agent is not running" in unit.cli("status").stdout
