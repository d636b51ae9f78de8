"""Settings: whatever is wrong is said with its path and its remedy, and the page is the model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import pytest
from click.testing import CliRunner
from msgspec import inspect

from agent.cli import cli
from config.errors import SettingsFault
from config.load import REMEDIES, SAMPLE, load, parse
from config.model import Settings
from drivers import DRIVERS

from .unit import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = ROOT / "docs" / "reference" / "configuration.md"
UNIT = '[unit]\nname = "azilal-03"\n'
UPLINK = '[uplink]\nhost = "centre.example"\ncentre_key = "/etc/qafila/centre.pub"\n'
DEVICE = '[[devices]]\nname = "cuff"\ndriver = "blood-pressure"\nat = "F1:F1:F1:F1:F1:F1"\n'

WRONG = {
    "$.unit": ("", "unit = 3"),
    "$.unit.name": (
        "[unit]",
        "[unit]\nname = 3",
        '[unit]\nname = ""',
        '[unit]\nname = "Azilal"',
        '[unit]\nname = "azilal-03\\n"',
        f'[unit]\nname = "{"a" * 33}"',
    ),
    "$.unit.origin": (f'{UNIT}origin = "demo"', f"{UNIT}origin = true"),
    "$.unit.state": (f'{UNIT}state = "state"', f'{UNIT}state = "/"', f"{UNIT}state = 1"),
    "$.unit.runtime": (f'{UNIT}runtime = "./run"', f'{UNIT}runtime = "/run\\n"'),
    "$.uplink": (f"uplink = 3\n{UNIT}",),
    "$.uplink.host": (f'{UNIT}[uplink]\ncentre_key = "/c"', f'{UNIT}[uplink]\nhost = ""'),
    "$.uplink.centre_key": (
        f'{UNIT}[uplink]\nhost = "h"',
        f'{UNIT}[uplink]\nhost = "h"\ncentre_key = "c.pub"',
    ),
    "$.uplink.port": tuple(
        f"{UNIT}{UPLINK}port = {port}" for port in (0, 65536, -1, 1.5, '"8883"', "true")
    ),
    "$.uplink.bytes_per_second": tuple(
        f"{UNIT}{UPLINK}bytes_per_second = {value}" for value in (999, 0, '"20000"', 20000.5)
    ),
    "$.uplink.keepalive": tuple(f"{UNIT}{UPLINK}keepalive = {value}" for value in (4, 601, '"5"')),
    "$.uplink.tls": (f"{UNIT}{UPLINK}tls = true",),
    "$.uplink.tls.authority": (f'{UNIT}{UPLINK}[uplink.tls]\ncertificate = "/c"\nkey = "/k"',),
    "$.uplink.tls.certificate": (f'{UNIT}{UPLINK}[uplink.tls]\nauthority = "/a"\nkey = "/k"',),
    "$.uplink.tls.key": (
        f'{UNIT}{UPLINK}[uplink.tls]\nauthority = "/a"\ncertificate = "/c"',
        f'{UNIT}{UPLINK}[uplink.tls]\nauthority = "/a"\ncertificate = "/c"\nkey = "k"',
    ),
    "$.retention": (f"retention = 30\n{UNIT}",),
    "$.retention.days": tuple(
        f"{UNIT}[retention]\ndays = {days}" for days in (0, -1, 3651, 1.5, '"30"', "false")
    ),
    "$.export": (f"export = 3\n{UNIT}",),
    "$.export.folder": tuple(f"{UNIT}{UPLINK}[export]\nfolder = {at}" for at in ('"stick"', "3")),
    "$.export.centre_key": (
        f"{UNIT}[export]",
        f'{UNIT}[export]\nfolder = "/run/stick"',
        f'{UNIT}[export]\ncentre_key = "c.pub"',
    ),
    "$.bluetooth": (f"bluetooth = 1\n{UNIT}",),
    "$.bluetooth.radio": tuple(
        f'{UNIT}origin = "simulated"\n[bluetooth]\nradio = "{radio}"'
        for radio in ("", "hci0", "tcp-client:localhost", "tcp-server:localhost:1")
    ),
    "$.devices": (f"devices = 3\n{UNIT}", f"devices = {{}}\n{UNIT}"),
    "$.devices[].name": (
        f'{UNIT}[[devices]]\ndriver = "thermometer"\nat = "x"',
        UNIT + DEVICE.replace('"cuff"', '"Cuff 1"'),
    ),
    "$.devices[].driver": (
        f'{UNIT}[[devices]]\nname = "a"\nat = "x"',
        UNIT + DEVICE.replace('"blood-pressure"', "1"),
    ),
    "$.devices[].at": (
        f'{UNIT}[[devices]]\nname = "a"\ndriver = "thermometer"',
        UNIT + DEVICE.replace("F1:F1:F1:F1:F1:F1", ""),
    ),
    "$.devices[].box": (f'{UNIT}{DEVICE}box = "box 1"', f"{UNIT}{DEVICE}box = 1"),
    "$.devices[].calibration_due": tuple(
        f"{UNIT}{DEVICE}calibration_due = {day}" for day in ('"soon"', '"2027-02-30"', "2027", "[]")
    ),
    "$.devices[].settings": (f"{UNIT}{DEVICE}settings = 3",),
}


def fault(text: str) -> str:
    with pytest.raises(SettingsFault) as raised:
        parse(text, DRIVERS)
    return str(raised.value)


def indexed(path: str) -> str:
    return path.replace("[]", "[0]")


@pytest.mark.parametrize("path", REMEDIES)
def test_wrong_setting_is_named_with_its_path_and_its_remedy(path: str) -> None:
    for text in WRONG[path]:
        said = fault(text)
        assert said.startswith(f"{indexed(path)}: ")
        assert said.endswith(f": {REMEDIES[path]}")
        assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (f"{UNIT}colour = 1", "$.unit.colour"),
        (f"colour = 1\n{UNIT}", "$.colour"),
        (f"{UNIT}{UPLINK}password = 1", "$.uplink.password"),
        (f"{UNIT}[bluetooth]\nhci = 0", "$.bluetooth.hci"),
        (f"{UNIT}[retention]\nhours = 1", "$.retention.hours"),
        (f"{UNIT}{DEVICE}{DEVICE}baud = 1", "$.devices[1].baud"),
    ],
)
def test_unknown_setting_is_refused_wherever_it_stands(text: str, path: str) -> None:
    """T54."""
    assert fault(text).startswith(f"{path}: no such setting: delete it, or see docs/reference/")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            UNIT + DEVICE + DEVICE.replace("F1:F1:F1", "F2:F2:F2"),
            "$.devices[1].name: two devices have this name: give each its own",
        ),
        (
            UNIT + DEVICE + DEVICE.replace("cuff", "cuff-2").replace("F1:F1", "f1:f1"),
            "$.devices[1].at: two devices stand at this place: bind it once",
        ),
        (
            UNIT + DEVICE.replace("blood-pressure", "telepathy"),
            f"$.devices[0].driver: no such driver: one of {', '.join(DRIVERS)}",
        ),
        (
            UNIT + DEVICE.replace("F1:F1:F1:F1:F1:F1", "tcp://127.0.0.1:8090"),
            (
                "$.devices[0].at: a clinical unit reads no stream of a network: "
                "give the path of the camera, such as /dev/video0"
            ),
        ),
        (
            f'{UNIT}[bluetooth]\nradio = "tcp-client:127.0.0.1:1"',
            '$.bluetooth.radio: a simulated radio needs $.unit.origin = "simulated"',
        ),
    ],
)
def test_settings_that_contradict_each_other_say_which(text: str, said: str) -> None:
    assert fault(text) == said


def test_stream_of_this_computer_is_a_camera_of_a_simulated_unit() -> None:
    device = DEVICE.replace("F1:F1:F1:F1:F1:F1", "tcp://127.0.0.1:8090")
    settings = parse(f'{UNIT}origin = "simulated"\n{device}', DRIVERS)
    assert settings.devices[0].at == "tcp://127.0.0.1:8090"


@pytest.mark.parametrize("content", [b"[unit", b"\xff\xfe", b'a = "\x01"', b"a = 1\na = 2"])
def test_file_that_is_no_toml_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "unit.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsFault) as raised:
        load(path, DRIVERS)
    assert "\n" not in str(raised.value)


def test_missing_file_points_to_the_sample(tmp_path: Path) -> None:
    for command in ("run", "readings", "pending", "devices", "reconnect"):
        told = CliRunner().invoke(cli, [command, "--settings", str(tmp_path / "none.toml")])
        assert told.exit_code == 1
        assert told.stderr.startswith(f"Error: {tmp_path / 'none.toml'} does not exist: copy")
        assert told.stderr.count("\n") == 1


def test_settings_of_the_environment_stand_in_for_the_option(tmp_path: Path) -> None:
    path = tmp_path / "unit.toml"
    path.write_text("[unit]\n")
    told = CliRunner().invoke(cli, ["devices"], env={"QAFILA_SETTINGS": str(path)})
    assert told.stderr.startswith("Error: $.unit.name: this setting is missing")


def test_sample_loads_as_it_stands() -> None:
    settings = load(ROOT / SAMPLE, DRIVERS)
    assert settings.uplink is not None
    assert settings.uplink.tls is not None
    assert {each.driver for each in settings.devices} <= set(DRIVERS)
    assert settings.unit.origin == "clinical"


def test_page_shows_the_sample_word_for_word() -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert shown == (ROOT / SAMPLE).read_text("utf-8")


def test_page_has_every_setting_of_the_model_and_no_other() -> None:
    sections = re.split(r"^### ", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]
    page = {}
    for section in sections:
        path, _, meaning = section.partition("\n\n")
        assert meaning[:1].isalpha() or meaning.startswith("`")
        told = re.findall(r"^- (Type|Default|Remedy): (.+(?:\n  .+)*)", meaning, re.MULTILINE)
        page[path.strip("`")] = {key: " ".join(words.split()) for key, words in told}
    assert page == {
        path: {"Type": words, "Default": default, "Remedy": REMEDIES[path]}
        for path, words, default in model()
    }


def model() -> Iterator[tuple[str, str, str]]:
    """Each setting's path, type and default, in the words of the page."""
    struct = inspect.type_info(Settings)
    assert isinstance(struct, inspect.StructType)
    yield from _settings(struct, "$")


def _settings(struct: inspect.StructType, at: str) -> Iterator[tuple[str, str, str]]:
    for field in struct.fields:
        path = f"{at}.{field.encode_name}"
        yield path, _words(field.type), _default(field)
        for each in getattr(field.type, "types", (field.type,)):
            if isinstance(each, inspect.StructType):
                yield from _settings(each, path)
            elif isinstance(each, inspect.VarTupleType):
                assert isinstance(each.item_type, inspect.StructType)
                yield from _settings(each.item_type, f"{path}[]")


def _words(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.UnionType):
        (kind,) = (each for each in kind.types if not isinstance(each, inspect.NoneType))
    if isinstance(kind, inspect.StrType):
        shape = f" that matches `{kind.pattern}`" if kind.pattern else ""
        return f"text{shape}{', not empty' if kind.min_length else ''}"
    if isinstance(kind, inspect.DateType):
        return "date"
    if isinstance(kind, inspect.IntType):
        return f"whole number from {kind.ge} to {kind.le}"
    if isinstance(kind, inspect.LiteralType):
        return "one of " + ", ".join(f"`{value}`" for value in kind.values)
    return "tables" if isinstance(kind, inspect.VarTupleType) else "table"


def _default(field: inspect.Field) -> str:
    value = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if value is msgspec.NODEFAULT:
        return "none: it must be set"
    if value is None:
        return "left out"
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"`{value}`" if isinstance(value, int) else "empty"
