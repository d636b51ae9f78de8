"""The card of a driver, `driver.toml`: what it matches, measures and promises.

Cards feed `qafila devices --catalogue`, the decoder's sources and the contract suite.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING, Literal, cast

import msgspec

from drivers import DRIVERS

if TYPE_CHECKING:
    from drivers.base import DecodeFunction, Driver


class Measures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One quantity: its IEEE 11073 MDC code in decimal, its UCUM unit, its name for people."""

    code: str
    unit: str
    name: str


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a candidate device shows of itself. VID:PID alone never identifies a device.

    `suffixes` are the ends of the file names that a driver of folders reads: `.ecg`. `probe`
    changes nothing in any device, and this one answers it with bytes that hold `answer` (hex).
    """

    services: tuple[str, ...] = ()
    usb: tuple[str, ...] = ()
    sync: str = ""
    suffixes: tuple[str, ...] = ()
    probe: str = ""
    answer: str = ""


Pairing = Literal["none", "just-works", "passkey"]
"""What a person does to pair it: nothing, agree, or type in what the device displays."""

ClockSetting = Literal["current-time", "date-time", "never"]
"""How its clock is set: Current Time (2A2B) once we listen; Date Time (2A08) inside its own
service and before we listen; not at all."""


class Quirk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A deviation of some models from their profile, as data.

    `name` is a regular expression. It is searched in what a device shows of itself: its name
    on the air, then the model number of its Device Information, then `company 020E`, the
    manufacturer id of its advertisement (see `drivers.spot.shown_as`). `pairing` and `clock`
    replace the card's where they are given.
    """

    name: str
    source: str
    apply: tuple[str, ...] = ()
    settle_ms: int = 0
    pairing: Pairing | None = None
    clock: ClockSetting | None = None


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole card.

    `baud` is a serial device's rate in bit/s, `commands` (hex) are what its
    driver ever asks of it, none of them an acknowledgement. `streams` are those of the
    sources that repeat a value under way; `control` is where a device must be asked for its
    records. `pairing` holds unless a quirk says otherwise. `rules` holds `done`, or
    `exempt: reason`, per rule of the suite.
    """

    name: str
    title: str
    transport: Literal["gatt", "serial", "camera", "folder"]
    sources: tuple[str, ...]
    kinds: tuple[str, ...]
    version: str
    models: tuple[str, ...]
    measures: tuple[Measures, ...]
    rules: dict[str, str]
    match: Match = Match()
    quirks: tuple[Quirk, ...] = ()
    streams: tuple[str, ...] = ()
    control: str = ""
    pairing: Pairing = "none"
    baud: int = 115200
    commands: tuple[str, ...] = ()
    notes: str = ""


@cache
def card(driver: str) -> Card:
    """The card of a registered driver; KeyError for a name that isn't one."""
    text = files(DRIVERS[driver]).joinpath("driver.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), Card)


def cards() -> tuple[Card, ...]:
    """Every card, in the order of the registry."""
    return tuple(card(name) for name in DRIVERS)


def driver_of_source(source: str) -> str | None:
    """The driver that decodes a source (`2A35`, a driver's name), or None."""
    wanted = source.upper()
    for each in cards():
        if wanted in {known.upper() for known in each.sources}:
            return each.name
    return None


def decoder(driver: str, source: str | None = None) -> DecodeFunction:
    """The pure decoder of a driver's source, loaded without its link library.

    A codec of several sources names the decoder of each in `DECODERS`; `decode` is that of the
    first, and of all there is where a driver has one.
    """
    codec = import_module(f"{DRIVERS[driver]}.codec")
    known: dict[str, DecodeFunction] = getattr(codec, "DECODERS", {})
    return known.get((source or "").upper(), cast("DecodeFunction", codec.decode))


def build(driver: str, settings: dict[str, object]) -> Driver:
    """A driver ready to run with its own settings; `Misconfigured` where they can't work."""
    return cast("Driver", import_module(f"{DRIVERS[driver]}.driver").build(settings))
