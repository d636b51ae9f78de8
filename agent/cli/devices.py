"""`qafila devices`: what is bound and how it is, or what could be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from agent.cli.common import ago, json_option, load_settings, said_plainly, settings_option, table

if TYPE_CHECKING:
    from pathlib import Path


@click.command("devices", help="Devices that are bound, and how they are; or the catalogue.")
@click.option("--catalogue", is_flag=True, help="List the drivers this version has.")
@settings_option
@json_option
def command(path: Path, catalogue: bool, as_json: bool) -> None:  # noqa: FBT001
    """Print a table."""
    found = _catalogue() if catalogue else _bound(path)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
    elif catalogue:
        click.echo(_catalogue_table(found))
    else:
        click.echo(_bound_table(found))


def _catalogue() -> dict[str, Any]:
    import msgspec  # noqa: PLC0415

    from drivers.card import cards  # noqa: PLC0415

    return {each.name: msgspec.to_builtins(each) for each in cards()}


def _catalogue_table(found: dict[str, Any]) -> str:
    rows = [("driver", "transport", "sources", "what it is")]
    rows += [
        (name, each["transport"], ", ".join(each["sources"]), each["title"])
        for name, each in found.items()
    ]
    return table(list(rows))


def _bound(path: Path) -> dict[str, Any]:
    from agent import status_file  # noqa: PLC0415

    with said_plainly():
        settings = load_settings(path)
    try:
        status, age = status_file.read(path.__class__(settings.unit.state))
    except (OSError, ValueError, KeyError):
        status, age = {"devices": {}, "unbound": []}, None
    devices = {
        each.name: status["devices"].get(each.name)
        or {"driver": each.driver, "box": each.box, "at": each.at, "state": "unknown"}
        for each in settings.devices
    }
    return {"age_seconds": age, "devices": devices, "unbound": status["unbound"]}


def _bound_table(found: dict[str, Any]) -> str:
    rows = [("device", "box", "driver", "at", "state", "readings")]
    rows += [
        (
            name,
            each["box"] or "-",
            each["driver"],
            each["at"],
            f"{each['state']} {each.get('detail', '')}".strip(),
            str(each.get("readings", "")),
        )
        for name, each in found["devices"].items()
    ]
    lines = [table(list(rows))]
    lines += [
        f"seen, not bound: {each['name'] or 'no name'} {each['address']} "
        f"(services {', '.join(each['services'])})"
        for each in found["unbound"]
    ]
    age = found["age_seconds"]
    lines.append("no figures yet: is the agent running?" if age is None else f"{ago(age)} old")
    return "\n".join(lines)
