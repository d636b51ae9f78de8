"""Export as a part of the agent: its verbs, its stick, and what `status` says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from agent.export.desk import Desk, ExportVerbs
from agent.export.tending import Tending, shown
from agent.supervisor import keep
from drivers.errors import Misconfigured

if TYPE_CHECKING:
    from agent.store.store import Store
    from config.model import Settings

_LOG = structlog.get_logger("qafila.export")


class ExportPart:
    """A wrong or missing key must not keep the unit from recording: it is said where asked."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._wanted = settings.export is not None and settings.export.folder is not None
        self._tending: Tending | None = None
        self._fault = ""
        desk = self._open(store, settings)
        self.verbs = ExportVerbs(desk, self._fault)
        if desk is not None and settings.export is not None and settings.export.folder is not None:
            self._tending = Tending(desk, store, settings.export.folder)

    async def run(self) -> None:
        """Tend the stick, where one is to be plugged in."""
        if self._tending is not None:
            await keep("export", self._tending.run, self._tending.show)

    def shown(self) -> dict[str, Any]:
        """The stick as `status.json` carries it."""
        if self._tending is not None:
            return self._tending.shown()
        if self._wanted:
            return shown("misconfigured", self._fault, None, None)
        return shown("none", "", None, None)

    def _open(self, store: Store, settings: Settings) -> Desk | None:
        try:
            return Desk(store, settings)
        except Misconfigured as wrong:
            self._fault = wrong.remedy
            if self._wanted:
                _LOG.error("misconfigured", child="export", remedy=wrong.remedy)
            return None
