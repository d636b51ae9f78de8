"""A dermatoscope on the real USB stack: preview, snapshot, pulled out while it streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from drivers.base import readings_of
from drivers.dermatoscope.codec import decode
from tests.vm.guest import Failed, eventually
from tests.vm.image import ADMIN, LAB
from tests.vm.plugged import Camera, digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.vm.truck import Truck

CAMERA = """
[[devices]]
name = "box1-dermatoscope"
driver = "dermatoscope"
box = "1"
at = "/dev/qafila/camera-id-DERM0001"
"""
LOOK = """
import socket
line = socket.socket(socket.AF_UNIX)
line.settimeout(120)
line.connect("/run/qafila/preview.sock")
line.sendall(b"GET /box1-dermatoscope HTTP/1.0\\r\\n\\r\\n")
found = b""
while found.count(b"\\xff\\xd8") < 3:
    more = line.recv(65536)
    assert more, found[:200]
    found += more
print(found.count(b"\\xff\\xd8"))
"""


@pytest.fixture(scope="module")
def camera(truck: Truck) -> Iterator[Camera]:
    """A camera that is plugged in, with the agent at work."""
    truck.furnish(CAMERA)
    truck.start()
    with Camera() as found:
        plug(truck, found)
        yield found


def plug(truck: Truck, camera: Camera) -> None:
    camera.socket = truck.guest.run(f"python3 {LAB}/attach.py {ADMIN}.2 {camera.port} 1-1").strip()


def unplug(truck: Truck, camera: Camera) -> None:
    truck.guest.run(f"echo {camera.socket} > /sys/devices/platform/vhci_hcd.0/detach")


def state(truck: Truck) -> str:
    return str(truck.shown("box1-dermatoscope")["state"])


def take(truck: Truck) -> None:
    """Ask for a picture, as a nurse does, and wait until the centre has it."""
    before = len(truck.centre.lines("box1-dermatoscope"))
    truck.guest.run("qafila snapshot box1-dermatoscope")
    eventually(lambda: len(truck.centre.lines("box1-dermatoscope")) > before)
    eventually(lambda: len(whole_ones(truck)) > before)


def whole_ones(truck: Truck) -> list[str]:
    """The picture of each record, where all of it is at the centre."""
    held = truck.centre.pictures()
    told = (each["blobs"][0]["sha256"] for each in truck.centre.lines("box1-dermatoscope"))
    return [name for name in told if name in held]


def whole(camera: Camera) -> set[str]:
    """The hash of each picture as it is to be stored: the camera's own bytes, made complete."""
    found = set()
    for frame in camera.pictures:
        (picture,) = readings_of(decode(frame))
        (blob,) = picture.blobs
        found.add(digest(blob.content))
    return found


def test_camera_is_recognised_and_looked_through(truck: Truck, camera: Camera) -> None:
    eventually(lambda: state(truck) == "connected", words="the camera is not read")
    assert any(event.startswith("STREAM ON") for event in camera.events)
    assert int(truck.guest.run("python3 -", LOOK)) >= 3


def test_picture_is_at_the_centre_byte_for_byte(truck: Truck, camera: Camera) -> None:
    take(truck)
    ((name, content),) = truck.centre.pictures().items()
    assert name in whole(camera)
    (line,) = truck.centre.lines("box1-dermatoscope")
    assert line["raw"]["sha256"] in {digest(frame) for frame in camera.pictures}
    assert content.startswith(b"\xff\xd8")


def test_button_of_the_camera_takes_a_picture(truck: Truck, camera: Camera) -> None:
    before = len(truck.centre.lines("box1-dermatoscope"))
    camera.press()
    eventually(
        lambda: len(truck.centre.lines("box1-dermatoscope")) > before,
        words=f"nothing came of it: {truck.shown('box1-dermatoscope')}",
    )


def test_camera_that_is_pulled_out_while_it_streams_is_found_again(
    truck: Truck, camera: Camera
) -> None:
    unplug(truck, camera)
    eventually(lambda: state(truck) == "unavailable", words="nobody notices")
    with pytest.raises(Failed, match="dermatoscope"):
        truck.guest.run("qafila snapshot box1-dermatoscope")
    plug(truck, camera)
    eventually(lambda: state(truck) == "connected", words="it is not found again")
    take(truck)
    assert set(truck.centre.pictures()) <= whole(camera)
