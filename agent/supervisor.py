"""Keep children running. A device that is away is no error; a bug is, and says so.

Essential children are not kept here: their failure ends the process, and systemd restarts it.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import structlog

from agent.errors import StoreError, StoreFull
from drivers.errors import Misconfigured, ProtocolFault, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_AWAY = 1.0
"""Seconds until a device that is away is looked for again."""
_FAULT_CEILING = 30.0
_LOG = structlog.get_logger("qafila.supervisor")


async def keep(
    name: str, child: Callable[[], Awaitable[None]], report: Callable[[str, str], None]
) -> None:
    """Run a child for ever; ends by cancellation, a wrong setting, or a broken store.

    Logs once when a child goes and once when it has come back.
    """
    failures, away = 0, ""
    while True:
        try:
            await child()
            failures, away = 0, ""
            wait = _AWAY
        except Unavailable as gone:
            report("unavailable", gone.reason)
            if away != gone.reason:
                _LOG.warning("away", child=name, reason=gone.reason)
            failures, away, wait = 0, gone.reason, _AWAY
        except Misconfigured as wrong:
            report("misconfigured", wrong.remedy)
            _LOG.error("misconfigured", child=name, remedy=wrong.remedy)
            return
        except (ProtocolFault, StoreFull) as fault:
            failures += 1
            report("faulty", str(fault))
            _LOG.warning("faulty", child=name, reason=str(fault))
            wait = _jittered(failures)
        except StoreError:
            raise
        except Exception:  # noqa: BLE001 - a bug in one child must not take the others down
            failures += 1
            report("failed", "the program has a fault here: see the journal")
            _LOG.exception("failed", child=name)
            wait = _jittered(failures)
        await asyncio.sleep(wait)


def _jittered(failures: int) -> float:
    ceiling = min(_FAULT_CEILING, 2.0 ** min(failures, 10))
    return random.uniform(ceiling / 2, ceiling)  # noqa: S311 - spreads retries, hides nothing
