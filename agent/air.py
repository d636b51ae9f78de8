"""Everything Bluetooth of a unit: what is bound over the air, the radio, and its recovery."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from agent.store.settling import alarm
from agent.supervisor import keep
from drivers.errors import Unavailable
from drivers.ladder import Ladder, Trouble
from drivers.links.stack import Kept, NotPossible

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.board import Board
    from agent.store.store import Store
    from drivers.ladder import Step
    from drivers.links.gatt import Bound, Radio
    from drivers.links.stack import AskPasskey, Stack

ALL_BLUETOOTH = "bluetooth"
SYSTEM = "system"
_ADAPTERS = Path("/sys/class/bluetooth")
_SEEN_EVERY = 2.0
_STUCK = "Bluetooth does not recover by itself"
_LOG = structlog.get_logger("qafila.air")


class Air:
    """The radio serves every device of `bound`, which may change at any time."""

    def __init__(self, store: Store, board: Board, radio: str) -> None:
        self._store = store
        self._board = board
        self._name = radio
        self._bound: dict[str, Bound] = {}
        self._names: dict[str, str] = {}
        self._ladder = Ladder()
        self._kept = Kept()
        self._radio: Radio | None = None
        self._needed = asyncio.Event()
        self._remedy = ""

    def bind(self, address: str, name: str, bound: Bound) -> None:
        """Serve a device from now on."""
        self._bound[address.upper()] = bound
        self._names[address.upper()] = name
        self._board.unbound = tuple(
            each for each in self._board.unbound if each["address"] != address.upper()
        )
        self._needed.set()

    def release(self, address: str) -> None:
        """Serve a device no more; a visit that is under way is seen through."""
        self._bound.pop(address.upper(), None)
        self._names.pop(address.upper(), None)

    async def run(self) -> None:
        """Keep the radio going, as soon as there is an adapter or something is bound."""
        if self._name == SYSTEM and not _any_adapter():
            await self._needed.wait()
        await keep(ALL_BLUETOOTH, self._run, self._report)

    async def pair(self, address: str, ask: AskPasskey) -> None:
        """Pair a device, as a person wants it; see `Radio.pair`."""
        self._needed.set()
        if self._radio is None:
            raise Unavailable("Bluetooth", "it does not work just now: see `qafila status`")
        await self._radio.pair(address, ask)

    def _report(self, state: str, detail: str) -> None:
        for name in self._names.values():
            self._board.report(name, state, detail)

    async def _run(self) -> None:
        async with _open(self._name, self._kept) as (radio, stack):
            self._radio = radio
            watching = asyncio.create_task(self._watch(radio))
            try:
                await self._serve(radio, stack)
            finally:
                self._radio = None
                watching.cancel()
                self._board.unbound = ()

    async def _serve(self, radio: Radio, stack: Stack) -> None:
        from drivers.links.gatt import Quiet  # noqa: PLC0415 - bleak only where a radio is

        try:
            await radio.run(self._bound)
        except Quiet:
            await self._recover(stack, Trouble.SILENT, "nobody at all is heard")
        except Unavailable as gone:
            self._radio = None
            await self._recover(stack, Trouble.REFUSED, gone.reason)
            raise

    async def _recover(self, stack: Stack, trouble: Trouble, reason: str) -> None:
        """Take the next step of the ladder, and say so; nothing where nothing is bound."""
        if not self._bound:
            return
        climb = self._ladder.troubled(asyncio.get_running_loop().time(), trouble)
        if climb.step is not None:
            await self._step(stack, climb.step, reason)
        elif climb.alarm:
            detail = f"{_STUCK} ({reason}){self._remedy and ': '}{self._remedy}"
            _LOG.error("ladder-ended", reason=reason, remedy=self._remedy)
            await self._store.writer.write(
                lambda connection: alarm(connection, "bluetooth-stuck", detail)
            )
        await asyncio.sleep(climb.pause)

    async def _step(self, stack: Stack, step: Step, reason: str) -> None:
        _LOG.warning("ladder", step=step.value, reason=reason)
        self._report("unavailable", f"{reason}; now: {step.value}")
        try:
            await stack.climb(step)
        except NotPossible as no:
            self._remedy = no.remedy
            _LOG.warning("ladder-not-possible", step=step.value, remedy=no.remedy)
        except Unavailable as gone:
            _LOG.warning("ladder-not-possible", step=step.value, remedy=gone.reason)

    async def _watch(self, radio: Radio) -> None:
        while True:
            self._board.unbound = tuple(
                {"address": each.address, "name": each.name, "services": list(each.services)}
                for each in radio.seen
            )
            await asyncio.sleep(_SEEN_EVERY)


def _any_adapter() -> bool:
    return _ADAPTERS.is_dir() and any(_ADAPTERS.iterdir())


@asynccontextmanager
async def _open(name: str, kept: Kept) -> AsyncIterator[tuple[Radio, Stack]]:
    from drivers.links.gatt import Radio  # noqa: PLC0415 - bleak only where a radio is

    if name == SYSTEM:
        from drivers.links.bluez import open_stack  # noqa: PLC0415 - as above

        async with open_stack(kept=kept) as bluez:
            yield Radio(stack=bluez, bonds=kept.bonds), bluez
        return
    from drivers.lab.pairing import lab_stack  # noqa: PLC0415 - bumble only in simulation
    from drivers.lab.radio import open_adapter  # noqa: PLC0415 - as above

    try:
        async with open_adapter(name) as backends:
            lab = lab_stack(backends)
            scanner, client = backends
            yield Radio(scanner_backend=scanner, client_backend=client, stack=lab), lab
    except (OSError, EOFError) as error:
        raise Unavailable("Bluetooth", "the simulated radio does not answer") from error
