"""What the control socket lets a person do with what is kept: enter it, ask for it, list it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from agent.asking import ask
from agent.consultations import close_consultation, open_consultation
from agent.control import text, whole
from agent.entering import enter
from agent.store.listing import LISTS
from agent.uplink import DESTINATION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.control import Verb
    from agent.store.store import Store

_LISTED_MAX = 10_000


class StoreVerbs:
    """The verbs, by the words in which they are asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def verbs(self) -> dict[str, Verb]:
        """Each verb under its name."""
        return {
            "open": self._open,
            "close": self._close,
            "enter": partial(enter, self._store),
            "ask": partial(ask, self._store),
            **dict.fromkeys(LISTS, self._list),
        }

    async def _open(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        box, patient, actor = (text(asked, key) for key in ("box", "patient", "actor"))
        opened = await self._store.writer.write(
            lambda connection: open_consultation(connection, box, patient, actor)
        )
        return {"consultation": opened}

    async def _close(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        box = text(asked, "box")
        closed = await self._store.writer.write(
            lambda connection: close_consultation(connection, box)
        )
        return {"closed": closed}

    async def _list(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        limit = max(1, min(whole(asked, "limit"), _LISTED_MAX))
        return {"rows": LISTS[asked["do"]](self._store.reader, DESTINATION, limit)}
