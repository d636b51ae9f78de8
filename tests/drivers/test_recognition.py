"""The ladder that finds out what is plugged in: with the codecs' own framers, and on real ports."""

from __future__ import annotations

import asyncio
import json
import os
from importlib import import_module
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from agent.cli import cli, recognise
from drivers import DRIVERS, recognition
from drivers.card import card, cards
from drivers.healthypi6.simulator import simulate
from drivers.lab.pty import PtyHost
from drivers.recognition import (
    ENOUGH,
    FRAMES,
    Conclusion,
    Listen,
    Probe,
    Recognition,
    Verdict,
)
from drivers.suretemp.codec import ASK
from drivers.suretemp.simulator import Module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

SERIAL = [each for each in cards() if each.transport == "serial"]
FRAMERS = {
    each.name: import_module(f"{DRIVERS[each.name]}.codec").Framer
    for each in SERIAL
    if hasattr(import_module(f"{DRIVERS[each.name]}.codec"), "Framer")
}
STREAMS = ["healthypi6", "healthypi4", "ad8232", "olimex", "cyton"]


def ladder(ids: str | None = None) -> Recognition:
    return Recognition(ids, SERIAL, FRAMERS)


def said_by(driver: str, seconds: float = 2.0) -> bytes:
    made = import_module(f"{DRIVERS[driver]}.simulator").simulate(seconds)
    return b"".join(raw for _, raw in made)


def climb(
    at: Recognition, hear: Callable[[Listen | Probe], Iterable[bytes]]
) -> tuple[Conclusion, list[Listen | Probe]]:
    """Do every step; give how it ended and what was done."""
    steps: list[Listen | Probe] = []
    for _ in range(100):
        step = at.step
        if isinstance(step, Conclusion):
            return step, steps
        steps.append(step)
        for raw in hear(step):
            at.hear(raw)
            if at.step is not step:
                break
        if at.step is step:
            at.elapse()
    pytest.fail("the ladder has no end")


def at_its_rate(driver: str) -> Callable[[Listen | Probe], list[bytes]]:
    """A device that streams: sound at its own rate, noise at every other."""

    def hear(step: Listen | Probe) -> list[bytes]:
        sound = said_by(driver)
        if step.baud == card(driver).baud:
            return [sound[7:]]  # joined within a frame
        return [Random(step.baud).randbytes(len(sound) // 2)]

    return hear


def test_every_serial_driver_has_a_framer_to_be_recognised_by() -> None:
    assert {each.name for each in SERIAL} == set(FRAMERS)
    assert {*STREAMS, "suretemp"} <= set(FRAMERS)


@pytest.mark.parametrize("driver", STREAMS)
def test_streaming_device_is_recognised_whatever_its_cable_says(driver: str) -> None:
    for ids in (None, "0403:6001", "2fe3:0100", "ffff:0000"):
        said, steps = climb(ladder(ids), at_its_rate(driver))
        assert (said.verdict, said.drivers) == (Verdict.RECOGNISED, (driver,))
        assert all(isinstance(step, Listen) for step in steps)


@pytest.mark.parametrize("driver", STREAMS)
def test_usb_identity_alone_is_never_enough(driver: str) -> None:
    for ids in card(driver).match.usb:
        said, _ = climb(ladder(ids), lambda _: [])
        assert (said.verdict, said.drivers) == (Verdict.SILENT, ())


def test_usb_identity_orders_the_tries() -> None:
    (first, *_) = climb(ladder("2fe3:0100"), lambda _: [])[1]
    assert first.baud == card("healthypi6").baud
    (first, *_) = climb(ladder("067b:2303"), lambda _: [])[1]
    assert first.baud == card("suretemp").baud


def test_few_sound_frames_are_not_enough() -> None:
    frames = [raw for _, raw in simulate(2.0)][: FRAMES - 1]
    said, _ = climb(ladder(), lambda step: frames if step.baud == 115200 else [])
    assert said.verdict is Verdict.UNREADABLE


def test_module_that_only_answers_is_asked_after_all_listening() -> None:
    module = Module()

    def hear(step: Listen | Probe) -> list[bytes]:
        return [module.answer(step.content)] if isinstance(step, Probe) else []

    said, steps = climb(ladder("067b:2303"), hear)
    assert (said.verdict, said.drivers) == (Verdict.RECOGNISED, ("suretemp",))
    probes = [step for step in steps if isinstance(step, Probe)]
    assert [(each.content, each.baud) for each in probes] == [(ASK, 9600)]
    assert steps[-1] == probes[-1]


def test_echo_of_the_question_is_no_answer() -> None:
    def hear(step: Listen | Probe) -> list[bytes]:
        return [step.content] if isinstance(step, Probe) else []

    said, _ = climb(ladder(), hear)
    assert said.verdict is not Verdict.RECOGNISED


def test_nothing_is_said_to_a_device_that_speaks() -> None:
    _, steps = climb(ladder(), lambda step: [Random(step.baud).randbytes(500)])
    assert not any(isinstance(step, Probe) for step in steps)


def test_garbage_at_every_rate_is_unreadable() -> None:
    said, _ = climb(ladder(), lambda step: [Random(step.baud).randbytes(20_000)])
    assert (said.verdict, said.drivers) == (Verdict.UNREADABLE, ())


def test_keystrokes_of_a_scanner_are_told_as_text() -> None:
    said, _ = climb(ladder(), lambda _: [b"6111234567890\r\n", b"6111234567890\r\n"] * 10)
    assert (said.verdict, said.drivers) == (Verdict.TEXT, ())
    assert "barcode scanner" in said.sentence


def test_device_that_speaks_for_ever_ends_each_step() -> None:
    said, steps = climb(ladder(), lambda _: (b"\xff" * 1000 for _ in count()))
    assert said.verdict is Verdict.UNREADABLE
    rates = {each.baud for each in SERIAL}
    assert len(steps) == len(rates)


def test_what_is_held_stays_bounded() -> None:
    at = ladder()
    at.hear(b"\xff" * (ENOUGH * 3))
    assert len(at._heard) <= ENOUGH


def test_speech_that_fits_two_drivers_is_not_decided() -> None:
    rival = {"healthypi6": FRAMERS["healthypi6"], "healthypi4": FRAMERS["healthypi6"]}
    said, _ = climb(Recognition(None, SERIAL, rival), at_its_rate("healthypi6"))
    assert (said.verdict, set(said.drivers)) == (Verdict.SEVERAL, set(rival))
    assert said.sentence.startswith("unknown device")


def test_board_that_was_still_starting_is_heard_at_the_first_rate_once_more() -> None:
    at = ladder("2fe3:0100")
    tries: list[int] = []

    def hear(step: Listen | Probe) -> list[bytes]:
        tries.append(step.baud)
        return [said_by("healthypi6")] if tries.count(115200) == 2 else []

    said, _ = climb(at, hear)
    assert said.drivers == ("healthypi6",)


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (Listen, Probe):
        monkeypatch.setattr(recognition, step.__name__, _quick(step))


def _quick(step: type[Any]) -> type[Any]:
    class Quick(step):  # type: ignore[misc] # its base is known only now
        def __init__(self, *words: Any) -> None:
            super().__init__(*words, seconds=0.3)

    return Quick


@pytest.mark.usefixtures("brisk")
async def test_real_port_is_climbed_until_the_device_is_known(tmp_path: Path) -> None:
    host = PtyHost(tmp_path / "port")
    host.plug()
    playing = asyncio.create_task(host.play(simulate(30.0), pace=4.0))
    try:
        found = await recognise.recognise(str(host.path))
    finally:
        host.unplug()
        await asyncio.wait({playing})
    assert (found["verdict"], found["drivers"]) == ("recognised", ["healthypi6"])
    assert (found["usb"], found["port"], found["serial"]) == (None, None, None)


@pytest.mark.usefixtures("brisk")
async def test_real_module_is_asked_on_its_port(tmp_path: Path) -> None:
    host, module = PtyHost(tmp_path / "port"), Module()
    host.plug()
    answering = asyncio.create_task(_answer(host, module))
    try:
        found = await recognise.recognise(str(host.path))
    finally:
        answering.cancel()
        await asyncio.wait({answering})
        host.unplug()
    assert (found["verdict"], found["drivers"]) == ("recognised", ["suretemp"])


async def _answer(host: PtyHost, module: Module) -> None:
    while True:
        await asyncio.sleep(0.01)
        assert host._ends is not None
        try:
            heard = os.read(host._ends[0], 4096)
        except BlockingIOError:
            continue
        await host.say(module.answer(heard))


@pytest.mark.usefixtures("brisk")
def test_command_prints_what_a_silent_port_is(tmp_path: Path) -> None:
    host = PtyHost(tmp_path / "port")
    host.plug()
    try:
        words = CliRunner().invoke(cli, ["recognise", str(host.path)])
        told = CliRunner().invoke(cli, ["recognise", str(host.path), "--json"])
    finally:
        host.unplug()
    assert words.exit_code == told.exit_code == 0
    assert "unknown device: it says nothing" in words.output
    assert "no USB identity" in words.output
    assert json.loads(told.output)["verdict"] == "silent"


def test_command_says_plainly_that_nothing_is_plugged_in(tmp_path: Path) -> None:
    told = CliRunner().invoke(cli, ["recognise", str(tmp_path / "absent")])
    assert told.exit_code == 1
    assert "nothing is plugged in here" in told.output
