"""How the uplink is, in words and counts for `status`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass(slots=True)
class UplinkState:
    """How the uplink is, for `status`; words for people, no patient value.

    `since` and `last_receipt` are seconds of the loop's clock.
    """

    state: str = "waiting"
    detail: str = ""
    since: float = 0.0
    connections: int = 0
    last_receipt: float | None = None
    ignored: dict[str, int] = field(default_factory=dict)

    def show(self, state: str, detail: str = "") -> None:
        """Say what the uplink does from now on."""
        self.state, self.detail = state, detail
        self.since = asyncio.get_running_loop().time()

    def ignore(self, why: str) -> None:
        """Count a receipt that changed nothing."""
        self.ignored[why] = self.ignored.get(why, 0) + 1
