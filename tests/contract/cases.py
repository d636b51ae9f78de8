"""What the contract runs over: the registry, its cards, and captured frames as folders."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from drivers import DRIVERS
from drivers.card import card

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from drivers.card import Card

CAPTURES = Path(__file__).parent.parent / "captures"

RULES = frozenset(
    {
        "captures",
        "byte-by-byte",
        "truncation",
        "bit-flips",
        "simulator",
        "link-lost",
        "cancellation",
        "kept-before-decoded",
        "acknowledged-after-record",
    }
)


@dataclass(frozen=True)
class Case:
    """One captured frame and what it must say.

    `about` is its case.toml: `source` tells whose frame it is (device, firmware, by whom), or
    `synthetic` and after which clause; `name` is what the device calls itself, if anything;
    `characteristic` is the source it came from, where that is not the first of the card.
    """

    driver: str
    name: str
    about: dict[str, str]
    device: str | None
    raw: bytes
    expected: dict[str, object]

    @property
    def source(self) -> str:
        return self.about.get("characteristic", card(self.driver).sources[0])

    def __str__(self) -> str:
        return f"{self.driver}/{self.name}"


def load(folder: Path) -> Case:
    about = tomllib.loads((folder / "case.toml").read_text("utf-8"))
    return Case(
        driver=folder.parent.name,
        name=folder.name,
        about=about,
        device=about.get("name"),
        raw=bytes.fromhex((folder / "wire.hex").read_text("ascii")),
        expected=json.loads((folder / "expected.json").read_text("utf-8")),
    )


def folders(driver: str) -> list[Path]:
    return sorted(each.parent for each in (CAPTURES / driver).glob("*/wire.hex"))


@cache
def cases(driver: str) -> tuple[Case, ...]:
    return tuple(load(folder) for folder in folders(driver))


def held_to(rule: str) -> list[str]:
    """The drivers whose cards do not claim an exemption from a rule."""
    assert rule in RULES
    return [driver for driver in DRIVERS if card(driver).rules.get(rule) == "done"]


def codec(driver: str) -> ModuleType:
    return import_module(f"{DRIVERS[driver]}.codec")


def conflicts(cards: Iterable[Card]) -> list[str]:
    """What two cards both claim: a source, a GATT service, or the start of a stream."""
    claims = {
        each.name: {
            *(f"source {source.upper()}" for source in each.sources),
            *(f"service {service.upper()}" for service in each.match.services),
            *({f"sync {each.match.sync.lower()}"} if each.match.sync else set()),
        }
        for each in cards
    }
    return [
        f"{one} and {other}: {claim}"
        for one, other in combinations(claims, 2)
        for claim in sorted(claims[one] & claims[other])
    ]
