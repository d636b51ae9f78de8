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
    """What a candidate device shows of itself. VID:PID alone never identifies a device."""

    services: tuple[str, ...] = ()
    usb: tuple[str, ...] = ()
    sync: str = ""


class Quirk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A deviation of some models from their profile, as data. `name` is a regular expression."""

    name: str
    source: str
    apply: tuple[str, ...]
    settle_ms: int = 0


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole card. `baud` is a serial device's rate in bit/s. `rules` holds `done`, or `exempt: reason`, per rule of the suite."""

    name: str
    title: str
    transport: Literal["gatt", "serial", "camera"]
    sources: tuple[str, ...]
    kinds: tuple[str, ...]
    version: str
    models: tuple[str, ...]
    measures: tuple[Measures, ...]
    rules: dict[str, str]
    match: Match = Match()
    quirks: tuple[Quirk, ...] = ()
    baud: int = 115200
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


def decoder(driver: str) -> DecodeFunction:
    """The pure `decode` of a driver, loaded without its link library."""
    return cast("DecodeFunction", import_module(f"{DRIVERS[driver]}.codec").decode)


def build(driver: str, settings: dict[str, object]) -> Driver:
    """A driver ready to run with its own settings; `Misconfigured` where they can't work."""
    return cast("Driver", import_module(f"{DRIVERS[driver]}.driver").build(settings))
