"""What the control socket lets a person do with the centre: call it, and compare with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.control import RequestWrong

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.control import Verb
    from agent.store.books import StoreBooks
    from agent.uplink import Impulse


class UplinkVerbs:
    """The verbs, by the words in which they are asked for."""

    def __init__(self, impulse: Impulse, books: StoreBooks, *, has_uplink: bool) -> None:
        self._impulse = impulse
        self._books = books
        self._has_uplink = has_uplink

    def verbs(self) -> dict[str, Verb]:
        """Each verb under its name."""
        return {
            "reconnect": self._reconnect,
            "reconcile": self._reconcile,
            "reconciliation": self._reconciliation,
        }

    async def _reconnect(self, _: Mapping[str, Any]) -> dict[str, Any]:
        self._impulse.give()
        return {}

    async def _reconcile(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        if not self._has_uplink:
            raise RequestWrong("there is no uplink, so no centre to compare with")
        self._books.ask()
        return await self._reconciliation(asked)

    async def _reconciliation(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"last": self._books.listed()}
