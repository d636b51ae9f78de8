"""What comes down a link, verified: a receipt, an answer, or why it is neither. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from sync.contract.digest import Answer, decode_answer
from sync.contract.errors import ContractFault
from sync.contract.receipt import Receipt, decode_receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from sync.outbox import Inbound

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unheard:
    """A message that is ignored: `what` it would have been, why in one word, and for people."""

    what: str
    code: str
    detail: str


def hear(
    inbound: Inbound, unit: str | None, keys: Mapping[bytes, Ed25519PublicKey]
) -> Receipt | Answer | Unheard | None:
    """Verify what came with the centre's `keys`, by their id; None on a channel that isn't ours.

    An answer must be for `unit`, once that has said a word; of a receipt it shows when weighed.
    """
    if inbound.channel == "down/receipt":
        return _verified(inbound, "receipt", lambda load: decode_receipt(load, keys.get))
    if inbound.channel != "down/digest":
        return None
    answer = _verified(inbound, "answer", lambda load: decode_answer(load, keys.get))
    if isinstance(answer, Answer) and unit is not None and answer.unit != unit:
        return Unheard("answer", "another-unit", "an answer for another unit was ignored")
    return answer


def _verified(inbound: Inbound, what: str, decode: Callable[[bytes], T]) -> T | Unheard:
    if inbound.retained:
        return Unheard(what, "retained", f"a retained {what} was ignored")
    try:
        return decode(inbound.payload)
    except ContractFault as fault:
        article = "an" if what == "answer" else "a"
        return Unheard(what, fault.code, f"{article} {what} was ignored: {fault.reason}")
