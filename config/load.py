"""Read `unit.toml`. Whatever is wrong is said with its path and its remedy."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import msgspec

from config.errors import SettingsFault
from config.model import Settings

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

SAMPLE = "config/unit.toml"
REMEDIES = {
    "$.unit": "give a table [unit] with a name",
    "$.unit.name": "1 to 32 of a-z, 0-9 and -, as in the unit's certificate",
    "$.unit.origin": 'set "clinical" or "simulated"',
    "$.unit.state": "an absolute path",
    "$.unit.runtime": "an absolute path",
    "$.uplink": "a table [uplink]; leave it out for a unit that never has a link",
    "$.uplink.tls": "a table [uplink.tls]; leave it out only on a machine of your own",
    "$.retention": "a table [retention], or nothing",
    "$.retention.days": "a whole number of days, from 1 to 3650",
    "$.bluetooth": "a table [bluetooth], or nothing",
    "$.uplink.host": "the name or address of the centre's broker",
    "$.uplink.port": "a whole number from 1 to 65535; 8883 is usual with TLS",
    "$.uplink.keepalive": "seconds, from 5 to 600",
    "$.uplink.bytes_per_second": "a whole number from 1000 up; leave it out for no cap",
    "$.uplink.centre_key": "the absolute path of the centre's public key (PEM)",
    "$.uplink.tls.authority": "the absolute path of the authority's certificate (PEM)",
    "$.uplink.tls.certificate": "the absolute path of the unit's certificate (PEM)",
    "$.uplink.tls.key": "the absolute path of the key of the unit's certificate (PEM)",
    "$.export": "a table [export], or nothing",
    "$.export.folder": "the absolute path of the folder where the stick is mounted, or nothing",
    "$.export.centre_key": "the absolute path of the centre's public keys; only without [uplink]",
    "$.bluetooth.radio": '"system" for the computer\'s own Bluetooth',
    "$.devices": "one table [[devices]] a device",
    "$.devices[].name": "1 to 32 of a-z, 0-9 and -, another for each device",
    "$.devices[].driver": "a name that `qafila devices --catalogue` lists",
    "$.devices[].at": "a Bluetooth address, the path of a port, or that of a camera",
    "$.devices[].box": "1 to 32 of a-z, 0-9 and -; leave it out for a device of no box",
    "$.devices[].calibration_due": "a date without quotes, such as 2027-01-31, or nothing",
    "$.devices[].settings": "a table; leave it out where the driver has none",
}


def load(path: Path, drivers: Collection[str]) -> Settings:
    """The settings in a file; `drivers` are the names that a device may have.

    Raises SettingsFault for a file that isn't there, isn't TOML, or holds a wrong setting.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise SettingsFault(
            f"{path} does not exist: copy the sample of docs/reference/configuration.md there"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsFault(f"{path} can't be read: {_words(error)}") from None
    return parse(text, drivers)


def parse(text: str, drivers: Collection[str]) -> Settings:
    """The settings in a text; SettingsFault as `load`."""
    try:
        settings = msgspec.convert(tomllib.loads(text), Settings)
    except tomllib.TOMLDecodeError as error:
        raise SettingsFault(f"$: the file is not TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise SettingsFault(_explain(str(error))) from None
    _check(settings, drivers)
    return settings


def _words(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "it is not UTF-8 text"


def _explain(message: str) -> str:
    """Put the path first and a remedy last."""
    words, found, place = message.rpartition(" - at `")
    path = place.rstrip("`") if found else "$"
    what = (words if found else message).replace("`", "'")
    if what.startswith(("Object contains unknown field", "Object missing required field")):
        field = what.split("'")[1]
        path = f"{path}.{field}"
        unknown = "unknown" in what
        what = "no such setting" if unknown else "this setting is missing"
        if unknown:
            return f"{path}: {what}: delete it, or see docs/reference/configuration.md"
    if "matching regex" in what:
        what = "it is not written as it has to be"
    remedy = REMEDIES.get(re.sub(r"\[\d+\]", "[]", path), "see docs/reference/configuration.md")
    return f"{path}: {what[0].lower()}{what[1:]}: {remedy}"


def require_place(at: str, origin: str) -> None:
    """SettingsFault for a place that no device of a clinical unit can have: a network's stream."""
    if origin == "clinical" and at.lower().startswith("tcp://"):
        raise SettingsFault(
            "a clinical unit reads no stream of a network: give the path of the camera, such as "
            "/dev/video0"
        )


def _check(settings: Settings, drivers: Collection[str]) -> None:
    if settings.bluetooth.radio != "system" and settings.unit.origin != "simulated":
        raise SettingsFault(
            '$.bluetooth.radio: a simulated radio needs $.unit.origin = "simulated"'
        )
    _check_export(settings)
    names: set[str] = set()
    places: set[str] = set()
    for index, device in enumerate(settings.devices):
        at = f"$.devices[{index}]"
        if device.driver not in drivers:
            raise SettingsFault(f"{at}.driver: no such driver: one of {', '.join(drivers)}")
        try:
            require_place(device.at, settings.unit.origin)
        except SettingsFault as fault:
            raise SettingsFault(f"{at}.at: {fault}") from None
        if device.name in names:
            raise SettingsFault(f"{at}.name: two devices have this name: give each its own")
        if device.at.lower() in places:
            raise SettingsFault(f"{at}.at: two devices stand at this place: bind it once")
        names.add(device.name)
        places.add(device.at.lower())


def _check_export(settings: Settings) -> None:
    """The centre's keys are named in one place."""
    if settings.export is None:
        return
    at, remedy = "$.export.centre_key", REMEDIES["$.export.centre_key"]
    if settings.uplink is None and settings.export.centre_key is None:
        raise SettingsFault(f"{at}: this setting is missing: {remedy}")
    if settings.uplink is not None and settings.export.centre_key is not None:
        raise SettingsFault(f"{at}: [uplink] names the centre's keys already: delete this one")
