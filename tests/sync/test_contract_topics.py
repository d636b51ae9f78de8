"""Topic names: made and taken apart alike, and nothing else is taken apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.contract.errors import ContractFault
from sync.contract.fields import LANES
from sync.contract.topics import DOWN, ROOTS, UP, Address, address, topic

UNITS = st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True)
CHANNELS = [f"up/{leaf}" for leaf in UP] + [f"down/{leaf}" for leaf in DOWN]


@given(st.sampled_from(sorted(ROOTS)), UNITS, st.sampled_from(CHANNELS))
def test_a_topic_comes_apart_as_it_was_put_together(origin: str, unit: str, channel: str) -> None:
    """C-3.1, C-3.3: root, unit and channel."""
    assert address(topic(origin, unit, channel)) == Address(origin, unit, channel)


def test_clinical_and_simulated_never_share_a_root() -> None:
    """C-3.1: the root alone says which it is."""
    assert address("qafila/v1/a/up/hello").origin == "clinical"
    assert address("qafila-sim/v1/a/up/hello").origin == "simulated"


def test_each_lane_has_its_topic_most_pressing_first() -> None:
    """C-3.2: urgent, clinical, background."""
    assert LANES == ("urgent", "clinical", "background")
    assert [leaf for leaf in UP if leaf.startswith("log/")] == [f"log/{lane}" for lane in LANES]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "qafila/v1",
        "qafila/v1/a",
        "qafila/v1/a/up",
        "qafila/v1/a/up/",
        "qafila/v1/a/up/hello/",
        "qafila/v1/a/up/receipt",
        "qafila/v1/a/down/hello",
        "qafila/v1/a/up/log/",
        "qafila/v1/a/up/log/later",
        "qafila/v1//up/hello",
        "qafila/v1/A/up/hello",
        "qafila/v1/a\n/up/hello",
        "qafila/v1/a/up/hello\n",
        "qafila/v1/+/up/hello",
        "qafila/v1/" + "a" * 33 + "/up/hello",
        "qafila/v2/a/up/hello",
        "qafila-sim/v1/qafila/v1/a/up/hello",
        "a/up/hello",
        "x/qafila/v1/a/up/hello",
    ],
)
def test_any_other_topic_is_refused(name: str) -> None:
    """C-3.1, C-3.3: unit ids have 1 to 32 of a-z, 0-9 and the hyphen."""
    with pytest.raises(ContractFault, match="topic"):
        address(name)


@given(st.text(max_size=60))
def test_arbitrary_topics_raise_only_contract_faults(name: str) -> None:
    """C-1.5: whatever a broker may hand over."""
    with pytest.raises(ContractFault, match="topic"):
        address(name)
