"""Our agent and our calls of BlueZ, over a real message bus, against a small BlueZ of our own."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from drivers.errors import Unavailable
from drivers.ladder import Step
from drivers.links import bluez
from drivers.links.bluez import open_stack
from drivers.links.bluez_agent import CAPABILITY
from drivers.links.stack import NotPossible
from drivers.links.usb_reset import reset_adapter
from tests.drivers.private_bus import CUFF, World, private_bus, small_bluez

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from drivers.links.bluez import BluezStack

REJECTED, CANCELED = "org.bluez.Error.Rejected", "org.bluez.Error.Canceled"
OTHER = "F1:00:00:00:00:02"


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    async with private_bus(tmp_path) as address:
        yield address


@pytest.fixture
async def world(address: str) -> AsyncIterator[World]:
    async with small_bluez(address) as world:
        yield world


@pytest.fixture
async def stack(world: World, address: str) -> AsyncIterator[BluezStack]:
    assert world.agent is None
    async with open_stack(address) as stack:
        yield stack


def client(stack: BluezStack) -> str:
    name = stack._bus.unique_name
    assert name is not None
    return name


async def nobody() -> int:
    raise AssertionError("nobody should have been asked")


async def test_agent_is_the_default_one_meanwhile_and_unregistered_at_the_end(
    world: World, address: str
) -> None:
    async with open_stack(address):
        assert world.agent == world.default is not None
        assert world.capability == CAPABILITY == "KeyboardDisplay"
    assert world.agent is None
    assert world.said[-1] == "unregistered"


@pytest.mark.parametrize(
    ("member", "signature", "body"),
    [
        ("RequestConfirmation", "ou", (123456,)),
        ("RequestAuthorization", "o", ()),
        ("RequestPasskey", "o", ()),
        ("AuthorizeService", "os", ("180f",)),
        ("RequestPinCode", "o", ()),
        ("DisplayPasskey", "ouq", (1, 0)),
        ("DisplayPinCode", "os", ("0000",)),
    ],
)
async def test_agent_says_no_while_no_person_is_pairing(
    world: World, stack: BluezStack, member: str, signature: str, body: tuple[object, ...]
) -> None:
    cuff = world.device(CUFF)
    assert await world.ask(client(stack), member, signature, cuff, *body) == REJECTED


async def test_just_works_is_accepted_for_the_device_that_a_person_is_pairing_alone(
    world: World, stack: BluezStack
) -> None:
    cuff, other = world.device(CUFF), world.device(OTHER)
    who = client(stack)
    async with stack.expecting(CUFF, nobody):
        assert await world.ask(who, "RequestAuthorization", "o", cuff) is None
        assert await world.ask(who, "RequestConfirmation", "ou", cuff, 123456) is None
        assert await world.ask(who, "RequestAuthorization", "o", other) == REJECTED
        assert await world.ask(who, "RequestConfirmation", "ou", other, 1) == REJECTED
    assert await world.ask(who, "RequestAuthorization", "o", cuff) == REJECTED


@pytest.mark.parametrize(("typed", "answer"), [(42, 42), (999_999, 999_999), (1_000_000, REJECTED)])
async def test_passkey_comes_from_a_person(
    world: World, stack: BluezStack, typed: int, answer: object
) -> None:
    async def ask() -> int:
        await asyncio.sleep(0.01)
        return typed

    cuff = world.device(CUFF)
    async with stack.expecting(CUFF, ask):
        assert await world.ask(client(stack), "RequestPasskey", "o", cuff) == answer


async def test_passkey_is_refused_where_nobody_is_there_or_nobody_answers(
    world: World, stack: BluezStack
) -> None:
    cuff, who = world.device(CUFF), client(stack)
    async with stack.expecting(CUFF, None):
        assert await world.ask(who, "RequestPasskey", "o", cuff) == REJECTED
    async with stack.expecting(CUFF, nobody):
        assert await world.ask(who, "RequestPasskey", "o", cuff) == REJECTED


async def test_refusal_is_told_once_and_for_its_device_alone(
    world: World, stack: BluezStack
) -> None:
    """BlueZ lets the subscription hang that needs a bond: this is how the radio hears of it."""
    cuff, who = world.device(CUFF), client(stack)
    assert not stack.refused(CUFF)
    assert await world.ask(who, "RequestConfirmation", "ou", cuff, 1) == REJECTED
    assert stack.refused(CUFF)
    assert not stack.refused(CUFF)
    assert await world.ask(who, "RequestConfirmation", "ou", cuff, 1) == REJECTED
    assert not stack.refused(OTHER)
    async with stack.expecting(CUFF, nobody):
        assert await world.ask(who, "RequestConfirmation", "ou", cuff, 1) is None
    assert not stack.refused(CUFF)


async def test_person_is_asked_no_more_once_bluez_has_cancelled(
    world: World, stack: BluezStack
) -> None:
    asked = asyncio.Event()

    async def ask() -> int:
        asked.set()
        await asyncio.get_running_loop().create_future()
        return 0

    cuff, who = world.device(CUFF), client(stack)
    async with stack.expecting(CUFF, ask):
        asking = asyncio.create_task(world.ask(who, "RequestPasskey", "o", cuff))
        await asked.wait()
        await world.ask(who, "Cancel", "")
        assert await asking == CANCELED


async def test_default_taken_away_by_a_desktop_is_taken_back_for_a_pairing(
    world: World, stack: BluezStack
) -> None:
    world.default = "/somebody/else"
    async with stack.expecting(CUFF, nobody):
        assert world.default == world.agent


async def test_adapter_is_found_again_by_its_address_under_another_number(
    world: World, stack: BluezStack
) -> None:
    """T46."""
    assert await stack.adapter() == "hci0"
    world.bus.unexport("/org/bluez/hci0")
    assert await stack.adapter() is None
    world.adapter("hci0", "AA:00:00:00:00:02")
    assert await stack.adapter() == "hci0"
    world.adapter("hci1", "AA:00:00:00:00:01")
    assert await stack.adapter() == "hci1"


async def test_devices_of_ours_left_connected_are_let_go_and_no_others(
    world: World, stack: BluezStack
) -> None:
    world.device(CUFF)
    world.device(OTHER)
    assert await stack.let_go([CUFF.lower()]) == (CUFF,)
    assert await stack.let_go([CUFF]) == ()
    assert world.said == ["default", f"disconnected {CUFF}"]


async def test_bond_is_seen_and_removed(world: World, stack: BluezStack) -> None:
    world.device(CUFF)
    assert await stack.bonded(CUFF)
    assert not await stack.bonded(OTHER)
    await stack.forget(CUFF)
    await stack.forget(CUFF)
    assert not await stack.bonded(CUFF)
    assert world.said.count("removed") == 1


async def test_power_cycle_switches_the_adapter_off_and_on(
    world: World, stack: BluezStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bluez, "_OFF", 0.01)
    await stack.climb(Step.POWER_CYCLE)
    assert world.said[-2:] == ["powered False", "powered True"]


async def test_service_is_restarted_where_that_is_permitted_and_else_a_remedy_is_said(
    world: World, stack: BluezStack
) -> None:
    await stack.climb(Step.RESTART_SERVICE)
    assert world.said[-1] == "restart bluetooth.service replace"
    world.permits = False
    with pytest.raises(NotPossible, match=r"may not restart it.*systemctl restart bluetooth"):
        await stack.climb(Step.RESTART_SERVICE)


async def test_bluez_that_was_restarted_is_noticed_by_the_next_look(address: str) -> None:
    """It has forgotten our scan and our agent, and its adapter is called as before."""
    async with AsyncExitStack() as life:
        before = await life.enter_async_context(small_bluez(address))
        async with open_stack(address) as stack:
            assert await stack.adapter() == "hci0"
            await life.aclose()
            async with small_bluez(address) as after:
                with pytest.raises(Unavailable, match="stopped or restarted"):
                    await stack.adapter()
                async with open_stack(address) as anew:
                    assert await anew.adapter() == "hci0"
                    assert before.agent == after.agent is not None


async def test_bus_without_bluez_says_that_the_service_does_not_run(address: str) -> None:
    with pytest.raises(Unavailable, match="the Bluetooth service does not run"):
        async with open_stack(address):
            pass


async def test_no_bus_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="message bus does not answer"):
        async with open_stack(f"unix:path={tmp_path}/none"):
            pass


def usb(folder: Path, name: str = "hci0") -> Path:
    """A `/sys/class/bluetooth` whose adapter is device 7 on bus 3."""
    device = folder / "devices" / "3-1"
    (device / "3-1:1.0").mkdir(parents=True)
    (device / "busnum").write_text("3\n")
    (device / "devnum").write_text("7\n")
    (folder / "class" / name).mkdir(parents=True)
    (folder / "class" / name / "device").symlink_to(device / "3-1:1.0")
    return folder / "class"


def test_reset_goes_to_the_usb_device_of_the_adapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = tmp_path / "nodes" / "003" / "007"
    node.parent.mkdir(parents=True)
    node.touch()
    reset = []
    monkeypatch.setattr(
        "fcntl.ioctl",
        lambda file, number, _: reset.append(
            (str(Path(f"/proc/self/fd/{file}").readlink()), number)
        ),
    )
    reset_adapter("hci0", usb(tmp_path), tmp_path / "nodes")
    assert reset == [(str(node), 0x5514)]


def test_reset_that_can_not_be_done_says_what_a_person_can_do(tmp_path: Path) -> None:
    with pytest.raises(NotPossible, match="plug it in again"):
        reset_adapter(None)
    with pytest.raises(NotPossible, match="no USB device"):
        reset_adapter("hci9", usb(tmp_path), tmp_path)
    with pytest.raises(NotPossible, match="can't be reset"):
        reset_adapter("hci0", tmp_path / "class", tmp_path)
