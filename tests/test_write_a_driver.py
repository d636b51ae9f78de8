"""`docs/how-to/write-a-driver.md`, followed to the letter in a copy of the tree."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "how-to" / "write-a-driver.md").read_text("utf-8")
FILE = re.compile(r"(?ms)^\*\*(\S+)\*\*\n\n```\w+\n(.*?)^```$")
LINE = re.compile(r"(?ms)^In `(\S+)`, as the last of `DRIVERS`:\n\n```python\n(.*?)^```$")
SHELL = re.compile(r"(?ms)^```sh\n(.*?)^```$")
PARTS = ("agent", "config", "drivers", "sync", "tests", "pyproject.toml")
CEILING = 280
pytestmark = pytest.mark.timeout(600)  # here whole suites run in a copy of the tree
BREAKS = {
    "a wrong scale": ("codec.py", "scaleb(-2)", "scaleb(-1)"),
    "an error of its own": ("codec.py", "raise ProtocolFault(", "raise ValueError("),
    "a checksum that is not looked at": ("codec.py", "sum8(raw[:-1]) == raw[-1]", "True"),
    "a link that is left open": ("driver.py", "stream.close()", "pass"),
    "a frame that is not kept": ("driver.py", "await sink.record(reading, (kept,))", "pass"),
    "a rule that is not answered": ("driver.toml", 'truncation = "done"\n', ""),
    "the source of another driver": ("driver.toml", '["example-ear"]', '["suretemp"]'),
}


def files() -> dict[str, str]:
    return {path.replace("\\", ""): text for path, text in FILE.findall(PAGE)}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with everything that the page tells one to write, and no more.

    It serves every test here, so that it is compiled once; each leaves it as it was.
    """
    tmp_path = tmp_path_factory.mktemp("tree")
    leave = shutil.ignore_patterns("__pycache__", ".*")
    for part in PARTS:
        here = ROOT / part
        if here.is_dir():
            shutil.copytree(here, tmp_path / part, ignore=leave)
        else:
            shutil.copy(here, tmp_path / part)
    for path, text in files().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")
    ((registry, line),) = LINE.findall(PAGE)
    before, brace, after = (tmp_path / registry).read_text("utf-8").rpartition("}")
    (tmp_path / registry).write_text(before + line + brace + after, "utf-8")
    return tmp_path


def run(tree: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    return subprocess.run(
        [sys.executable, *words],
        cwd=tree,
        env=kept | {"PYTHONPATH": str(tree)} | more,
        capture_output=True,
        text=True,
        timeout=CEILING,
        check=False,
    )


def said(number: int) -> list[str]:
    """The words of one of the page's commands, without the program."""
    return shlex.split(SHELL.findall(PAGE)[number])[1:]


def suite(tree: Path, *, to_the_first_red: bool = False) -> subprocess.CompletedProcess[str]:
    # Native, since CPython 3.11 may fail to parse the source for a longer one (gh-106905).
    words = (*said(1), "-p", "no:cacheprovider", "-q", "--tb", "native")
    return run(tree, *words, "-x", QAFILA_FUZZED="400") if to_the_first_red else run(tree, *words)


def test_page_followed_to_the_letter_gives_a_driver_that_the_suite_accepts(tree: Path) -> None:
    told = suite(tree)
    assert told.returncode == 0, told.stdout
    (passed,) = re.findall(r"(\d+) passed", told.stdout)
    assert int(passed) > 30
    decoded = run(tree, "-m", "agent", *said(0))
    expected = files()["tests/captures/example-ear/ear-36.52/expected.json"]
    assert json.loads(decoded.stdout) == json.loads(expected)


def test_example_is_written_as_the_rest_is(tree: Path) -> None:
    for words in (("check",), ("format", "--check")):
        told = run(tree, "-m", "ruff", *words, "--no-cache", "drivers/example_ear")
        assert told.returncode == 0, told.stdout


@pytest.mark.parametrize("broken", BREAKS)
def test_example_that_is_broken_turns_red(tree: Path, broken: str) -> None:
    name, sound, wrong = BREAKS[broken]
    path = tree / "drivers" / "example_ear" / name
    text = path.read_text("utf-8")
    assert sound in text
    path.write_text(text.replace(sound, wrong), "utf-8")
    try:
        told = suite(tree, to_the_first_red=True)
    finally:
        path.write_text(text, "utf-8")
    assert told.returncode == 1, told.stdout
    assert re.search(r"(?m)^(FAILED|ERROR|E ) .*example.ear", told.stdout), told.stdout


def test_capture_that_is_left_out_turns_red(tree: Path, tmp_path: Path) -> None:
    capture = tree / "tests" / "captures" / "example-ear" / "wrong-checksum"
    shutil.move(capture, tmp_path)
    try:
        told = suite(tree, to_the_first_red=True)
    finally:
        shutil.move(tmp_path / capture.name, capture)
    assert "captures_show_a_reading_and_a_rejection[example-ear]" in told.stdout


def test_page_names_every_rule_of_the_suite() -> None:
    from tests.contract.cases import RULES  # noqa: PLC0415

    card = files()["drivers/example_ear/driver.toml"]
    assert set(re.findall(r"(?m)^([\w-]+) = \"(?:done|exempt)", card)) == RULES
