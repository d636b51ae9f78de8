"""The settings of a unit, as frozen structs; `docs/reference/configuration.md` explains each."""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads the annotations
from typing import Annotated, Any, Literal

import msgspec

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,32}\Z")]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Path = Annotated[str, msgspec.Meta(pattern=r"^/.+\Z")]


class Unit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who we are. A state folder is born with name and origin, and keeps them."""

    name: Name
    origin: Literal["clinical", "simulated"] = "clinical"
    state: Path = "/var/lib/qafila"
    runtime: Path = "/run/qafila"


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Mutual TLS with the broker; the certificate's CN is the unit's name."""

    authority: Path
    certificate: Path
    key: Path


class Uplink(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the centre's broker is, and the centre's public key, pinned at enrolment."""

    host: Annotated[str, msgspec.Meta(min_length=1)]
    centre_key: Path
    port: Port = 8883
    keepalive: Annotated[int, msgspec.Meta(ge=5, le=600)] = 30
    bytes_per_second: Annotated[int, msgspec.Meta(ge=1000, le=1_000_000_000)] | None = None
    tls: Tls | None = None


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """For how many days the unit keeps what the centre has confirmed."""

    days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 30


class Export(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A stick that stays plugged in; the centre's keys where there is no [uplink] to name them."""

    folder: Path | None = None
    centre_key: Path | None = None


class Bluetooth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which radio: the system's, or a simulated one (`tcp-client:HOST:PORT`)."""

    radio: Annotated[str, msgspec.Meta(pattern=r"^(system|tcp-client:[^:\s]+:\d+)\Z")] = "system"


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A device that is bound to a box. `at` is a Bluetooth address, a path, or a stream."""

    name: Name
    driver: str
    at: Annotated[str, msgspec.Meta(min_length=1)]
    box: Name | None = None
    settings: dict[str, Any] = {}
    calibration_due: dt.date | None = None


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole of `unit.toml`."""

    unit: Unit
    uplink: Uplink | None = None
    retention: Retention = Retention()
    export: Export | None = None
    bluetooth: Bluetooth = Bluetooth()
    devices: tuple[Device, ...] = ()
