"""The command line. Each command is imported when it is called, so `status` stays light."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import click

from agent import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "run": "Run the agent: devices, store, uplink.",
    "status": "How is the unit? One verdict line first; Nagios exit codes.",
    "devices": "Devices that are bound, and how they are; or the catalogue of drivers.",
    "readings": "The latest readings, and whether the centre has confirmed them.",
    "pending": "What the centre has not confirmed yet, and why.",
    "consultation": "Open or close the consultation of a box.",
    "snapshot": "Take a picture with a dermatoscope.",
    "enter": "Enter by hand what a person measured.",
    "export": "Write what the centre lacks onto a stick, sealed.",
    "import-receipts": "Settle what the centre has written onto a stick.",
    "ask": "Ask an expert at the centre, urgently, about readings.",
    "reconnect": "Try the link to the centre now, without waiting.",
    "reconcile": "Compare with the centre, day by day, what it has confirmed.",
    "decode": "Decode one captured frame, without hardware.",
    "recognise": "Find out what is plugged into a serial port.",
    "fsck": "Check the database whole, on a stopped unit; --repair salvages it.",
    "init": "Make the keys of a new state folder.",
    "simulate": "Put simulated devices on real transports, for training and tests.",
    "demo": "Show the whole way of a reading, from a device to the centre, with the link cut.",
}


class _Lazy(click.Group):
    """A group that knows its commands' names and imports what is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(_module(cmd_name)).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _module(name: str) -> str:
    return f"agent.cli.{name.replace('-', '_')}"


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="qafila")
def cli() -> None:
    """Qafila: readings from devices to the centre, with or without a link."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `qafila` command."""
    cli.main(args=None if arguments is None else list(arguments), prog_name="qafila")
