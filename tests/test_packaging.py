"""What is installed: the packages' names, the locks, and what the project says it needs."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
NEEDS = {
    "requirements.lock": PROJECT["project"]["dependencies"],
    "requirements-lab.lock": [*PROJECT["project"]["dependencies"], *EXTRAS["lab"]],
    "requirements-test.lock": [
        *PROJECT["project"]["dependencies"],
        *EXTRAS["lab"],
        *EXTRAS["test"],
    ],
}


def canonical(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> dict[str, str]:
    """Name and version of everything in a lock."""
    text = (ROOT / lock).read_text("utf-8")
    found = re.findall(r"(?m)^([A-Za-z0-9._-]+)==([^\s;\\]+)", text)
    return {canonical(name): version for name, version in found}


def required(needs: list[str]) -> dict[str, str]:
    """Name and version bounds of requirements, without extras and markers."""
    split = (re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?([^;]*)", need) for need in needs)
    return {canonical(match[1]): match[2].strip() for match in split if match}


def number(version: str) -> tuple[int, ...]:
    """A version's leading numbers, for comparing."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0]))


def within(version: str, bounds: str) -> bool:
    """Whether a version keeps all bounds (`>=`, `<` and `==` are all that are used here)."""
    tests = {
        ">=": lambda have, want: have >= want,
        "<": lambda have, want: have < want,
        "==": lambda have, want: have == want,
    }
    for bound in filter(None, (bound.strip() for bound in bounds.split(","))):
        match = re.fullmatch(r"(>=|<|==)\s*([\w.]+)", bound)
        assert match, bound
        if not tests[match[1]](number(version), number(match[2])):
            return False
    return True


def test_no_installed_distribution_has_a_package_of_our_names() -> None:
    installed = packages_distributions()
    assert installed
    for package in (*PACKAGES, "tests"):
        assert {canonical(name) for name in installed.get(package, ())} <= {"qafila"}


def test_every_package_folder_is_named_in_the_wheel() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders - {"bench"} == set(PACKAGES), "bench measures, and is not installed"
    assert set(PROJECT["tool"]["mypy"]["files"]) == {*PACKAGES, "bench", "tests"}
    assert set(PROJECT["tool"]["importlinter"]["root_packages"]) == set(PACKAGES)


@pytest.mark.parametrize("lock", sorted(NEEDS))
def test_a_lock_names_no_index_and_no_place_of_a_machine(lock: str) -> None:
    text = (ROOT / lock).read_text("utf-8").lower()
    for word in ("http", "file://", "index-url", "find-links", "trusted-host", "/tmp", "/home"):
        assert word not in text
    assert not re.search(r"(?m)^\s*#?.*(?<![\w=])/\w", text)


@pytest.mark.parametrize("lock", sorted(NEEDS))
def test_every_dependency_is_locked_within_its_bounds(lock: str) -> None:
    locked = pins(lock)
    for name, bounds in required(NEEDS[lock]).items():
        assert name in locked, f"run `make lock`: {lock} lacks {name}"
        assert within(locked[name], bounds), f"run `make lock`: {name} is {locked[name]}"


@pytest.mark.parametrize("lock", sorted(NEEDS))
def test_everything_locked_has_hashes(lock: str) -> None:
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", (ROOT / lock).read_text("utf-8"))[1:]
    assert len(blocks) == len(pins(lock))
    for block in blocks:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", block), block.splitlines()[0]


def test_the_locks_agree_with_each_other_and_grow() -> None:
    run, lab, test = (pins(lock) for lock in ("requirements.lock", *tuple(NEEDS)[1:]))
    assert run.items() <= lab.items() <= test.items()
    assert "bumble" not in run
    assert "pytest" not in lab


def test_the_project_itself_builds_from_what_is_locked() -> None:
    for lock in NEEDS:
        for name, bounds in required(PROJECT["build-system"]["requires"]).items():
            assert within(pins(lock)[name], bounds)


def test_the_zstd_backport_is_asked_for_below_314_only() -> None:
    for lock in NEEDS:
        text = (ROOT / lock).read_text("utf-8")
        assert re.search(r'(?m)^backports-zstd==\S+ ; python_version < "3\.14"', text)
