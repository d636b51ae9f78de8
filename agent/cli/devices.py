"""`qafila devices`: what is bound and how it is, what could be; pair, bind and forget."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from agent.cli.common import ago, json_option, load_settings, said_plainly, settings_option, table
from agent.cli.talk import talk

if TYPE_CHECKING:
    from pathlib import Path

_TO_PAIR = {
    "none": "; needs no pairing",
    "just-works": "; pairing asks for nothing",
    "passkey": "; pairing asks for the passkey it displays",
}


@click.group(
    "devices",
    invoke_without_command=True,
    help="Devices that are bound, and how they are; pair, bind and forget; or the catalogue.",
)
@click.option("--catalogue", is_flag=True, help="List the drivers this version has.")
@settings_option
@json_option
@click.pass_context
def command(ctx: click.Context, path: Path, catalogue: bool, as_json: bool) -> None:  # noqa: FBT001
    """Print a table, where no further word says what else to do."""
    if catalogue:
        told = json.dumps(_catalogue(), ensure_ascii=False) if as_json else _catalogue_table()
        click.echo(told)
        ctx.exit()
    if ctx.invoked_subcommand is None:
        _list(path, as_json=as_json)


@command.command("list")
@settings_option
@json_option
def list_(path: Path, as_json: bool) -> None:  # noqa: FBT001
    """List what is bound, how it is, and what is in the air and not bound."""
    _list(path, as_json=as_json)


@command.command("pair")
@click.argument("address")
@settings_option
def pair(address: str, path: Path) -> None:
    """Pair the Bluetooth device at ADDRESS; it has to be in its pairing mode."""
    answer = talk(path, {"do": "pair", "address": address})
    click.echo("waiting for the device to call", err=True)
    while (stage := answer["stage"]) != "paired":
        if stage == "passkey":
            shown = click.prompt("the passkey shown on the device", err=True)
            answer = talk(path, {"do": "passkey", "passkey": shown.strip()})
        else:
            answer = talk(path, {"do": "pairing"})
    click.echo(f"{address} is paired")


@command.command("bind")
@click.argument("place", metavar="PLACE")
@click.argument("box")
@click.option("--driver", required=True, help="Its driver, as in the catalogue.")
@click.option("--name", required=True, help="What to call it: 1 to 32 of a-z, 0-9 and -.")
@click.option("--actor", required=True, help="Who binds it.")
@click.option("--calibration-due", help="A date: 2027-01-31.")
@settings_option
def bind(place: str, box: str, path: Path, **words: str | None) -> None:
    """Bind the device at PLACE (an address, or a path) to BOX, from now on."""
    given = {key: value for key, value in words.items() if value is not None}
    bound = talk(path, {"do": "bind", "at": place, "box": box, **given})["bound"]
    click.echo(f"{bound} is bound to box {box}")


@command.command("forget")
@click.argument("name")
@click.option("--actor", required=True, help="Who forgets it.")
@settings_option
def forget(name: str, actor: str, path: Path) -> None:
    """Take the device called NAME out of its box; what it gave stays."""
    talk(path, {"do": "forget", "device": name, "actor": actor})
    click.echo(f"{name} is forgotten")


def _list(path: Path, *, as_json: bool) -> None:
    found = _bound(path)
    click.echo(json.dumps(found, ensure_ascii=False) if as_json else _bound_table(found))


def _catalogue() -> dict[str, Any]:
    import msgspec  # noqa: PLC0415

    from drivers.card import cards  # noqa: PLC0415

    return {each.name: msgspec.to_builtins(each) for each in cards()}


def _catalogue_table() -> str:
    from drivers.card import cards  # noqa: PLC0415
    from drivers.catalogue import COLUMNS, row  # noqa: PLC0415

    return table([COLUMNS, *map(row, cards())])


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
    devices |= {name: each for name, each in status["devices"].items() if name not in devices}
    unbound = [each | {"pairing": _pairing(each)} for each in status["unbound"]]
    return {"age_seconds": age, "devices": devices, "unbound": unbound}


def _pairing(seen: dict[str, Any]) -> str | None:
    """What a person will have to do to pair what is seen, None where no driver reads it."""
    from drivers.card import cards  # noqa: PLC0415
    from drivers.spot import pairing_of  # noqa: PLC0415

    for each in cards():
        if set(each.match.services) & set(seen["services"]):
            return pairing_of(each, seen["name"])
    return None


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
        f"{name}: {words}"
        for name, each in found["devices"].items()
        for words in each.get("notes", {}).values()
    ]
    lines += [
        f"seen, not bound: {each['name'] or 'no name'} {each['address']} "
        f"(services {', '.join(each['services'])}){_TO_PAIR.get(each['pairing'], '')}"
        for each in found["unbound"]
    ]
    age = found["age_seconds"]
    lines.append("no figures yet: is the agent running?" if age is None else f"{ago(age)} old")
    return "\n".join(lines)
