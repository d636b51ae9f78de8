"""The command line of a centre: `qafila-central`."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
import structlog

from central import backup, export, report
from central.errors import CentreError, Misconfigured
from central.files import alone, write_durably
from central.intake import Desk, Intake
from central.keys import PUBLIC, create_key, load_key, load_public_key, load_sealing_key
from central.ledger import Ledger
from central.receiver import Receiver
from central.settings import SAMPLE, SETTINGS, load_settings
from central.store import create, open_store
from sync.contract.fields import UNIT
from sync.contract.topics import ROOTS
from sync.stick import StickFault

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENDING = {signal.SIGTERM, signal.SIGINT}
_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)


@contextmanager
def _plainly() -> Iterator[None]:
    """Show an error as one sentence."""
    try:
        yield
    except (CentreError, StickFault) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        what = error.filename or "a file"
        raise click.ClickException(f"{what} can't be used: {error.strerror}") from None


@click.group()
def main() -> None:
    """Receive what mobile units record, and confirm it once it is committed."""


@main.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option(
    "--origin",
    type=click.Choice(tuple(ROOTS)),
    default="clinical",
    show_default=True,
    help="Whether this centre takes records of real people or of simulations.",
)
def init(folder: Path, origin: str) -> None:
    """Make a new centre in DIR: its database, its key and its settings."""
    with _plainly():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        create(folder, origin)
        create_key(folder)
        if not (folder / SETTINGS).exists():
            write_durably(folder / SETTINGS, [SAMPLE], 0o600)
    click.echo(f"A {origin} centre stands in {folder}. Units pin {folder / PUBLIC}.")


@main.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.argument("unit")
@click.argument("public_key_file", type=_FILE)
def enrol(folder: Path, unit: str, public_key_file: Path) -> None:
    """Let UNIT speak, signing with the key in PUBLIC_KEY_FILE and no other."""
    with _plainly():
        if not UNIT.fullmatch(unit):
            remedy = "use 1 to 32 small letters, digits and hyphens"
            raise Misconfigured("the unit's name can't be used", remedy)
        key = load_public_key(public_key_file)
        with closing(open_store(folder)) as store, store.transaction():
            store.enrol(unit, key.public_bytes_raw())
    click.echo(f"{unit} is enrolled.")


@main.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
def run(folder: Path) -> None:
    """Receive until told to end; says `ready` once subscribed."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    with _plainly():
        settings = load_settings(folder)
        key = load_key(folder)
        with alone(folder), closing(open_store(folder)) as store:
            receiver = Receiver(Ledger(store), key, store.origin, settings.broker, _say_ready)
            _receive(receiver)


@main.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Show everything, for programs.")
def status(folder: Path, *, as_json: bool) -> None:
    """Show units, lanes, how far they are settled, and what was refused."""
    with _plainly():
        found = report.status(folder)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    click.echo(f"{found.origin} centre, {len(found.units)} units, epoch {found.central_epoch}")
    for unit in found.units:
        _show_unit(unit)
    _show_counts("messages of senders not enrolled", found.strangers)


@main.command("export")
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.argument("target", type=_FOLDER)
def export_files(folder: Path, target: Path) -> None:
    """Write records and complete blobs as files below TARGET."""
    with _plainly():
        done = export.export(folder, target)
    click.echo(f"{done.records} records and {done.files} files were written to {target}.")


@main.command("import")
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.argument("stick", type=_FOLDER)
def import_files(folder: Path, stick: Path) -> None:
    """Commit what units exported to STICK, and write their receipts there."""
    with _plainly():
        signing, sealing = load_key(folder), load_sealing_key(folder)
        with closing(open_store(folder)) as store:
            taken = Desk(store, Ledger(store), signing, sealing).take_in(stick)
    for intake in taken:
        _show_intake(intake)
    if any(intake.refused or intake.remarks for intake in taken):
        words = "not everything on it was taken: see above"
        raise click.ClickException(words)


@main.command("backup")
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.argument("target", type=_FILE)
def back_up(folder: Path, target: Path) -> None:
    """Copy the database in use to TARGET, and tell units what the copy holds."""
    with _plainly():
        backup.back_up(folder, target)
    click.echo(f"{target} holds a copy. Keep it away from this machine, with the key beside it.")


@main.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
def restored(folder: Path) -> None:
    """Say that the database came back from a backup: units then send what it lacks."""
    with _plainly():
        epoch = backup.declare_restored(folder)
    click.echo(f"Units will be asked for what is missing. The central epoch is now {epoch}.")


_REMEDIES = {
    "unreadable": "damaged, or pulled out: export it again",
    "short": "torn: export it again",
    "magic": "no sealed file: export it again",
    "key": "signed with a key that is not enrolled: enrol the unit's present key",
    "signature": "changed since it was signed: export it again",
    "recipient": "sealed to another centre: carry it there, or pin this one's central.pub",
    "sealed": "taken from another unit's folder or damaged: export it again",
    "entries": "damaged: export it again",
}


def _show_intake(intake: Intake) -> None:
    counts = f"{intake.files} files read, {intake.new} records new here"
    click.echo(f"{intake.unit}: {counts}, {intake.receipts} receipts written")
    for code, times in sorted(intake.refused.items()):
        why = _REMEDIES.get(code, "see qafila-central status")
        click.echo(f"  {times} refused ({code}): {why}", err=True)
    for words in intake.remarks:
        click.echo(f"  {words}", err=True)


def _receive(receiver: Receiver) -> None:
    """Run until SIGTERM or SIGINT; waits in this thread, so that no handler interrupts work."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    work = threading.Thread(target=receiver.run, name="receiver")
    work.start()
    while work.is_alive() and signal.sigtimedwait(_ENDING, 1.0) is None:
        pass
    receiver.stop()
    work.join()


def _say_ready() -> None:
    """Print `ready`, for whoever started this and waits for it."""
    click.echo("ready")
    sys.stdout.flush()


def _show_unit(unit: report.UnitReport) -> None:
    blobs = f"{unit.blobs_complete} blobs complete, {unit.blobs_incomplete} incomplete"
    blobs += f" ({unit.blobs_lost} of them for ever)" if unit.blobs_lost else ""
    click.echo(f"{unit.unit}: {unit.records} records, {blobs}")
    for lane in unit.lanes:
        settled = f"taken {lane.taken}, refused {lane.refused}, lost {lane.lost}"
        over = ", closed: its database was damaged" if lane.closed else ""
        click.echo(f"  {lane.lane} of {lane.epoch}: {lane.through} of {lane.last}, {settled}{over}")
    if unit.compared:
        _show_compared(unit.compared)
    _show_counts("  refused records", unit.refused_records)
    _show_counts("  refused messages", unit.refused_messages)


def _show_compared(compared: report.Comparisons) -> None:
    open_ = [each for each in compared.damage if not each.mended]
    mended = len(compared.damage) - len(open_)
    click.echo(f"  last compared {compared.at}: {mended} damaged and mended, {len(open_)} differ")
    for each in open_:
        record = each.record_id or "a record not known here"
        click.echo(f"    {each.lane} {each.seq} of {each.epoch}: {record} is {each.found}")


def _show_counts(title: str, counts: dict[str, int]) -> None:
    if counts:
        click.echo(f"{title}: " + ", ".join(f"{code} {n}" for code, n in counts.items()))
