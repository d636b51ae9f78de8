"""A hello, and the lanes of which no answer to it has come yet: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sync.contract.hello import Hello
    from sync.contract.receipt import Receipt


class Greeting:
    """The newest hello of a connection: only answers to it prove anything."""

    def __init__(self, hello: Hello) -> None:
        self.session = hello.session
        self.unit = hello.unit
        self._awaited = {(offer.epoch, offer.lane) for offer in hello.lanes}

    @property
    def answered(self) -> bool:
        """Whether every lane has been answered."""
        return not self._awaited

    def hear(self, receipt: Receipt) -> None:
        """Take note of an answer."""
        if receipt.answers == self.session:
            self._awaited.discard((receipt.epoch, receipt.lane))
