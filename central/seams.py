"""Whether a batch fits what is known around and under it: pure (contract, part 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sync.contract.errors import ContractFault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from central.logbook import Entry
    from sync.contract.batch import Batch


def check_seams(batch: Batch, hashes: Mapping[int, bytes], known: Mapping[int, Entry]) -> None:
    """Raise ContractFault `conflict` or `chain` for a batch of another history than ours.

    `hashes` is the chain's value at each seq of the batch, `known` what is settled from the
    seq before the batch to the seq after it.
    """
    header = batch.header
    if any(seq in known and known[seq].hash != found for seq, found in hashes.items()):
        raise ContractFault("conflict", "the centre knows another record under one of these seqs")
    before, after = known.get(header.first - 1), known.get(header.last + 1)
    if before and before.hash.hex() != header.prev_hash:
        raise ContractFault("chain", "the batch does not follow on the record before it")
    if after and after.prev_hash and after.prev_hash.hex() != header.head_hash:
        raise ContractFault("chain", "the record after the batch does not follow on it")


def check_lost(stated: bytes, known: Entry | None, after: Entry | None) -> bool:
    """Whether a lost seq is news; ContractFault `conflict` where its hash can't be.

    `known` is what is settled under that seq, `after` under the next.
    """
    if known and known.hash != stated:
        raise ContractFault("conflict", "the centre knows another record under the lost seq")
    if after and after.prev_hash and after.prev_hash != stated:
        raise ContractFault("conflict", "the record after the lost seq follows on another")
    return known is None
