"""Topic names (contract, part 3). The unit id in the topic is the one the broker checked."""

from __future__ import annotations

from dataclasses import dataclass

from sync.contract.errors import ContractFault
from sync.contract.fields import LANES, UNIT

ROOTS = {"clinical": "qafila/v1", "simulated": "qafila-sim/v1"}
"""The root of each origin; a clinical centre refuses the other (C-3.1)."""
UP = ("hello", "chunk", "state", "digest", *(f"log/{lane}" for lane in LANES))
DOWN = ("receipt", "digest", "command", "answer")


@dataclass(frozen=True, slots=True)
class Address:
    """A topic taken apart: origin, unit and channel (`up/hello`, `down/receipt`, …)."""

    origin: str
    unit: str
    channel: str


def topic(origin: str, unit: str, channel: str) -> str:
    """The topic of a channel, for instance `qafila/v1/azilal-03/up/log/urgent`."""
    return f"{ROOTS[origin]}/{unit}/{channel}"


def address(name: str) -> Address:
    """Take a topic apart; ContractFault `topic` for one that is not ours."""
    for origin, root in ROOTS.items():
        unit, _, channel = name.removeprefix(f"{root}/").partition("/")
        way, _, leaf = channel.partition("/")
        known = leaf in {"up": UP, "down": DOWN}.get(way, ())
        if name.startswith(f"{root}/") and UNIT.fullmatch(unit) and known:
            return Address(origin, unit, channel)
    raise ContractFault("topic", "the topic is none of the contract's")
