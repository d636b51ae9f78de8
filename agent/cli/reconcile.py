"""`qafila reconcile`: compare what the centre has confirmed, and name what differs."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from agent.cli.common import ago, json_option, settings_option, table
from agent.cli.talk import talk

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 60.0
"""Seconds for which the end of the comparison is waited for."""
_LOOK_EVERY = 0.5


@click.command("reconcile", help="Compare with the centre, day by day, what it has confirmed.")
@settings_option
@json_option
@click.pass_context
def command(ctx: click.Context, path: Path, as_json: bool) -> None:  # noqa: FBT001
    """Print the result, each record that differs by its id. Exit 0 only where all is equal."""
    before = talk(path, {"do": "reconcile"})["last"]
    last = _await(path, _number(before))
    if last is None:
        words = "no comparison yet: it follows as soon as there is a link (`qafila status`)"
        raise click.ClickException(words)
    if as_json:
        click.echo(json.dumps(last, ensure_ascii=False))
    else:
        click.echo(_words(last))
    ctx.exit(0 if last["outcome"] == "equal" else 1)


def _await(path: Path, before: int) -> dict[str, Any] | None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        last: dict[str, Any] | None = talk(path, {"do": "reconciliation"})["last"]
        if _number(last) > before:
            return last
        time.sleep(_LOOK_EVERY)
    return None


def _number(last: dict[str, Any] | None) -> int:
    return 0 if last is None else int(last["number"])


def _words(last: dict[str, Any]) -> str:
    from agent.store.reconciling import WORDS  # noqa: PLC0415

    head = f"{last['records']} records of {last['days']} days were compared"
    if last["outcome"] == "unanswered":
        return f"{head}; then the centre did not answer: it may not know how to compare yet"
    if last["outcome"] == "equal":
        return f"{head}: the centre has them all, byte for byte"
    rows = [("day (UTC)", "lane", "seq", "record", "what")]
    rows += [
        (
            each["day"] or "-",
            each["lane"],
            str(each["seq"]),
            each["record"] or "unknown",
            WORDS.get(each["what"], each["what"]),
        )
        for each in last["differing"]
    ]
    return f"{head}; {len(last['differing'])} differ ({ago(last['age_seconds'])} ago):\n" + (
        table(list(rows))
    )
