"""A receipt through the writer: weighed in one transaction, a new epoch begun in its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.store import settling
from sync.lane import RestoredCopy

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.store.connection import Connection
    from agent.store.writer import Writer
    from sync.contract.receipt import Receipt
    from sync.lane import Verdict


async def settle(
    writer: Writer, destination: str, receipt: Receipt, weigh: Callable[[Connection], Verdict]
) -> Verdict:
    """Apply a verified receipt, as `weigh` does it; raises as `Writer.write`.

    After a loss of power between the two the centre says the same again, and the epoch is begun
    then.
    """
    verdict = await writer.write(weigh)
    if isinstance(verdict, RestoredCopy):
        await writer.write_alone(
            lambda connection: settling.begin_anew(connection, destination, receipt, writer.go_on)
        )
    return verdict
