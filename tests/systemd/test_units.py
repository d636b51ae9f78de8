"""What systemd and udev are told: hardened, sound, and free of settings that could refuse us."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[2] / "systemd"
SERVICE = SYSTEMD / "qafila.service"
RULES = SYSTEMD / "70-qafila.rules"
STORAGE = SYSTEMD / "qafila-storage@.service"
EXPORT = SYSTEMD / "qafila-export@.service"
EXPOSURE_MAX = 2.0
MATCHES = {"ACTION", "SUBSYSTEM", "SUBSYSTEMS", "ATTR", "ATTRS", "ENV"}
ASSIGNS = {"ENV", "GROUP", "MODE", "TAG", "SYMLINK", "GOTO", "LABEL"}
needs_analyze = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed"
)


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a tool of systemd's and keep what it says."""
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, timeout=60
    )


def settings(section: str) -> list[tuple[str, str]]:
    """Name and value of every setting of a section of the service, in order."""
    part = SERVICE.read_text("utf-8").split(f"[{section}]\n")[1].split("\n[")[0]
    lines = (line for line in part.splitlines() if line and not line.startswith("#"))
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


@needs_analyze
def test_the_service_is_exposed_at_most_2_0() -> None:
    told = run("systemd-analyze", "security", "--offline=true", "--no-pager", SERVICE).stdout
    level = re.search(r"Overall exposure level for qafila\.service: ([0-9.]+)", told)
    assert level, told
    assert float(level[1]) <= EXPOSURE_MAX


@needs_analyze
def test_systemd_finds_nothing_to_say_about_the_service(tmp_path: Path) -> None:
    here = tmp_path / "qafila.service"
    text = SERVICE.read_text("utf-8")
    here.write_text(text.replace("/opt/qafila/current/bin/qafila", "/bin/true"), "utf-8")
    told = run("systemd-analyze", "verify", "--man=no", here)
    about_us = [line for line in told.stderr.splitlines() if "qafila" in line]
    assert not about_us
    assert told.returncode == 0


def test_the_service_waits_for_no_network_and_never_gives_up() -> None:
    unit, service = dict(settings("Unit")), dict(settings("Service"))
    assert not any("network" in value for value in unit.values())
    assert unit["StartLimitIntervalSec"] == "0"
    assert (service["Restart"], service["Type"]) == ("always", "notify")
    assert int(service["WatchdogSec"]) == 30


def test_the_service_can_write_to_its_own_folders_only_and_gains_nothing() -> None:
    service = dict(settings("Service"))
    assert service["ProtectSystem"] == "strict"
    assert service["ReadWritePaths"] == "-/run/qafila-export", "root's, but for a mounted stick"
    assert (service["User"], service["StateDirectoryMode"]) == ("qafila", "0750")
    assert (service["CapabilityBoundingSet"], service["NoNewPrivileges"]) == ("", "yes")


def test_the_service_may_reach_what_the_agent_needs() -> None:
    service = settings("Service")
    families = dict(service)["RestrictAddressFamilies"].split()
    assert families == ["AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"]
    devices = {value for name, value in service if name == "DeviceAllow"}
    wired = {"char-ttyUSB rw", "char-ttyACM rw", "char-video4linux rw"}
    assert devices == wired | {"char-input r"}
    assert "PrivateDevices" not in dict(service)
    assert "ProcSubset" not in dict(service)


def test_every_kind_of_device_the_service_may_use_is_loaded_at_boot() -> None:
    modules = (SYSTEMD / "qafila.modules-load.conf").read_text("utf-8").splitlines()
    assert {line for line in modules if not line.startswith("#")} == {
        "usbserial",
        "cdc_acm",
        "videodev",
    }


def test_credentials_may_be_missing() -> None:
    """systemd.exec(5): only a name without a path is let pass where there is none."""
    loaded = [value for name, value in settings("Service") if name.startswith("LoadCredential")]
    assert loaded == ["store.key", "unit.key"]


def rules() -> list[list[tuple[str, str, str, str]]]:
    """Every rule as (key, attribute, operator, value); raises on anything else."""
    found = []
    for line in RULES.read_text("utf-8").replace("\\\n  ", "").splitlines():
        if not line or line.startswith("#"):
            continue
        rule = []
        for part in line.split(", "):
            match = re.fullmatch(r'([A-Z]+)(?:\{([A-Za-z_]+)\})?(==|!=|\+=|=)"([^"]*)"', part)
            assert match, part
            rule.append((match[1], match[2] or "", match[3], match[4]))
        found.append(rule)
    return found


def test_every_rule_matches_before_it_assigns_with_known_keys() -> None:
    for rule in rules():
        assigned = False
        for key, attribute, operator, _ in rule:
            matching = operator in {"==", "!="}
            assert key in (MATCHES if matching else ASSIGNS)
            assert (key in {"ATTR", "ATTRS", "ENV"}) == bool(attribute)
            assert not (matching and assigned)
            assigned = assigned or not matching


@pytest.mark.skipif(
    not shutil.which("udevadm") or "verify" not in run("udevadm", "--help").stdout,
    reason="udevadm verify came with systemd 254",
)
def test_udev_finds_nothing_to_say_about_the_rules() -> None:
    told = run("udevadm", "verify", "--resolve-names=never", RULES)
    assert told.returncode == 0, told.stderr + told.stdout


def test_every_label_is_jumped_to_forward_and_stands_once() -> None:
    labels, jumps = {}, []
    for number, rule in enumerate(rules()):
        for key, _, _, value in rule:
            if key == "LABEL":
                assert value not in labels
                labels[value] = number
            if key == "GOTO":
                jumps.append((value, number))
    assert {value for value, _ in jumps} <= set(labels)
    assert all(labels[value] > number for value, number in jumps)


Properties = dict[str, str]


def apply_rules(own: Properties, parents: list[Properties]) -> Properties:
    """What the rules make of a device, by the words of udev(7), as far as they use them."""
    made = dict(own) | {"SYMLINK": "", "TAG": ""}
    skip = ""
    for rule in rules():
        if skip and ("LABEL", "", "=", skip) not in rule:
            continue
        skip = ""
        parent = _matching(rule, made, parents)
        if parent is None:
            continue
        for key, attribute, operator, value in rule:
            name = f"{key}{{{attribute}}}" if attribute else key
            text = _filled(value, made, parent)
            if operator == "=" and key == "GOTO":
                skip = value
            elif operator == "=":
                made[name] = text
            elif operator == "+=":
                made[name] = f"{made[name]} {text}".strip()
    return made


def _filled(text: str, made: Properties, parent: Properties) -> str:
    text = re.sub(r"\$env\{(\w+)\}", lambda match: made.get(f"ENV{{{match[1]}}}", ""), text)
    return re.sub(r"\$attr\{(\w+)\}", lambda match: parent.get(f"ATTRS{{{match[1]}}}", ""), text)


def _matching(
    rule: list[tuple[str, str, str, str]], made: Properties, parents: list[Properties]
) -> Properties | None:
    above = []
    for key, attribute, operator, value in rule:
        if operator not in {"==", "!="}:
            continue
        name = f"{key}{{{attribute}}}" if attribute else key
        if key in {"SUBSYSTEMS", "ATTRS"}:
            above.append((name, value))
        elif _fits(made.get(name, ""), value) != (operator == "=="):
            return None
    for parent in parents:
        if all(_fits(parent.get(name, ""), value) for name, value in above):
            return parent
    return None


def _fits(have: str, pattern: str) -> bool:
    return any(
        re.fullmatch(re.escape(each).replace(r"\?", ".").replace(r"\*", ".*"), have)
        for each in pattern.split("|")
    )


USB_PARENTS: list[Properties] = [
    {"SUBSYSTEMS": "usb"},
    {"SUBSYSTEMS": "usb", "ATTRS{devpath}": "1.4"},
    {"SUBSYSTEMS": "usb", "ATTRS{devpath}": "0"},
    {"SUBSYSTEMS": "pci"},
]


def tty(vendor: str, model: str, interface: str, **more: str) -> Properties:
    """A USB serial port as 60-serial.rules leaves it."""
    return {
        "ACTION": "add",
        "SUBSYSTEM": "tty",
        "ENV{ID_VENDOR_ID}": vendor,
        "ENV{ID_MODEL_ID}": model,
        "ENV{ID_USB_INTERFACE_NUM}": interface,
        "ENV{ID_PATH}": "pci-0000:00:14.0-usb-0:1.4:1.0",
    } | {f"ENV{{{name}}}": value for name, value in more.items()}


def test_the_first_port_of_the_ecg_is_named_by_socket_path_and_serial_number() -> None:
    made = apply_rules(tty("2fe3", "0100", "00", ID_SERIAL_SHORT="HP6-0007"), USB_PARENTS)
    assert made["SYMLINK"].split() == [
        "qafila/ecg-port1.4",
        "qafila/ecg-path-pci-0000:00:14.0-usb-0:1.4:1.0",
        "qafila/ecg-id-HP6-0007",
    ]
    assert (made["GROUP"], made["MODE"], made["TAG"]) == ("qafila", "0660", "systemd")
    assert made["ENV{ID_MM_PORT_IGNORE}"] == "1"


def test_the_command_port_of_the_ecg_gets_no_name() -> None:
    made = apply_rules(tty("2fe3", "0100", "02"), USB_PARENTS)
    assert made["SYMLINK"] == ""
    assert (made["GROUP"], made["MODE"]) == ("qafila", "0660")


def test_a_converter_without_serial_number_is_named_by_socket_and_path() -> None:
    for vendor, model in (("0403", "6001"), ("10c4", "ea60"), ("1a86", "7523"), ("067b", "2303")):
        made = apply_rules(tty(vendor, model, "00"), USB_PARENTS)
        assert [name.split("-")[0] for name in made["SYMLINK"].split()] == ["qafila/serial"] * 2


def test_a_modem_is_left_alone() -> None:
    made = apply_rules(tty("2c7c", "0125", "02"), USB_PARENTS)
    assert made["SYMLINK"] == ""
    assert "ENV{ID_MM_PORT_IGNORE}" not in made
    usb = {"ACTION": "add", "SUBSYSTEM": "usb", "ENV{DEVTYPE}": "usb_device"}
    modem = usb | {"ATTR{idVendor}": "2c7c", "ATTR{idProduct}": "0125"}
    assert "ENV{ID_MM_DEVICE_IGNORE}" not in apply_rules(modem, USB_PARENTS)
    converter = usb | {"ATTR{idVendor}": "0403", "ATTR{idProduct}": "6001"}
    assert apply_rules(converter, USB_PARENTS)["ENV{ID_MM_DEVICE_IGNORE}"] == "1"


def test_only_the_picture_node_of_a_usb_camera_is_named() -> None:
    camera = {"ACTION": "add", "SUBSYSTEM": "video4linux", "ATTR{index}": "0"}
    assert apply_rules(camera, USB_PARENTS)["SYMLINK"] == "qafila/camera-port1.4"
    assert apply_rules(camera | {"ATTR{index}": "1"}, USB_PARENTS)["SYMLINK"] == ""
    assert apply_rules(camera, [{"SUBSYSTEMS": "pci"}])["SYMLINK"] == ""


def medium(**more: str) -> Properties:
    """The first partition of a stick as 60-persistent-storage.rules leaves it."""
    return {
        "ACTION": "add",
        "SUBSYSTEM": "block",
        "ENV{ID_FS_TYPE}": "vfat",
        "ENV{DEVTYPE}": "partition",
        "ATTR{partition}": "1",
    } | more


def test_first_file_system_of_a_medium_is_named_by_socket_and_wants_its_mount() -> None:
    for each in (medium(), medium(**{"ENV{DEVTYPE}": "disk", "ATTR{partition}": ""})):
        made = apply_rules(each, USB_PARENTS)
        assert made["SYMLINK"] == "qafila/storage-port1.4"
        assert made["TAG"] == "systemd"
        wanted = made["ENV{SYSTEMD_WANTS}"].split()
        assert wanted == ["qafila-storage@port1.4.service", "qafila-export@port1.4.service"]


@pytest.mark.parametrize(
    "other",
    [
        {"ATTR{partition}": "2"},
        {"ENV{ID_FS_TYPE}": "ext4"},
        {"ENV{ID_FS_TYPE}": "ntfs"},
        {"ENV{ID_FS_TYPE}": ""},
    ],
)
def test_any_other_file_system_is_left_alone(other: Properties) -> None:
    assert "ENV{SYSTEMD_WANTS}" not in apply_rules(medium(**other), USB_PARENTS)


def test_disk_inside_the_computer_is_left_alone() -> None:
    assert "ENV{SYSTEMD_WANTS}" not in apply_rules(medium(), [{"SUBSYSTEMS": "pci"}])


def test_button_of_a_camera_is_ours_to_read_and_a_keyboard_is_not() -> None:
    button = {
        "ACTION": "add",
        "SUBSYSTEM": "input",
        "ENV{DEVNAME}": "/dev/input/event7",
        "ENV{ID_USB_DRIVER}": "uvcvideo",
    }
    made = apply_rules(button, USB_PARENTS)
    assert (made["GROUP"], made["MODE"], made["SYMLINK"]) == ("qafila", "0640", "")
    for other in ({"ENV{ID_USB_DRIVER}": "usbhid"}, {"ENV{DEVNAME}": "/dev/input/mouse1"}):
        assert "GROUP" not in apply_rules(button | other, USB_PARENTS)


def test_medium_is_mounted_only_to_be_read_and_only_in_a_socket_that_was_named() -> None:
    text = STORAGE.read_text("utf-8").replace("\\\n  ", "")
    lines = dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)
    assert lines["ConditionPathExists"] == "/etc/qafila/storage/%i"
    assert lines["BindsTo"] == r"dev-qafila-storage\x2d%i.device"
    options = lines["ExecStart"].split(" -o ")[1].split()[0].split(",")
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(options)
    assert " -t vfat,exfat " in lines["ExecStart"]
    assert lines["ExecStart"].endswith("/dev/qafila/storage-%i /run/qafila-storage/%i")


def test_stick_is_mounted_to_be_written_only_in_a_socket_that_was_named_for_it() -> None:
    text = EXPORT.read_text("utf-8").replace("\\\n  ", "")
    conditions = re.findall(r"(?m)^ConditionPathExists=(.*)$", text)
    assert conditions == ["/etc/qafila/export/%i", "!/etc/qafila/storage/%i"]
    lines = dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)
    assert lines["BindsTo"] == r"dev-qafila-storage\x2d%i.device"
    options = lines["ExecStart"].split(" -o ")[1].split()[0].split(",")
    assert {"rw", "nosuid", "nodev", "noexec", "uid=qafila"} <= set(options)
    assert lines["ExecStart"].endswith("/dev/qafila/storage-%i /run/qafila-export/%i")
    assert "ReadWritePaths=-/run/qafila-export" in SERVICE.read_text("utf-8")


@needs_analyze
@pytest.mark.parametrize("unit", [STORAGE, EXPORT], ids=lambda unit: unit.stem)
def test_systemd_finds_nothing_to_say_about_the_mount(tmp_path: Path, unit: Path) -> None:
    here = tmp_path / unit.name.replace("@", "@port1.4")
    here.write_text(unit.read_text("utf-8"), "utf-8")
    told = run("systemd-analyze", "verify", "--man=no", here)
    about_us = [line for line in told.stderr.splitlines() if "qafila" in line]
    assert not about_us
    assert told.returncode == 0


def test_nothing_happens_when_a_device_goes() -> None:
    gone = tty("2fe3", "0100", "00") | {"ACTION": "remove"}
    assert apply_rules(gone, USB_PARENTS)["SYMLINK"] == ""


@pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="systemd-sysusers is missing")
def test_the_user_is_made_with_its_groups(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    told = run("systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "qafila.sysusers.conf")
    assert told.returncode == 0, told.stderr
    passwd = (tmp_path / "etc/passwd").read_text("utf-8")
    assert re.search(r"(?m)^qafila:[^:]*:\d+:\d+:Qafila agent:/var/lib/qafila:\S*nologin$", passwd)
    groups = (tmp_path / "etc/group").read_text("utf-8")
    for group in ("dialout", "video", "bluetooth"):
        assert re.search(rf"(?m)^{group}:[^:]*:\d+:qafila$", groups)


@pytest.mark.skipif(
    not shutil.which("systemd-tmpfiles") or os.geteuid() != 0,
    reason="giving folders to others needs systemd-tmpfiles and root",
)
def test_the_folders_are_made_with_their_modes(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    run("systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "qafila.sysusers.conf")
    told = run(
        "systemd-tmpfiles", "--create", f"--root={tmp_path}", SYSTEMD / "qafila.tmpfiles.conf"
    )
    assert "rror" not in told.stderr
    for folder, mode in (
        ("etc/qafila", 0o750),
        ("etc/credstore.encrypted", 0o700),
        ("opt/qafila", 0o755),
        ("run/qafila-export", 0o755),
        ("var/lib/qafila", 0o750),
    ):
        assert (tmp_path / folder).stat().st_mode & 0o7777 == mode
