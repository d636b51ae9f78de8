"""Whatever the contract allows comes back as it went in; what it forbids is never made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.contract import CONTRACT
from sync.contract.batch import (
    LINE_MAX,
    LINES_MAX,
    Batch,
    chain,
    decode_batch,
    encode_batch,
    gather,
    link,
)
from sync.contract.chunk import BLOB_MAX, CHUNK_MAX, Chunk, decode_chunk, encode_chunk
from sync.contract.digest import (
    COMPARED_MAX,
    STRETCHES_MAX,
    Answer,
    Compared,
    Differing,
    Question,
    decode_answer,
    decode_question,
    encode_answer,
    encode_question,
)
from sync.contract.envelope import INFLATED_MAX, Codec, Magic, seal
from sync.contract.errors import ContractFault
from sync.contract.fields import GENESIS, LANES, SEQ_MAX, encode
from sync.contract.hello import HELLO_LANES_MAX, Hello, LaneOffer, decode_hello, encode_hello
from sync.contract.ranges import Ranges, normal
from sync.contract.receipt import (
    CHUNKS_MAX,
    HAVE_MAX,
    MISSING_MAX,
    REFUSED_MAX,
    Held,
    Receipt,
    Refusal,
    decode_receipt,
    encode_receipt,
)
from tests.golden import vectors

if TYPE_CHECKING:
    from collections.abc import Callable

UNITS = st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True)
LANE = st.one_of(st.sampled_from(LANES), st.from_regex(r"[a-z][a-z-]{0,31}", fullmatch=True))
UUIDS = st.uuids().map(str)
HASHES = st.binary(min_size=32, max_size=32)
CODECS = st.sampled_from(list(Codec))
LINES = st.lists(
    st.binary(min_size=1, max_size=300).map(lambda line: line.replace(b"\n", b" ")),
    min_size=1,
    max_size=40,
)


@st.composite
def receipts(draw: st.DrawFn) -> Receipt:
    through = draw(st.integers(0, 1000))
    last = through + draw(st.integers(0, 1000))
    pairs = st.tuples(st.integers(through + 1, last), st.integers(through + 1, last))
    missing: Ranges = ()
    if last > through:
        drawn = draw(st.lists(pairs, max_size=8))
        missing = normal((min(pair), max(pair)) for pair in drawn)
    return Receipt(
        central_epoch=draw(UUIDS),
        serial=draw(st.integers(1, SEQ_MAX)),
        unit=draw(UNITS),
        epoch=draw(UUIDS),
        lane=draw(LANE),
        through=through,
        head_hash=draw(HASHES).hex(),
        last=last,
        missing=missing,
        refused=tuple(draw(st.lists(refusals(), max_size=4))),
        chunks=tuple(draw(st.lists(held(), max_size=4))),
        backed_up_through=draw(st.none() | st.integers(0, SEQ_MAX)),
        answers=draw(st.none() | UUIDS),
    )


@st.composite
def refusals(draw: st.DrawFn) -> Refusal:
    seq = draw(st.integers(1, 1 << 40))
    last = draw(st.none() | st.integers(seq, 1 << 41))
    return Refusal(seq=seq, code=draw(UNITS), reason=draw(st.text(max_size=50)), last=last)


@st.composite
def held(draw: st.DrawFn) -> Held:
    size = draw(st.integers(1, BLOB_MAX))
    places = st.integers(0, size - 1)
    have = draw(st.lists(st.tuples(places, places), max_size=5))
    return Held(
        sha256=draw(HASHES).hex(),
        size=size,
        have=normal((min(pair), max(pair)) for pair in have),
    )


@st.composite
def offers(draw: st.DrawFn) -> LaneOffer:
    last = draw(st.integers(0, SEQ_MAX - 1))
    first = draw(st.integers(1, last + 1))
    return LaneOffer(
        epoch=draw(UUIDS),
        lane=draw(LANE),
        oldest=draw(st.integers(1, first)),
        first=first,
        last=last,
        head_hash=draw(HASHES).hex(),
    )


@st.composite
def spans(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Stretches in order, disjoint, some of them touching."""
    found, at = [], draw(st.integers(1, 1 << 40))
    for _ in range(draw(st.integers(1, 6))):
        last = at + draw(st.integers(0, 500))
        found.append((at, last))
        at = last + draw(st.integers(1, 500))
    return found


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    content = draw(st.binary(min_size=1, max_size=2000))
    size = draw(st.integers(len(content), BLOB_MAX))
    return Chunk(draw(HASHES), size, draw(st.integers(0, size - len(content))), content)


@given(UNITS, UUIDS, LANE, st.integers(1, 1 << 60), HASHES, LINES, CODECS)
def test_a_batch_comes_back_as_it_went_in(
    unit: str, epoch: str, lane: str, first: int, previous: bytes, lines: list[bytes], codec: Codec
) -> None:
    """C-4.1, C-4.2, C-4.5: any lines without a newline, byte for byte."""
    batch = gather(unit, epoch, lane, first, GENESIS if first == 1 else previous, lines)
    decoded = decode_batch(encode_batch(batch, vectors.UNIT, codec), vectors.key_of)
    assert decoded == batch
    assert [seq for seq, _ in decoded] == list(range(first, first + len(lines)))


@given(receipts(), CODECS)
def test_a_receipt_comes_back_as_it_went_in(receipt: Receipt, codec: Codec) -> None:
    """C-7.2, C-7.3, C-7.4, C-7.5, C-7.6, C-7.7: every field, filled or absent."""
    frame = encode_receipt(receipt, vectors.CENTRE, codec)
    assert decode_receipt(frame, vectors.key_of) == receipt


@given(UNITS, UUIDS, LANE, spans(), HASHES, CODECS)
def test_question_and_answer_come_back_as_they_went_in(
    unit: str, name: str, lane: str, found: list[tuple[int, int]], value: bytes, codec: Codec
) -> None:
    """C-11.3, C-11.5: every field, filled or absent."""
    stretches = tuple(
        Compared(
            first=first, last=last, digest=value.hex(), day="2026-11-20" if first % 2 else None
        )
        for first, last in found
    )
    question = Question(unit=unit, epoch=name, lane=lane, question=name, stretches=stretches)
    sealed = encode_question(question, vectors.UNIT, codec)
    assert decode_question(sealed, vectors.key_of) == question
    answer = Answer(
        central_epoch=name,
        unit=unit,
        epoch=name,
        lane=lane,
        question=name,
        differs=tuple(
            Differing(first=first, last=last, found="absent" if first == last else None)
            for first, last in found
        ),
    )
    assert decode_answer(encode_answer(answer, vectors.CENTRE, codec), vectors.key_of) == answer


@pytest.mark.parametrize(
    "found",
    [
        [],
        [(5, 4)],
        [(1, 5), (5, 9)],
        [(7, 9), (1, 3)],
        [(1, COMPARED_MAX + 1)],
        [(1, COMPARED_MAX), (COMPARED_MAX + 1, COMPARED_MAX + 1)],
        [(seq, seq) for seq in range(1, STRETCHES_MAX + 2)],
    ],
)
def test_a_question_out_of_order_or_beyond_its_bounds_is_neither_made_nor_read(
    found: list[tuple[int, int]],
) -> None:
    """C-11.3."""
    stretches = tuple(Compared(first=a, last=b, digest="00" * 32) for a, b in found)
    question = msgspec.structs.replace(vectors.question(), stretches=stretches)
    assert fault(encode_question, question, vectors.UNIT) == "range"
    assert fault(decode_question, sent(Magic.QUESTION, question), vectors.key_of) == "range"


@given(UNITS, UUIDS, st.lists(offers(), max_size=6, unique_by=lambda o: (o.epoch, o.lane)), CODECS)
def test_a_hello_comes_back_as_it_went_in(
    unit: str, session: str, lanes: list[LaneOffer], codec: Codec
) -> None:
    """C-6.2: every field of every lane."""
    hello = Hello(unit=unit, session=session, origin="clinical", lanes=tuple(lanes))
    assert decode_hello(encode_hello(hello, vectors.UNIT, codec), vectors.key_of) == hello


@given(chunks())
def test_a_chunk_comes_back_as_it_went_in(chunk: Chunk) -> None:
    """C-5.1: hash, size, offset and content."""
    assert decode_chunk(encode_chunk(chunk)) == chunk
    assert chunk.last == chunk.offset + len(chunk.content) - 1


@given(LINES, LINES)
def test_the_chain_goes_on_over_batches(one: list[bytes], other: list[bytes]) -> None:
    """C-4.4: however a lane is cut into batches, its head is the same."""
    whole = chain(GENESIS, [*one, *other])
    head = chain(GENESIS, one)[-1]
    assert (*chain(GENESIS, one), *chain(head, other)) == whole
    assert whole[0] == link(GENESIS, one[0])


def fault(reader: Callable[..., object], *args: object) -> str:
    """The code of the fault that a call raises."""
    with pytest.raises(ContractFault) as caught:
        reader(*args)
    return caught.value.code


def sent(magic: bytes, message: object) -> bytes:
    """A message as a peer that checks nothing would sign it."""
    body = message if isinstance(message, bytes) else msgspec.json.encode(message) + b"\n"
    key = vectors.CENTRE if magic == Magic.RECEIPT else vectors.UNIT
    return seal(magic, body, key, Codec.PLAIN)


def receipt_fault(**changed: object) -> str:
    """The code that a receipt, changed so, is refused with, on both sides alike."""
    receipt = msgspec.structs.replace(vectors.receipt(), **changed)
    code = fault(decode_receipt, sent(Magic.RECEIPT, receipt), vectors.key_of)
    assert code == fault(encode_receipt, receipt, vectors.CENTRE)
    return code


@pytest.mark.parametrize(
    ("name", "magic", "reader"),
    [
        ("hello", Magic.HELLO, decode_hello),
        ("question", Magic.QUESTION, decode_question),
        ("answer", Magic.ANSWER, decode_answer),
        ("receipt", Magic.RECEIPT, decode_receipt),
    ],
)
def test_fields_of_tomorrow_are_let_through_and_other_contracts_are_not(
    name: str, magic: bytes, reader: Callable[..., object]
) -> None:
    """C-1.2, C-1.4: unknown fields pass; another contract number is `version`."""
    message = getattr(vectors, name)()
    told = msgspec.json.decode(encode(message))
    grown = sent(magic, told | {"of_tomorrow": {"a": [1, None]}})
    assert reader(grown, vectors.key_of) == message
    other = sent(magic, told | {"contract": CONTRACT + 1})
    assert fault(reader, other, vectors.key_of) == "version"


@pytest.mark.parametrize("field", ["unit", "epoch", "lane", "prev_hash", "head_hash"])
def test_a_field_with_a_newline_behind_it_is_refused(field: str) -> None:
    """C-1.1: a pattern covers the whole text; a final newline doesn't slip through."""
    header = msgspec.json.decode(encode(vectors.batch().header))
    header[field] += "\n"
    body = msgspec.json.encode(header) + b"\n" + b"x\n" * 3
    assert fault(decode_batch, sent(Magic.BATCH, body), vectors.key_of) == "header"


@given(st.integers().filter(lambda n: not 1 <= n <= SEQ_MAX) | st.floats() | st.text())
def test_a_seq_outside_its_bounds_is_refused(seq: object) -> None:
    """C-1.1, C-4.2: a seq is a whole number from 1 to 2^63 - 1."""
    header = msgspec.json.decode(encode(vectors.batch().header)) | {"first": seq}
    body = msgspec.json.encode(header) + b"\n" + b"x\n" * 3
    assert fault(decode_batch, sent(Magic.BATCH, body), vectors.key_of) == "header"


def refused_batch(first: int, last: int, lines: list[bytes], **changed: object) -> str:
    """The code for a batch whose header counts and hashes what it likes."""
    header = msgspec.structs.replace(
        vectors.batch().header,
        first=first,
        last=last,
        head_hash=chain(bytes.fromhex(vectors.batch().header.prev_hash), lines)[-1].hex()
        if lines
        else GENESIS.hex(),
        **changed,
    )
    body = b"".join(line + b"\n" for line in (encode(header), *lines))
    return fault(decode_batch, sent(Magic.BATCH, body), vectors.key_of)


def test_a_header_that_counts_otherwise_than_its_lines_is_refused() -> None:
    """C-4.2: record i has seq first + i, and last is the last one's."""
    assert refused_batch(41, 43, [b"a", b"b"]) == "lines"
    assert refused_batch(41, 41, [b"a", b"b"]) == "lines"
    assert refused_batch(43, 41, [b"a"]) == "range"
    assert refused_batch(41, 41, []) == "lines"


def test_a_batch_whose_last_line_is_torn_is_refused() -> None:
    """C-4.1: every line ends with a newline."""
    batch = vectors.batch()
    body = b"\n".join((encode(batch.header), *batch.lines))
    assert fault(decode_batch, sent(Magic.BATCH, body), vectors.key_of) == "lines"


def test_a_chain_that_does_not_hold_is_refused() -> None:
    """C-4.4: head_hash, prev_hash and every line are bound to each other; seq 1 to the genesis."""
    batch = vectors.batch()
    other = (batch.lines[0], batch.lines[1], batch.lines[2].replace(b"17", b"18"))
    frame = encode_batch(Batch(batch.header, other), vectors.UNIT)
    assert fault(decode_batch, frame, vectors.key_of) == "chain"
    reordered = (batch.lines[1], batch.lines[0], batch.lines[2])
    frame = encode_batch(Batch(batch.header, reordered), vectors.UNIT)
    assert fault(decode_batch, frame, vectors.key_of) == "chain"
    assert refused_batch(1, 1, [b"a"]) == "chain"


def test_lines_and_batches_beyond_their_limits_are_neither_made_nor_read() -> None:
    """C-4.3: 256 KiB a record, 4096 records and 1 MiB a batch."""
    of = ("azilal-03", vectors.batch().header.epoch, "clinical", 41, GENESIS)
    assert len(gather(*of, [b"x" * LINE_MAX]).lines) == 1
    assert len(gather(*of, [b"x"] * LINES_MAX).lines) == LINES_MAX
    assert fault(gather, *of, [b"x" * (LINE_MAX + 1)]) == "line"
    assert fault(gather, *of, [b""]) == "line"
    assert fault(gather, *of, [b"a\nb"]) == "line"
    assert fault(gather, *of, [b"x"] * (LINES_MAX + 1)) == "lines"
    assert fault(gather, *of, []) == "lines"
    assert fault(encode_batch, gather(*of, [b"x" * LINE_MAX] * 4), vectors.UNIT) == "inflate"
    assert refused_batch(41, 41, [b"x" * (LINE_MAX + 1)]) == "line"
    assert refused_batch(41, 42, [b"", b"x"]) == "line"
    assert refused_batch(41, 41 + LINES_MAX, [b"x"] * (LINES_MAX + 1)) == "lines"
    assert LINE_MAX * 4 == INFLATED_MAX


@pytest.mark.parametrize(
    ("size", "offset", "length"),
    [(0, 0, 1), (BLOB_MAX + 1, 0, 1), (10, 8, 3), (10, 10, 1), (10, 0, 0), (1 << 20, 0, 65537)],
)
def test_chunks_beyond_their_limits_are_neither_made_nor_read(
    size: int, offset: int, length: int
) -> None:
    """C-5.1, C-5.2: 64 MiB a blob, 64 KiB a chunk, and never beyond the blob's end."""
    content = bytes(length)
    assert fault(encode_chunk, Chunk(GENESIS, size, offset, content)) == "chunk"
    message = b"QFLC" + GENESIS + size.to_bytes(8) + offset.to_bytes(8) + content
    assert fault(decode_chunk, message) == "chunk"


def test_the_largest_chunk_of_the_largest_blob_passes() -> None:
    """C-5.2: the bounds themselves are allowed."""
    chunk = Chunk(GENESIS, BLOB_MAX, BLOB_MAX - CHUNK_MAX, bytes(CHUNK_MAX))
    assert decode_chunk(encode_chunk(chunk)) == chunk


def test_a_hello_that_contradicts_itself_is_neither_made_nor_read() -> None:
    """C-6.3: at most 64 lanes, none twice, oldest <= first <= last + 1."""
    lane = vectors.hello().lanes[1]
    change = msgspec.structs.replace
    for lanes in (
        (lane, lane),
        (change(lane, first=45),),
        (change(lane, oldest=42),),
        tuple(change(lane, lane="x" * (n % 30 + 1) + "y" * (n // 30)) for n in range(65)),
    ):
        hello = change(vectors.hello(), lanes=lanes)
        assert fault(encode_hello, hello, vectors.UNIT) == "range"
        assert fault(decode_hello, sent(Magic.HELLO, hello), vectors.key_of) == "range"
    assert HELLO_LANES_MAX == 64


def test_a_hello_of_no_known_origin_is_refused() -> None:
    """C-3.1, C-6.2: clinical or simulated, nothing third."""
    told = msgspec.json.decode(encode(vectors.hello())) | {"origin": "training"}
    assert fault(decode_hello, sent(Magic.HELLO, told), vectors.key_of) == "header"


@pytest.mark.parametrize(
    "changed",
    [
        {"last": 39},
        {"missing": ((40, 41),)},
        {"missing": ((42, 44),)},
        {"missing": ((42, 42), (41, 41))},
        {"missing": ((41, 41), (42, 42))},
        {"missing": ((43, 42),)},
    ],
)
def test_a_receipt_whose_ranges_contradict_themselves_is_neither_made_nor_read(
    changed: dict[str, object],
) -> None:
    """C-7.3, C-7.4: last >= through; missing lies between them, in order, not touching."""
    assert receipt_fault(**changed) == "range"


def test_lists_of_a_receipt_beyond_their_bounds_are_neither_made_nor_read() -> None:
    """C-7.8: 64 ranges missing, 64 refusals, 64 blobs, 16 ranges held of each."""
    gaps = tuple((n, n) for n in range(42, 42 + 2 * MISSING_MAX, 2))
    wide = {"last": 42 + 2 * MISSING_MAX + 1, "refused": (), "chunks": ()}
    at_bound = msgspec.structs.replace(vectors.receipt(), missing=gaps, **wide)
    assert decode_receipt(encode_receipt(at_bound, vectors.CENTRE), vectors.key_of) == at_bound
    one_more = (*gaps, (42 + 2 * MISSING_MAX,) * 2)
    assert receipt_fault(missing=one_more, **wide) == "range"
    refusal = Refusal(seq=42, code="c", reason="r")
    assert receipt_fault(refused=(refusal,) * (REFUSED_MAX + 1)) == "range"
    blob = Held(sha256=GENESIS.hex(), size=256, have=())
    assert receipt_fault(chunks=(blob,) * (CHUNKS_MAX + 1)) == "range"
    have = tuple((n, n) for n in range(0, 2 * HAVE_MAX + 2, 2))
    assert receipt_fault(chunks=(msgspec.structs.replace(blob, have=have),)) == "range"


def test_a_receipt_beyond_64_kib_is_neither_made_nor_read() -> None:
    """C-7.8: the body has at most 64 KiB."""
    refusal = Refusal(seq=42, code="c" * 1000, reason="r" * 200)
    assert receipt_fault(refused=(refusal,) * REFUSED_MAX) == "inflate"


def test_refusals_and_holdings_that_make_no_sense_are_refused() -> None:
    """C-7.5, C-7.6: a stretch ends after it begins; what is held lies within the blob."""
    assert receipt_fault(refused=(Refusal(seq=42, code="c", reason="r", last=41),)) == "range"
    blob = Held(sha256=GENESIS.hex(), size=256, have=((0, 256),))
    assert receipt_fault(chunks=(blob,)) == "range"
    backward = msgspec.structs.replace(blob, have=((9, 3),))
    assert receipt_fault(chunks=(backward,)) == "range"
    long = msgspec.structs.replace(
        vectors.receipt(), refused=(Refusal(seq=42, code="c", reason="r" * 201),)
    )
    assert fault(decode_receipt, sent(Magic.RECEIPT, long), vectors.key_of) == "header"
    vast = msgspec.structs.replace(
        vectors.receipt(), chunks=(Held(sha256=GENESIS.hex(), size=BLOB_MAX + 1, have=()),)
    )
    assert fault(decode_receipt, sent(Magic.RECEIPT, vast), vectors.key_of) == "header"


def test_a_blob_is_complete_only_when_one_range_holds_it_all() -> None:
    """C-7.6: the last byte counts."""
    blob = Held(sha256=GENESIS.hex(), size=256, have=((0, 255),))
    assert blob.complete
    for have in ((), ((0, 254),), ((1, 255),), ((0, 99), (101, 255))):
        assert not msgspec.structs.replace(blob, have=have).complete
