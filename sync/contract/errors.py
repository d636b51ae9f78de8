"""What the wire contract refuses, by clause."""

from __future__ import annotations


class ContractFault(Exception):  # noqa: N818 - a fault of the peer; the code says which
    """The peer sent bytes that the contract does not allow; nothing was changed by them.

    `code` is stable and counted (`signature`, `inflate`, `chain`, …); `reason` is one plain
    sentence and holds no content of a record.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
