"""Fields that several messages share, and the one way in which their JSON is read."""

from __future__ import annotations

import re
from typing import Annotated, TypeVar

import msgspec

from sync.contract import CONTRACT
from sync.contract.errors import ContractFault

LANES = ("urgent", "clinical", "background")
"""The lanes, most pressing first (C-3.2)."""
HASH_SIZE = 32
GENESIS = bytes(HASH_SIZE)
"""The hash before the first record of a lane (C-4.4)."""
SEQ_MAX = (1 << 63) - 1

UNIT = re.compile(r"[a-z0-9-]{1,32}")
# `$` alone would let a final newline through in Python; `(?!\n)` is the same in every JSON Schema.
Unit = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,32}$(?!\n)")]
Uuid = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$(?!\n)",
    ),
]
Lane = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z-]{0,31}$(?!\n)")]
Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
Seq = Annotated[int, msgspec.Meta(ge=1, le=SEQ_MAX)]
Through = Annotated[int, msgspec.Meta(ge=0, le=SEQ_MAX)]

_T = TypeVar("_T", bound="Message")


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON object with a contract number. Unknown fields are let through (C-1.4)."""

    contract: int = CONTRACT


def encode(message: Message) -> bytes:
    """The message as one line of JSON, without the newline."""
    return msgspec.json.encode(message)


def decode(line: bytes, kind: type[_T]) -> _T:
    """Read one line of JSON; ContractFault `header` or `version`."""
    try:
        message = msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        place = str(error).rpartition(" - at ")[2]
        where = place if place.startswith("`$") else "the line"
        raise ContractFault("header", f"{where} is not what the contract says") from None
    if message.contract != CONTRACT:
        raise ContractFault("version", f"contract {message.contract} is not spoken here")
    return message
