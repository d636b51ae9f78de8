from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from sync.contract.batch import LINES_MAX
from sync.contract.ranges import Ranges, minus, normal
from sync.plan import DEBT_MAX, SHARE, BlobView, LaneView, Piece, Plan, Stretch

EPOCH = "6f0b5c1e-52a0-4f0e-9d3a-0c8f5e0d7a11"
LAST = 30
LIVE = 21


def ranges(seqs: set[int]) -> Ranges:
    return normal((seq, seq) for seq in seqs)


def seqs(view: Stretch | Piece) -> set[int]:
    if isinstance(view, Stretch):
        return set(range(view.first, view.last + 1))
    return set(range(view.offset, view.last + 1))


def view(lane: str, pending: set[int], pulled: Ranges = ()) -> LaneView:
    return LaneView(EPOCH, lane, ranges(pending), LIVE, pulled)


SETS = st.sets(st.integers(1, LAST))
LANES = ("urgent", "clinical", "background")


def rank(lane: str, seq: int, pulled: set[int]) -> int:
    """The order as the design says it, record by record."""
    if seq in pulled:
        return 0
    if lane == "clinical":
        return 2 if seq >= LIVE else 3
    return {"urgent": 1, "background": 4}[lane]


@settings(deadline=None)
@given(st.tuples(SETS, SETS, SETS), SETS, st.integers(0, 10**6))
def test_nothing_is_in_flight_twice_and_nothing_is_forgotten(
    pending: tuple[set[int], set[int], set[int]], pulled: set[int], seed: int
) -> None:
    chance = random.Random(seed)
    plan, flying = Plan(), list[Stretch]()
    left = dict(zip(LANES, (set(each) for each in pending), strict=True))
    for _ in range(200):
        views = [view(lane, left[lane], ranges(pulled)) for lane in LANES]
        if flying and chance.random() < 0.4:
            landed = flying.pop(chance.randrange(len(flying)))
            if chance.random() < 0.7:  # settled; else it was lost and is pending again
                left[landed.lane] -= seqs(landed)
            plan.arrive(landed)
            continue
        place = plan.stretch(views)
        up = [(each.lane, seq) for each in flying for seq in seqs(each)]
        if place is None:
            assert {(lane, seq) for lane in LANES for seq in left[lane]} <= set(up)
            continue
        assert seqs(place) <= left[place.lane]
        assert not {(place.lane, seq) for seq in seqs(place)} & set(up)
        plan.depart(place, 100)
        flying.append(place)
    for each in flying:
        plan.arrive(each)
    rest = {lane: view(lane, left[lane]) for lane in LANES}
    for lane, alone in rest.items():
        place = plan.stretch([alone])
        assert (place is None) == (not left[lane])


@settings(deadline=None)
@given(st.tuples(SETS, SETS, SETS), SETS)
def test_what_urgent_refers_to_goes_first_then_urgent_then_live(
    pending: tuple[set[int], set[int], set[int]], pulled: set[int]
) -> None:
    """T38."""
    views = [view(lane, each, ranges(pulled)) for lane, each in zip(LANES, pending, strict=True)]
    place = Plan().stretch(views)
    ranks = {rank(each.lane, seq, pulled) for each in views for seq in numbers(each.pending)}
    assert (place.rank if place else None) == min(ranks, default=None)
    if place:
        assert {rank(place.lane, seq, pulled) for seq in seqs(place)} <= {place.rank, 0}


def numbers(found: Ranges) -> set[int]:
    return {seq for first, last in found for seq in range(first, last + 1)}


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 200_000), st.integers(1, 200_000), st.integers(0, 10**6))
def test_history_gets_its_fifth_while_live_records_never_stop(
    live: int, history: int, seed: int
) -> None:
    """T38."""
    chance, plan, sent = random.Random(seed), Plan(), Counter[int]()
    for _ in range(150):
        place = plan.stretch([view("clinical", {1, LIVE})])
        assert place
        size = chance.randint(1, live if place.rank == 2 else history)
        plan.depart(place, size)
        plan.arrive(place)
        sent[place.rank] += size
    total = sum(sent.values())
    assert sent[3] >= SHARE * total - max(live, history)
    assert sent[3] <= SHARE * total + max(live, history)


def test_a_record_of_now_overtakes_an_old_debt_within_a_bound() -> None:
    """A replay that begins late in a session may not hold up what is live for long."""
    plan = Plan()
    for _ in range(500):
        place = plan.stretch([view("clinical", {LIVE})])
        assert place
        plan.depart(place, 100_000)
        plan.arrive(place)
    before = 0
    while (place := plan.stretch([view("clinical", {1, LIVE})])) and place.rank == 3:
        plan.depart(place, 10_000)
        plan.arrive(place)
        before += 10_000
    assert 0 < before <= DEBT_MAX + 10_000


def test_history_keeps_its_fifth_beside_background_too() -> None:
    plan, sent = Plan(), Counter[int]()
    for _ in range(2000):
        place = plan.stretch([view("clinical", {1, LIVE}), view("background", {1})])
        assert place
        plan.depart(place, 1000)
        plan.arrive(place)
        sent[place.rank] += 1
    assert all(sent[each] >= SHARE * 2000 - 5 for each in (2, 3, 4))


def test_an_urgent_record_waits_for_no_debt() -> None:
    plan = Plan()
    for _ in range(50):
        views = [view("urgent", {1, 2}), view("clinical", {1, LIVE}), view("background", {1})]
        place = plan.stretch(views)
        assert place
        assert place.lane == "urgent"
        plan.depart(place, 100_000)
        plan.arrive(place)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, LAST), st.integers(1, LAST)), max_size=6))
def test_batches_shrink_for_refused_stretches_and_for_nothing_else(
    pairs: list[tuple[int, int]],
) -> None:
    """C-8.9: without a refusal a batch is as long as it may be, however often it was lost."""
    plan = Plan()
    whole = LaneView(EPOCH, "clinical", ((1, 3 * LINES_MAX),), 1)
    for _ in range(20):
        place = plan.stretch([whole])
        assert place
        assert (place.first, place.last) == (1, LINES_MAX)
        plan.depart(place, 1)
        plan.arrive(place)
    refused = [(min(pair), max(pair)) for pair in pairs]
    plan.narrow(EPOCH, "clinical", refused)
    plan.narrow(EPOCH, "urgent", [(1, LAST)])
    aside = {a for a, b in refused if a == b}
    place = plan.stretch([LaneView(EPOCH, "clinical", ((1, LAST),), 1)])
    if place is None:
        assert aside >= set(range(1, LAST + 1))
        return
    assert place.first == min(set(range(1, LAST + 1)) - aside)
    halves = [max(1, (b - a + 1) // 2) for a, b in refused if a <= place.first <= b]
    assert place.last - place.first + 1 <= min(halves, default=LINES_MAX)


def test_halving_ends_at_the_one_record_which_then_blocks_nothing() -> None:
    """C-8.11, C-9.5: a stretch of one that is refused as such is not sent for ever."""
    plan, poison, left, sent = Plan(), 7, set(range(1, 17)), 0
    aside: Ranges = ()
    while place := plan.stretch([LaneView(EPOCH, "clinical", ranges(left), 1)]):
        sent += 1
        assert sent < 40
        plan.depart(place, 1)
        plan.arrive(place)
        if poison in seqs(place):
            aside += plan.narrow(EPOCH, "clinical", [(place.first, place.last)])
        else:
            left -= seqs(place)
    assert left == {poison}
    assert aside == ((poison, poison),)
    assert plan.narrow(EPOCH, "clinical", [(poison, poison)]) == ()
    assert Plan().stretch([LaneView(EPOCH, "clinical", ((poison, poison),), 1)])


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.sets(st.integers(0, 59))), min_size=1, max_size=4),
    st.integers(1, 25),
    st.integers(0, 10**6),
)
def test_pieces_of_blobs_are_in_flight_once_in_order_and_within_their_blob(
    blobs: list[tuple[int, set[int]]], chunk: int, seed: int
) -> None:
    chance = random.Random(seed)
    plan, flying = Plan(), list[Piece]()
    left = {
        bytes([n]) * 32: (size, {byte for byte in range(size) if byte not in held})
        for n, (size, held) in enumerate(blobs)
    }
    for _ in range(150):
        views = [BlobView(name, size, ranges(rest)) for name, (size, rest) in left.items()]
        if flying and chance.random() < 0.4:
            landed = flying.pop(0)
            plan.arrive(landed)
            if chance.random() < 0.7:
                left[landed.sha256][1].difference_update(seqs(landed))
            continue
        piece = plan.piece(views, chunk)
        up = {(each.sha256, byte) for each in flying for byte in seqs(each)}
        free = [
            (name, byte)
            for name, (_, rest) in left.items()
            for byte in sorted(rest)
            if (name, byte) not in up
        ]
        assert ((piece.sha256, piece.offset) if piece else None) == next(iter(free), None)
        if piece:
            mine = {(piece.sha256, byte) for byte in seqs(piece)}
            assert mine <= set(free)
            assert len(mine) <= chunk
            plan.depart(piece, len(mine))
            flying.append(piece)


def test_pulled_never_means_sending_what_is_settled() -> None:
    plan = Plan()
    assert plan.stretch([LaneView(EPOCH, "clinical", (), 1, ((1, 5),))]) is None
    place = plan.stretch([LaneView(EPOCH, "clinical", ((4, 9),), 1, ((1, 5),))])
    assert place
    assert (place.first, place.last, place.rank) == (4, 5, 0)
    assert minus(((4, 9),), ((place.first, place.last),)) == ((6, 9),)
