"""`qafila recognise`: what is plugged into a serial port, found out by listening."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from agent.cli.common import json_option, said_plainly

if TYPE_CHECKING:
    from drivers.links.serial import SerialLink
    from drivers.links.udev import Candidate
    from drivers.recognition import Conclusion, Recognition


@click.command("recognise", help="Find out what is plugged into a serial port.")
@click.argument("path", metavar="PATH")
@json_option
def command(path: str, as_json: bool) -> None:  # noqa: FBT001
    """PATH is a port that the agent does not have open; takes up to a quarter of a minute."""
    with said_plainly():
        found = asyncio.run(recognise(path))
    click.echo(json.dumps(found, ensure_ascii=False) if as_json else _words(found))


async def recognise(path: str) -> dict[str, Any]:
    """Climb the ladder on a real port; Unavailable where it is absent or open elsewhere."""
    from drivers.card import cards  # noqa: PLC0415
    from drivers.links.serial import SerialLink  # noqa: PLC0415
    from drivers.links.udev import candidates, locate  # noqa: PLC0415
    from drivers.recognition import Conclusion, Recognition  # noqa: PLC0415

    known = candidates()
    place = locate(path, known)
    candidate = _of(place.path, known)
    serial = [each for each in cards() if each.transport == "serial"]
    ladder = Recognition(
        candidate.ids if candidate else None,
        serial,
        {each.name: framer for each in serial if (framer := _framer(each.name)) is not None},
    )
    if isinstance(ladder.step, Conclusion):
        return _told(place.path, candidate, ladder.step, place.remark)
    link = SerialLink.open(place.path, ladder.step.baud)
    try:
        said = await _climb(ladder, link)
    finally:
        link.close()
    return _told(place.path, candidate, said, place.remark)


async def _climb(ladder: Recognition, link: SerialLink) -> Conclusion:
    from drivers.recognition import Conclusion, Probe  # noqa: PLC0415

    while not isinstance(step := ladder.step, Conclusion):
        link.retune(step.baud)
        if isinstance(step, Probe):
            await link.write(step.content)
        try:
            async with asyncio.timeout(step.seconds):
                while ladder.step is step:
                    ladder.hear(await link.read())
        except TimeoutError:
            ladder.elapse()
    return step


def _framer(driver: str) -> Any:
    from drivers import DRIVERS  # noqa: PLC0415

    return getattr(import_module(f"{DRIVERS[driver]}.codec"), "Framer", None)


def _of(path: str, known: tuple[Candidate, ...]) -> Candidate | None:
    from pathlib import Path  # noqa: PLC0415

    real = str(Path(path).resolve())
    return next((each for each in known if each.path in {path, real}), None)


def _told(path: str, candidate: Candidate | None, said: Conclusion, remark: str) -> dict[str, Any]:
    return {
        "path": path,
        "usb": candidate and candidate.ids,
        "port": candidate and candidate.port,
        "serial": candidate and candidate.serial,
        "verdict": said.verdict.value,
        "drivers": list(said.drivers),
        "sentence": said.sentence,
        "remark": remark,
    }


def _words(found: dict[str, Any]) -> str:
    usb = found["usb"] or "no USB identity"
    where = found["port"] or "no USB socket known"
    lines = [f"{found['path']} ({usb}, {where}): {found['sentence']}"]
    if found["verdict"] == "recognised":
        lines.append(f"bind it with the driver {found['drivers'][0]}")
    if found["remark"]:
        lines.append(found["remark"])
    return "\n".join(lines)
