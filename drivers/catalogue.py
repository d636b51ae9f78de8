"""What the cards say of every driver, for people: behind `devices --catalogue` and its page."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

from drivers.card import cards

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drivers.card import Card, Quirk

COLUMNS = ("driver", "link", "sources", "kinds", "pairing", "what it is")

_WIDTH = 99
_GLUE = "\0"
_LINKS = {
    "gatt": "Bluetooth",
    "serial": "serial port",
    "camera": "camera",
    "folder": "files of a folder",
}
_PAIRING = {
    "none": "none",
    "just-works": "a person agrees (Just Works)",
    "passkey": "a person types in the passkey that the device displays",
}
_CLOCKS = {
    "current-time": "its clock is set (Current Time)",
    "date-time": "its clock is set before we listen (Date Time)",
    "never": "its clock is never set",
}
_HEAD = """# The devices

What each driver reads, as its card (`driver.toml` in its folder below `drivers/`) says it; whether
a model was seen, or only its frames in public sources, its captures tell (`case.toml` below
`tests/captures/`). `qafila devices --catalogue` prints the same in short, with `--json` every card
whole. This page is written by `make catalogue`; a test compares it with the cards.
"""


def row(its: Card) -> tuple[str, ...]:
    """One line of the catalogue, in the order of `COLUMNS`."""
    return (
        its.name,
        its.transport,
        ", ".join(its.sources),
        ", ".join(its.kinds),
        ", ".join(_pairings(its)),
        its.title,
    )


def page() -> str:
    """The whole catalogue as Markdown, in the order of the registry."""
    return "\n".join([_HEAD, *map(section, cards())])


def section(its: Card) -> str:
    """One driver's part of the page."""
    items = "\n".join(_item(f"{label}: {words}") for label, words in facts(its))
    notes = f"\n{_wrapped(its.notes)}\n" if its.notes else ""
    return f"## {its.title}\n\n{items}\n{notes}"


def facts(its: Card) -> Iterator[tuple[str, str]]:
    """What the card says, each fact under its label; names of the machine's are in backticks."""
    yield "Driver", f"{_code(its.name)}, version {its.version}"
    yield "Link", _link(its)
    yield "Models", "; ".join(its.models)
    yield "Records", ", ".join(map(_code, its.kinds))
    for each in its.measures:
        yield "Measures", f"{each.name} (MDC {each.code}, {_code(each.unit)})"
    yield "Sources, for `qafila decode`", ", ".join(map(_code, its.sources))
    if its.transport == "gatt":
        yield "Pairing", " or ".join(_PAIRING[each] for each in _pairings(its))
    for quirk in its.quirks:
        yield "Quirk", _quirk(quirk)


def _link(its: Card) -> str:
    match = its.match
    told = [_LINKS[its.transport]]
    if its.transport == "serial":
        told.append(f"{its.baud} baud")
    told += _named("service", match.services)
    told += _named("USB identity", match.usb)
    told += _named("frames that begin with", (match.sync,) if match.sync else ())
    told += _named("files that end in", match.suffixes)
    if match.probe:
        told.append(f"answers the question {_code(match.probe)}")
    return "; ".join(told)


def _named(what: str, names: Sequence[str]) -> list[str]:
    return [f"{what} {', '.join(map(_code, names))}"] if names else []


def _pairings(its: Card) -> list[str]:
    """The ways its models are paired, the usual one first."""
    return list(dict.fromkeys([its.pairing, *(each.pairing or its.pairing for each in its.quirks)]))


def _quirk(quirk: Quirk) -> str:
    told = [", ".join(map(_code, quirk.apply))] if quirk.apply else []
    if quirk.settle_ms:
        told.append(f"waits {quirk.settle_ms} ms before it listens")
    if quirk.pairing:
        told.append(f"pairing: {_PAIRING[quirk.pairing]}")
    if quirk.clock:
        told.append(_CLOCKS[quirk.clock])
    return f"where {_code(quirk.name)} is found: {'; '.join(told)} (after {quirk.source})"


def _code(text: str) -> str:
    return f"`{text.replace(' ', _GLUE)}`"


def _item(text: str) -> str:
    return _wrapped(text, "- ", "  ")


def _wrapped(text: str, first: str = "", rest: str = "") -> str:
    """Lines of the page's width; what stands in backticks is never parted."""
    glued = "`".join(
        part.replace(" ", _GLUE) if number % 2 else part
        for number, part in enumerate(" ".join(text.split()).split("`"))
    )
    filled = fill(
        glued,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return filled.replace(_GLUE, " ")
