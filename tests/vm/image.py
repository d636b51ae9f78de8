"""The disk of the virtual machine: a bare Debian, and on it the product as its page installs it.

Both are kept below `build/vm` under the hash of what they are made from. It needs root, for
`mmdebstrap` and `chroot`; nothing is mounted on this machine, and nothing of it is changed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.vm import page
from tests.vm.place import BUILD, HERE, ROOT, key_of, program, tracked

if TYPE_CHECKING:
    from pathlib import Path

SUITE = "bookworm"
PACKAGES = (
    *("linux-image-amd64", "systemd", "systemd-sysv", "dbus", "udev", "kmod", "e2fsprogs"),
    *("iproute2", "openssh-server", "procps"),
    # What the pages ask for: apt-get finds it installed, without a network.
    *("python3-venv", "openssl", "bluez", "dosfstools", "exfatprogs"),
    # Those who take serial ports for themselves, to be kept off.
    *("modemmanager", "brltty"),
)
ADMIN, LINK = "10.0.3", "10.0.2"
"""The networks of the guest: one for the tests, one for the unit; `.2` is this machine."""
ADMIN_MAC, LINK_MAC = "52:54:00:0a:00:03", "52:54:00:0a:00:02"
DATA = "qafila-data"
SOURCE = "/root/qafila"
LAB = "/usr/local/lib/lab"
_DISK = "4G"
_QUIET = (
    "apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer dpkg-db-backup.timer"
)


@dataclass(frozen=True)
class Image:
    """What a machine boots: a raw disk, the kernel, its first file system, and who may enter."""

    disk: Path
    kernel: Path
    initrd: Path
    identity: Path


def product() -> Image:
    """The image with the product in it, built where its inputs have changed."""
    base = _base()
    lab = sorted((HERE / "lab").rglob("*.py"))
    folder = BUILD / f"product-{key_of(base.name, *program(), *lab, HERE / 'image.py')}"
    image = Image(folder / "disk.ext4", folder / "vmlinuz", folder / "initrd", folder / "identity")
    if not (folder / "done").exists():
        _forget("product-*", "ready-*")
        folder.mkdir(parents=True)
        _say("building the image with the product")
        _build(base, folder, image)
        (folder / "done").touch()
    return image


def _base() -> Path:
    """A bare Debian as a tar, from the mirrors that this machine itself is set to."""
    target = BUILD / f"base-{key_of(SUITE, *PACKAGES)}.tar"
    if not target.exists():
        _forget("base-*")
        BUILD.mkdir(parents=True, exist_ok=True)
        _say("building a bare Debian; this takes minutes, once")
        fresh = target.with_suffix(".fresh.tar")
        words = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        _run(*words, SUITE, str(fresh), "-", said=_mirrors())
        fresh.replace(target)
    return target


def _mirrors() -> str:
    """The sources of the suite that apt on this machine knows, as lines of sources.list."""
    layout = "$(ORIGIN)|deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    words = ["apt-get", "indextargets", "--format", layout, "Created-By: Packages"]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    lines = {line.partition("|")[2] for line in listed.splitlines() if line.startswith("Debian|")}
    found = sorted(line for line in lines if f" {SUITE}" in line)
    if not found:
        raise RuntimeError(
            f"apt on this machine has no mirror of Debian {SUITE}; run apt-get update"
        )
    return "\n".join(found) + "\n"


def _build(base: Path, folder: Path, image: Image) -> None:
    root = folder / "root"
    root.mkdir()
    try:
        _run("tar", "--extract", "--numeric-owner", "--file", str(base), "--directory", str(root))
        _furnish(root, image)
        _bring(root / SOURCE.lstrip("/"))
        script = page.commands(1) + page.offline(page.commands(2))
        _inside(root, f"set -eux\ncd {SOURCE}\n{script}", folder / "install.log")
        shutil.copy(next((root / "boot").glob("vmlinuz-*")), image.kernel)
        shutil.copy(next((root / "boot").glob("initrd.img-*")), image.initrd)
        words = ["mkfs.ext4", "-q", "-F", "-L", "root", "-d", str(root), str(image.disk), _DISK]
        _run(*words)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _furnish(root: Path, image: Image) -> None:
    """What makes a machine of it: a name, two networks, a way in, and the laboratory's parts."""
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(image.identity))
    files = {
        "etc/hostname": "unit\n",
        "etc/hosts": "127.0.0.1 localhost unit\n",
        "etc/fstab": "LABEL=root / ext4 defaults,noatime 0 1\n",
        "root/.ssh/authorized_keys": image.identity.with_suffix(".pub").read_text(),
        "etc/systemd/network/admin.network": _network(ADMIN_MAC, ADMIN),
        "etc/systemd/network/link.network": _network(LINK_MAC, LINK),
        "etc/modules-load.d/lab.conf": "hci_vhci\nvhci_hcd\n",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / "root/.ssh").chmod(0o700)
    shutil.copytree(HERE / "lab", root / LAB.lstrip("/"), ignore=shutil.ignore_patterns("__*"))
    chroot = ["chroot", str(root), "systemctl", "--quiet"]
    _run(*chroot, "enable", "systemd-networkd.service", "ssh.service")
    _run(*chroot, "mask", *_QUIET.split())


def _network(mac: str, net: str) -> str:
    # No gateway: the guest reaches this machine and nothing else.
    return f"[Match]\nMACAddress={mac}\n[Network]\nAddress={net}.15/24\n"


def _bring(target: Path) -> None:
    """The folder of the project, and beside it the wheels that its lock names."""
    for path in tracked():
        there = target / path.relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, there)
    shutil.copytree(_wheels(), target / "wheels")


def _wheels() -> Path:
    lock = ROOT / "requirements.lock"
    folder = BUILD / f"wheels-{key_of(lock)}"
    if not folder.exists():
        _forget("wheels-*")
        fresh = folder.with_suffix(".fresh")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download"]
        _run(*pip, "--require-hashes", "-r", str(lock), "-d", str(fresh))
        fresh.rename(folder)
    return folder


def _inside(root: Path, script: str, log: Path) -> None:
    """Run a script in the tree as its own computer would, without any network."""
    words = ["unshare", "--net", "--mount", "--pid", "--fork", "sh", "-c"]
    outer = (
        'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" bash -s'
    )
    with log.open("w") as said:
        done = subprocess.run(
            [*words, outer, str(root)],
            input=script,
            text=True,
            stdout=said,
            stderr=said,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"the page of installation fails: see {log}")


def _forget(*patterns: str) -> None:
    """Remove what was built from inputs that are no more."""
    for pattern in patterns:
        for path in BUILD.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _run(*words: str, said: str | None = None) -> None:
    subprocess.run(words, input=said, text=True, check=True, stdout=subprocess.DEVNULL)


def _say(words: str) -> None:
    sys.stderr.write(f"vm: {words}\n")
