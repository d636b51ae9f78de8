"""Before the database is opened: see whether it is damaged, and set it aside where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.damage import quarantine, witness
from agent.damage.examine import acquit, confirmed, examine, known_last
from agent.errors import StoreBroken
from agent.store import schema

if TYPE_CHECKING:
    from pathlib import Path

    from agent.damage.witness import Witness


def clear_way(folder: Path, key: str, unit: str, origin: str, known: str | None = None) -> None:
    """Leave in a folder either a database that opens, or none; `known` is damage found elsewhere.

    Raises StoreBroken, and changes nothing, for another key, another unit's folder, or a
    database of a newer version.
    """
    quarantine.finish(folder)
    seen = witness.read(folder)
    seen = seen if seen is not None and seen.fits(key) else None
    reason = examine(folder, key, seen) or known or confirmed(folder, key)
    if reason is None:
        return
    if seen is not None:
        check_owner(seen, unit, origin)
    last = known_last(folder, seen.epoch) if seen else {}
    quarantine.set_aside(folder, quarantine.Why(reason, quarantine.moment(), last))
    acquit(folder)


def check_owner(seen: Witness, unit: str, origin: str) -> None:
    """StoreBroken where the folder belongs to another unit, or to a newer version."""
    if (seen.unit, seen.origin) != (unit, origin):
        raise StoreBroken(another_unit((seen.unit, seen.origin), (unit, origin)))
    if seen.generation > schema.GENERATION:
        raise StoreBroken(newer_version(seen.generation))


def another_unit(found: tuple[str, str], set_: tuple[str, str]) -> str:
    """The sentence for a folder of another unit or origin."""
    return (
        f"the state folder belongs to unit {found[0]} ({found[1]}), not to {set_[0]} ({set_[1]}): "
        "set $.unit.name and $.unit.origin to match, or use another folder"
    )


def newer_version(generation: int) -> str:
    """The sentence for a database that this version can't work with."""
    return (
        f"the database was written by a newer qafila (generation {generation}, this one writes "
        f"{schema.GENERATION}): install that version"
    )
