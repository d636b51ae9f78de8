"""What the road does to the machine's network, by name: delays and losses by netem, both ways.

The guest shapes what it sends on its own card, and what it gets on `ifb0`, where it is led
through first (tc-netem(8), tc-mirred(8)). Valleys pull the cable, by the monitor.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.vm.image import LINK_MAC

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.vm.guest import Guest
    from tests.vm.qemu import Qemu

_CARD = f"card=$(ip -br link | awk '/{LINK_MAC}/ {{print $1}}')"
_SHAPE = """
set -e; {card}
modprobe ifb numifbs=1; ip link set ifb0 up
tc qdisc replace dev $card root netem {way}
tc qdisc replace dev $card handle ffff: ingress
tc filter replace dev $card parent ffff: prio 1 matchall action mirred egress redirect dev ifb0
tc qdisc replace dev ifb0 root netem {way}
"""
_PLAIN = "{card}; tc qdisc del dev $card root; tc qdisc del dev $card ingress"


@dataclass(frozen=True)
class Profile:
    """One way of a road: milliseconds of delay and of its spread, per cent lost, kbit/s."""

    delay: int
    spread: int
    loss: float
    rate: int

    @property
    def round_trip(self) -> float:
        """Seconds there and back, at least."""
        return 2 * (self.delay - self.spread) / 1000


@dataclass(frozen=True)
class Valley:
    """Seconds with a link, and without."""

    up: float
    down: float


PROFILES = {"3g": Profile(75, 25, 1.0, 1000), "satellite": Profile(300, 0, 2.0, 512)}
VALLEY = Valley(30.0, 300.0)


def shape(guest: Guest, profile: Profile) -> None:
    """Let the network be like that from now on."""
    way = (
        f"delay {profile.delay}ms {profile.spread}ms loss {profile.loss}% rate {profile.rate}kbit"
        " limit 1000"
    )
    guest.run(_SHAPE.format(card=_CARD, way=way))


def unshape(guest: Guest) -> None:
    """Let the network be plain again."""
    guest.run(_PLAIN.format(card=_CARD))


def drive_through(machine: Qemu, valley: Valley, between: Callable[[], None]) -> None:
    """A stretch with a link, one without, and the link again; `between` is done without."""
    machine.set_link(up=True)
    time.sleep(valley.up)
    machine.set_link(up=False)
    begin = time.monotonic()
    between()
    time.sleep(max(0.0, valley.down - (time.monotonic() - begin)))
    machine.set_link(up=True)
