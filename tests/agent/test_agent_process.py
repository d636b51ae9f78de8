"""The agent as a process: what is missing is said, what is there works on, nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from agent.app import SLOW, SLOW_AT_ONCE
from agent.clock import now
from agent.demo import stage
from agent.demo.world import CUFF_AT, NEIGHBOUR_AT, PICTURES
from drivers.base import Device, RawFrame
from drivers.blood_pressure.simulator import Reading, encode
from drivers.dermatoscope.simulator import lesion
from drivers.healthypi6.simulator import simulate
from drivers.lab.camera import CameraStream
from drivers.lab.camera import encode as picture
from drivers.lab.gatt_peripheral import CUFF, GattPeripheral
from drivers.lab.pty import PtyHost
from drivers.lab.radio import Ether

from .unit import CEILING, NAME, ROOT, Unit, end, tables, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.brokers import Mosquitto

ECG = "box1-ecg"
_HERE = "127.0.0.1"


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    with Unit(tmp_path / "unit") as unit:
        yield unit


@pytest.fixture
def plug(tmp_path: Path) -> Iterator[PtyHost]:
    host = PtyHost(tmp_path / "ecg")
    yield host
    host.unplug()


def saved(count: int, status: dict[str, Any]) -> bool:
    return bool(status["store"]["saved"] == count)


def greeting(count: int, status: dict[str, Any]) -> bool:
    """Whether the broker has been reached so often, and is asked for a centre."""
    link = status["uplink"]
    return bool(link["state"] == "greeting" and link["connections"] >= count)


def uplink(unit: Unit, port: int, key: Path | None = None) -> str:
    key = key or unit.state / "keys" / "unit.pub"
    return f'[uplink]\nhost = "{_HERE}"\nport = {port}\nkeepalive = 10\ncentre_key = "{key}"'


def ecg(plug: PtyHost) -> dict[str, tuple[str, str, str]]:
    return {ECG: ("healthypi6", str(plug.path), "1")}


async def test_unit_that_misses_everything_else_still_saves_what_it_has(
    unit: Unit, plug: PtyHost, tmp_path: Path
) -> None:
    plug.plug()
    late = PtyHost(tmp_path / "late")
    closed = stage.free_port()
    unit.write(
        tables(
            {
                **ecg(plug),
                "box2-ecg": ("healthypi6", str(late.path), "2"),
                "box2-camera": ("dermatoscope", f"tcp://{_HERE}:{closed}", "2"),
                "box1-cuff": ("blood-pressure", CUFF_AT, "1"),
            },
            uplink(unit, closed),
            f'[bluetooth]\nradio = "tcp-client:{_HERE}:{closed}"',
        )
    )
    agent = unit.start()
    missed = {"box2-ecg", "box2-camera", "box1-cuff"}
    status = await unit.soon(
        lambda status: (
            {status["devices"][name]["state"] for name in missed} == {"unavailable"}
            and status["uplink"]["state"] == "waiting"
            and status["devices"][ECG]["state"] == "waiting"
        ),
        "everything to be missed",
    )
    assert "can't be reached" in status["uplink"]["detail"]
    assert all(status["devices"][name]["detail"] for name in missed)
    await plug.play(simulate(2.0), pace=4)
    await unit.soon(lambda status: status["store"]["saved"] == 1, "the ECG to be saved")
    late.plug()
    await unit.soon(lambda status: status["devices"]["box2-ecg"]["state"] == "waiting", "the plug")
    await late.play(simulate(1.0), pace=4)
    await unit.soon(lambda status: status["devices"]["box2-ecg"]["readings"] == 1, "the late one")
    late.unplug()
    await unit.soon(
        lambda status: status["devices"]["box2-ecg"]["state"] == "unavailable", "the unplugging"
    )
    late.plug()  # the kernel gives another terminal behind the same name
    await unit.soon(lambda status: status["devices"]["box2-ecg"]["state"] == "waiting", "the plug")
    await late.play(simulate(1.0, seed=2), pace=4)
    await unit.soon(lambda status: status["store"]["saved"] == 3, "the device to be known again")
    assert await asyncio.to_thread(end, agent) == 0
    late.unplug()
    readings = json.loads((await asyncio.to_thread(unit.cli, "readings", "--json")).stdout)
    assert [each["device"] for each in readings].count(f"port:{late.path}") == 2
    assert "Traceback" not in unit.log.read_text()


def without_network() -> tuple[str, ...]:
    """What starts a process in a network namespace of its own, where not even `lo` is up."""
    for words in (("unshare", "--net"), ("unshare", "--map-root-user", "--net")):
        if shutil.which(words[0]) and not subprocess.run((*words, "true"), check=False).returncode:
            return words
    pytest.skip("this kernel or container allows no network namespaces")


async def test_unit_without_any_network_is_ready_and_saves_its_first_reading(
    unit: Unit, plug: PtyHost, tmp_path: Path
) -> None:
    """T33, T43."""
    plug.plug()
    unit.write(tables(ecg(plug), uplink(unit, 8883)))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(CEILING)
        agent = unit.start(
            before=await asyncio.to_thread(without_network),
            NOTIFY_SOCKET=str(tmp_path / "notify"),
            WATCHDOG_USEC="1000000",
        )
        said = [await asyncio.to_thread(manager.recv, 100) for _ in range(4)]
        await unit.soon(lambda status: ECG in status["devices"], "the ECG")
        await plug.play(simulate(1.0), pace=4)
        await unit.soon(lambda status: status["store"]["saved"] == 1, "the first reading")
        assert await asyncio.to_thread(end, agent) == 0
        manager.settimeout(0.0)
        while (last := manager.recv(100)) != b"STOPPING=1":
            said.append(last)
    assert said.count(b"READY=1") == 1
    assert set(said) == {b"READY=1", b"WATCHDOG=1"}
    assert said.count(b"WATCHDOG=1") >= 3


async def test_kill_in_the_middle_of_an_ecg_costs_its_last_second_at_most(
    unit: Unit, plug: PtyHost
) -> None:
    plug.plug()
    unit.write(tables(ecg(plug)))
    agent = unit.start()
    await unit.soon(lambda status: ECG in status["devices"], "the ECG")
    playing = asyncio.create_task(plug.play(simulate(60.0)))
    status = await unit.soon(lambda status: status["store"]["undecoded"] >= 4, "four frames")
    assert status["store"]["saved"] == 0
    assert status["devices"][ECG]["state"] == "recording"
    kept = status["store"]["undecoded"]
    assert await asyncio.to_thread(end, agent, signal.SIGKILL) == -signal.SIGKILL
    playing.cancel()
    plug.unplug()
    again = unit.start()
    status = await unit.soon(lambda _: True, "the agent again")
    assert (status["store"]["saved"], status["store"]["undecoded"]) == (1, 0)
    assert status["store"]["quarantined"]["frames"] == 0
    assert await asyncio.to_thread(end, again) == 0
    third = unit.start()
    assert (await unit.soon(lambda _: True, "the third"))["store"]["saved"] == 1
    assert await asyncio.to_thread(end, third) == 0
    assert re.findall(r"recovered=(\d+)", unit.log.read_text())[2] == "0"
    assert _seconds(unit) >= 0.9 * kept


def _seconds(unit: Unit) -> float:
    """How long the one recording on the truck is."""
    store = unit.store()
    try:
        ((line,),) = store.reader.execute("SELECT line FROM record").fetchall()
        ((raw,),) = store.reader.execute("SELECT content FROM raw").fetchall()
    finally:
        store.close()
    assert "cut-short" in json.loads(line)["quality"]
    samples = bytes(raw).count(b"DBLK")
    return samples / (500 / 16 + 250 / 16 + 1)


async def test_cuffs_are_read_for_their_own_box_and_nothing_tells_of_the_patient(
    unit: Unit,
) -> None:
    patient, nurse = "b10c5e55-patient-marker", "nurse-marker"
    ether = Ether()
    radio = await ether.listen()
    cuffs = {}
    for place in (CUFF_AT, NEIGHBOUR_AT, "F5:F5:F5:F5:F5:F5"):
        controller = ether.controller(place)
        cuffs[place] = GattPeripheral(controller, controller, CUFF, place)
        await cuffs[place].power_on()
    unit.write(
        tables(
            {
                "box1-cuff": ("blood-pressure", CUFF_AT, "1"),
                "box2-cuff": ("blood-pressure", "F5:F5:F5:F5:F5:F5", "2"),
            },
            f'[bluetooth]\nradio = "{radio}"',
        )
    )
    agent = unit.start()
    await unit.soon(lambda status: "box1-cuff" in status["devices"], "the devices")
    opened = (await asyncio.to_thread(_open, unit, patient, nurse)).strip()
    for count, place in enumerate((CUFF_AT, "F5:F5:F5:F5:F5:F5"), 1):
        await cuffs[NEIGHBOUR_AT].measure(frame("171.1"))
        await cuffs[place].measure(frame(f"171.{count + 3}"))
        await unit.soon(partial(saved, count), "a reading")
    status = await unit.soon(lambda status: status["unbound"], "the neighbour to be seen")
    assert [each["address"] for each in status["unbound"]] == [NEIGHBOUR_AT]
    assert (cuffs[NEIGHBOUR_AT].visits, len(cuffs[NEIGHBOUR_AT].stored)) == (0, 2)
    assert (status["store"]["tray"], status["consultations"]) == (1, ["1"])
    told = [
        (await asyncio.to_thread(unit.cli, *words)).stdout
        for words in (
            ("status",),
            ("status", "--json"),
            ("pending", "--why"),
            ("pending", "--json"),
            ("devices", "--json"),
        )
    ]
    readings = json.loads((await asyncio.to_thread(unit.cli, "readings", "--json")).stdout)
    assert await asyncio.to_thread(end, agent) == 0
    for cuff in cuffs.values():
        await cuff.power_off()
    await ether.close()
    whose = {
        each["box"]: (each["summary"].split(" mmHg")[0], each["consultation"]) for each in readings
    }
    assert whose == {
        "1": ("Systolic blood pressure 171.4", opened),
        "2": ("Systolic blood pressure 171.5", None),
    }
    told += [unit.log.read_text(), (unit.state / "status.json").read_text()]
    private = re.compile(rf"{patient}|{nurse}|(?<!\d)171\.\d(?!\d)|{opened}")
    assert [text for text in told if private.search(text)] == []
    assert private.search(json.dumps(readings))
    database = b"".join(path.read_bytes() for path in unit.state.glob("qafila.db*"))
    assert patient.encode() not in database


def frame(systolic: str) -> bytes:
    number = Decimal(systolic)
    return encode(Reading(number, Decimal(80), Decimal(110), user=1, status=0))


def _open(unit: Unit, patient: str, nurse: str) -> str:
    """Open the consultation of box 1; give its id."""
    told = unit.cli("consultation", "open", "1", "--patient", patient, "--actor", nurse)
    assert told.returncode == 0, told.stderr
    again = unit.cli("consultation", "open", "1", "--patient", "x", "--actor", nurse)
    assert again.stderr == "Error: a consultation is open in box 1: close it first\n"
    return told.stdout.split()[1]


def test_broken_database_ends_the_process_with_one_sentence(unit: Unit) -> None:
    """T04."""
    agent = unit.start()
    unit.until(lambda _: True, "the agent")
    os.truncate(unit.state / "qafila.db-wal", 0)
    unit.ask("open", box="1", patient="p", actor="a")
    assert agent.wait(CEILING) == 1
    lines = unit.log.read_text().splitlines()
    assert lines[-1].startswith("Error: the database is damaged: ")
    assert "Traceback" not in unit.log.read_text()
    assert sum(line.startswith("Error:") for line in lines) == 1


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda unit: unit.state.joinpath("qafila.db").write_bytes(b"x" * 8192), "with this key"),
        (lambda unit: _replace(unit, "state", "/proc/qafila"), "$.unit.state: "),
        (lambda unit: _replace(unit, "runtime", "/proc/qafila"), "$.unit.runtime: "),
        (
            lambda unit: _replace(unit, "runtime", f"{unit.folder}/{'long' * 30}"),
            "$.unit.runtime: ",
        ),
        (lambda unit: (unit.state / "keys" / "store.key").unlink(), "`qafila init` makes one"),
    ],
    ids=["database", "state", "runtime", "long", "key"],
)
def test_unit_that_cannot_start_says_why_in_a_sentence(
    spoil: object, sentence: str, unit: Unit, tmp_path: Path
) -> None:
    assert callable(spoil)
    spoil(unit)
    if "/proc" in unit.settings.read_text():
        (tmp_path / "store.key").write_bytes((unit.state / "keys" / "store.key").read_bytes())
    agent = unit.start(CREDENTIALS_DIRECTORY=str(tmp_path))
    assert agent.wait(CEILING) == 1
    *before, last = unit.log.read_text().splitlines()
    assert all(line.startswith("<") for line in before)
    assert last.startswith("Error: ")
    assert sentence in last
    assert "Traceback" not in unit.log.read_text()


def _replace(unit: Unit, setting: str, value: str) -> None:
    text = unit.settings.read_text()
    unit.settings.write_text(
        re.sub(rf'^{setting} = ".*"$', f'{setting} = "{value}"', text, flags=8)
    )


def test_missing_centre_key_is_told_and_the_unit_runs(unit: Unit) -> None:
    gone = unit.folder / "centre.pub"
    unit.write(uplink(unit, 1883, gone))
    agent = unit.start()
    status = unit.until(lambda _: True, "the agent")
    assert status["uplink"]["state"] == "misconfigured"
    why = f"$.uplink.centre_key: {gone} does not exist: copy the centre's public key there"
    assert status["uplink"]["detail"] == why
    assert unit.ask("reconnect")["ok"]
    until(lambda: why in unit.cli("status").stdout.splitlines()[0] or None, "what is told")
    assert unit.cli("status").returncode == 1
    assert end(agent) == 0


WATCHED = (
    "import signal, sys, threading; from agent.cli import main; "
    "signal.signal(signal.SIGUSR1, lambda *_: print('threads:', "
    "sorted(each.name for each in threading.enumerate()), file=sys.stderr, flush=True)); main()"
)


async def test_threads_are_the_writer_the_broker_s_and_the_cameras_however_long_it_runs(
    unit: Unit, plug: PtyHost, mosquitto: Mosquitto
) -> None:
    plug.plug()
    camera = CameraStream([picture(lesion(number)) for number in range(PICTURES)])
    await camera.plug()
    unit.write(
        tables(
            {**ecg(plug), "camera": ("dermatoscope", camera.url, "2")},
            uplink(unit, mosquitto.port),
        )
    )
    agent = unit.start(code=WATCHED)
    await unit.soon(
        lambda status: status["devices"].get("camera", {}).get("state") == "connected", "a camera"
    )
    for count in range(1, 7):
        await asyncio.to_thread(unit.ask, "snapshot", device="camera")
        await asyncio.to_thread(mosquitto.restart)
        await asyncio.to_thread(unit.ask, "reconnect")
        await unit.soon(partial(greeting, count), "the broker again")
    agent.send_signal(signal.SIGUSR1)
    named = await asyncio.to_thread(
        until, lambda: re.search(r"threads: (\[.*\])", unit.log.read_text()), "the threads"
    )
    assert await asyncio.to_thread(end, agent) == 0
    await camera.unplug()
    names = json.loads(named[1].replace("'", '"'))
    workers = [name for name in names if name.startswith(f"{SLOW}_")]
    assert len(workers) <= SLOW_AT_ONCE
    rest = sorted({*names} - {*workers})
    assert rest == [
        "MainThread",
        f"camera {camera.url}",
        f"paho-mqtt-client-{NAME}",
        "store-writer",
    ]
    assert len(names) == len(rest) + len(workers)
    assert "Traceback" not in unit.log.read_text()


def test_what_was_stored_offline_arrives_after_two_power_cuts(
    unit: Unit, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    """T31."""
    centre = tmp_path / "centre"
    port = stage.free_port()
    central(centre, "init", str(centre), "--origin", "simulated")
    (centre / "central.toml").write_text(f'[broker]\nhost = "{_HERE}"\nport = {mosquitto.port}\n')
    central(centre, "enrol", str(centre), NAME, str(unit.state / "keys" / "unit.pub"))
    unit.write(uplink(unit, port, centre / "central.pub"))
    store = unit.store()
    device = Device("ble:F1:F1:F1:F1:F1:F1", "blood-pressure", "box1-cuff")
    for number in range(100):
        asyncio.run(store.keep(RawFrame("2A35", frame(f"{120 + number}")), device, "1", now()))
    store.close()
    for _ in range(2):
        cut = unit.start()
        status = unit.until(lambda status: status["uplink"]["state"] == "waiting", "no broker")
        assert (status["store"]["saved"], status["store"]["pending"]) == (100, 100)
        assert end(cut, signal.SIGKILL) == -signal.SIGKILL
    unit.write(uplink(unit, mosquitto.port, centre / "central.pub"))
    with (tmp_path / "centre.log").open("wb") as log:
        receiver = subprocess.Popen(
            stage.central_words("run", str(centre)), cwd=ROOT, stdout=log, stderr=log
        )
    try:
        agent = unit.start()
        status = unit.until(lambda status: status["store"]["pending"] == 0, "the centre")
        assert status["store"]["confirmed"] == 100
        assert end(agent) == 0
    finally:
        receiver.terminate()
        receiver.wait(CEILING)
    central(centre, "export", str(centre), str(tmp_path / "export"))
    lines = next((tmp_path / "export").rglob("records.ndjson")).read_bytes().splitlines()
    assert len({json.loads(line)["record"] for line in lines}) == len(lines) == 100


def central(folder: Path, *words: str) -> None:
    done = subprocess.run(
        stage.central_words(*words), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{folder}: {done.stderr}"
