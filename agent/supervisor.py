"""Keep children running. A device that is away is no error; a bug is, and says so.

Essential children are not kept here: their failure ends the process, and systemd restarts it.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import structlog
from sqlcipher3 import dbapi2 as sqlite

from agent.errors import AgentError, Conflict, StoreDamaged, StoreError, StoreFull
from agent.store.connection import translate
from drivers.errors import DriverError, Misconfigured, ProtocolFault, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

_AWAY = 1.0
"""Seconds until a device that is away is looked for again."""
_STOOD = 25.0
"""Seconds after which a child that runs is there again: longer than any attempt to open takes."""
_FAULT_CEILING = 30.0
_LOG = structlog.get_logger("qafila.supervisor")


async def keep(
    name: str, child: Callable[[], Awaitable[None]], report: Callable[[str, str], None]
) -> None:
    """Run a child for ever; ends by cancellation, a wrong setting, or a broken store.

    Logs once when a child goes and once when it has come back and stood.
    """
    record = _Record(name)
    while True:
        try:
            await _run(child, record)
            wait = _AWAY
        except Unavailable as gone:
            report("unavailable", gone.reason)
            record.left(gone.reason)
            wait = _AWAY
        except Misconfigured as wrong:
            report("misconfigured", wrong.remedy)
            _LOG.error("misconfigured", child=name, remedy=wrong.remedy)
            return
        except (ProtocolFault, StoreFull, Conflict) as fault:
            report("faulty", str(fault))
            _LOG.warning("faulty", child=name, reason=str(fault))
            wait = record.failed()
        except StoreError:
            raise
        except Exception:  # noqa: BLE001 - a bug in one child must not take the others down
            report("failed", "the program has a fault here: see the journal")
            _LOG.exception("failed", child=name)
            wait = record.failed()
        await asyncio.sleep(wait)


async def _run(child: Callable[[], Awaitable[None]], record: _Record) -> None:
    standing = asyncio.get_running_loop().call_later(_STOOD, record.stood)
    try:
        # In a task of its own: what a task group leaves of a cancellation before Python 3.11.3
        # must not end the next child (gh-102780; Debian 12 has 3.11.2).
        await asyncio.ensure_future(child())
    except sqlite.Error as error:  # of a reader; any other than damage is a bug of the child
        if isinstance(damaged := translate(error), StoreDamaged):
            raise damaged from None
        raise
    except ExceptionGroup as group:  # a child may have children, and they fail together
        raise _one(group) from None
    finally:
        standing.cancel()


def _one(group: ExceptionGroup) -> Exception:
    """The error of ours that tells what happened; the whole group where a bug is among them."""
    leaves = list(_leaves(group))
    if not all(isinstance(each, AgentError | DriverError) for each in leaves):
        return group
    return next((each for each in leaves if isinstance(each, StoreError)), leaves[0])


def _leaves(group: ExceptionGroup) -> Iterator[Exception]:
    for each in group.exceptions:
        if isinstance(each, ExceptionGroup):
            yield from _leaves(each)
        else:
            yield each


class _Record:
    """What a child has done lately: whether it is away, how often it failed in a row."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._away = False
        self._failures = 0

    def left(self, reason: str) -> None:
        """It is away; the log hears of it once, whatever else is found wrong meanwhile."""
        if not self._away:
            _LOG.warning("away", child=self._name, reason=reason)
            self._away = True
        self._failures = 0

    def stood(self) -> None:
        """It has run for a while: whatever was is over."""
        if self._away:
            _LOG.info("back", child=self._name)
        self._away, self._failures = False, 0

    def failed(self) -> float:
        """It failed; give the seconds until it is to be tried again."""
        self._failures += 1
        ceiling = min(_FAULT_CEILING, 2.0 ** min(self._failures, 10))
        return random.uniform(ceiling / 2, ceiling)  # noqa: S311 - spreads retries, hides nothing
