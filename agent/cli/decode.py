"""`qafila decode`: one captured frame, without hardware, without a unit."""

from __future__ import annotations

import json
import re
from typing import Any

import click

from agent.cli.common import json_option, said_plainly

_HEX = re.compile(r"[0-9A-Fa-f]+")


@click.command(
    "decode",
    help="Decode one captured frame, without hardware.",
    context_settings={"ignore_unknown_options": True},  # a frame with a dash is a wrong frame
)
@click.argument("source")
@click.argument("hexadecimal", metavar="HEX")
@click.option("--name", help="What the device calls itself; quirks of its model hang on it.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    source: str,
    hexadecimal: str,
    name: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """SOURCE is a characteristic (2A35) or a serial driver's name. Exit 0 for a reading."""
    from drivers.decode import decode_frame  # noqa: PLC0415

    with said_plainly():
        said = decode_frame(source, _bytes(hexadecimal), name)
    click.echo(json.dumps(said, ensure_ascii=False) if as_json else _words(said))
    ctx.exit(0 if said["outcome"] == "reading" else 1)


def _bytes(text: str) -> bytes:
    if not text:
        raise click.ClickException("the frame is empty: give its bytes as hexadecimal digits")
    if not _HEX.fullmatch(text):
        raise click.ClickException(
            "the frame must be hexadecimal digits only: leave out spaces, colons and 0x"
        )
    if len(text) % 2:
        raise click.ClickException("the frame has an odd number of digits: one is missing")
    return bytes.fromhex(text)


def _words(said: dict[str, Any]) -> str:
    if said["outcome"] != "reading":
        return f"{said['outcome']}: {said['reason']}"
    return "\n".join(_reading(each) for each in said["readings"])


def _reading(reading: dict[str, Any]) -> str:
    from config.codes import QUANTITIES, UNIT_NAMES  # noqa: PLC0415

    lines = [reading["kind"]]
    for value in reading["values"]:
        known = QUANTITIES.get(value["code"])
        name = known.name if known else value["code"]
        lines.append(f"  {name}: {value['value']} {UNIT_NAMES.get(value['unit'], value['unit'])}")
    if reading["device_time"]:
        trust = "" if reading["clock_trusted"] else " (the device's clock is not to be trusted)"
        lines.append(f"  device time: {reading['device_time']}{trust}")
    for key, label in (("user_slot", "user slot"), ("site", "site")):
        if reading[key] is not None:
            lines.append(f"  {label}: {reading[key]}")
    lines += [
        f"  {key}: {', '.join(reading[key])}" for key in ("status", "quality") if reading[key]
    ]
    return "\n".join(lines)
