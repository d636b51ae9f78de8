"""The pages: links lead somewhere, commands exist, names are of things that are there.

What is true no test can say; what can be looked up is looked up here.
"""

from __future__ import annotations

import contextlib
import re
import shlex
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from agent.cli import cli
from central.cli import main as central_cli

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PROGRAMS: dict[str, click.Command] = {"qafila": cli, "qafila-central": central_cli}
NOT_YET = {"doctor"}
"""Commands that pages may speak of although there are none yet."""
LONGEST = 99

FENCE = re.compile(r"(?ms)^```(\w*)\n(.*?)^```$")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
OF_A_MACHINE = re.compile(r"(?<![\w.$}])/(?:work|tmp|home|root)\b")
FOLDERS = ("agent", "central", "config", "docs", "drivers", "sync", "systemd", "tests")
IN_TREE = re.compile(rf"(?:{'|'.join(FOLDERS)})/[\w./*-]*")
STATEMENT_ENDS = {"|", "||", "&&", ";", "&", ">", ">>", "<", "<<"}


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=named)


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", text)


def anchor(heading: str) -> str:
    """The anchor that a heading gets where the pages are read."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def anchors(text: str) -> set[str]:
    return {anchor(heading) for heading in re.findall(r"(?m)^#+ (.+)$", prose(text))}


def dead_links(text: str, page: Path) -> list[str]:
    """The relative links of a page that lead nowhere."""
    found = []
    for match in LINK.finditer(prose(text)):
        link = match[1] or match[2]
        if re.match(r"[a-z]+:", link):
            continue
        place, _, part = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        whole = text if target == page else _read(target)
        there = target == page or target.exists()
        if not there or (part and part not in anchors(whole)):
            found.append(link)
    return found


def _read(target: Path) -> str:
    return target.read_text("utf-8") if target.is_file() else ""


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of ours in a page's blocks of code: the program, and its words."""
    for language, block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if language in {"sh", "console"} and any(program in line for program in PROGRAMS):
                yield from _statements(line.removeprefix("$ "))


def _statements(line: str) -> Iterator[tuple[str, list[str]]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word not in STATEMENT_ENDS:
            words.append(word)
            continue
        if words and (program := words[0].rpartition("/")[2]) in PROGRAMS:
            yield program, words[1:]
        words = []


def parse(program: str, words: list[str]) -> None:
    """Parse a command line as the program would, without doing what it says; click.UsageError."""
    command, name, rest = PROGRAMS[program], program, words
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name, *rest = rest
        inner = command.get_command(click.Context(command), name)
        if inner is None:
            message = f"there is no command {name}"
            raise click.UsageError(message)
        command = inner
    with contextlib.suppress(click.exceptions.Exit):  # --help, --version: all was understood
        command.make_context(name, list(rest))


def strange_names(text: str) -> list[str]:
    """Files and tests that a page names in code and that are not there, and unknown commands."""
    found = []
    for span in SPAN.findall(prose(text)):
        words = span.split()
        if IN_TREE.fullmatch(span) and not any(ROOT.glob(span.rstrip("/"))):
            found.append(span)
        if re.fullmatch(r"test_\w+", span) and span not in every_test():
            found.append(span)
        if words[0] in PROGRAMS and len(words) > 1 and not _is_known(*words[:2]):
            found.append(span)
    return found


def _is_known(program: str, word: str) -> bool:
    group = PROGRAMS[program]
    assert isinstance(group, click.Group)
    known = NOT_YET.union(group.list_commands(click.Context(group)))
    return word in known or not re.fullmatch("[a-z]+", word)


@cache
def every_test() -> frozenset[str]:
    """The name of every test there is."""
    texts = (path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    return frozenset(name for text in texts for name in re.findall(r"def (test_\w+)\(", text))


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    assert dead_links(page.read_text("utf-8"), page) == []


@every_page
def test_lines_are_short(page: Path) -> None:
    lines = page.read_text("utf-8").splitlines()
    assert [line for line in lines if len(line) > LONGEST] == []


@every_page
def test_commands_parse(page: Path) -> None:
    for program, words in commands(page.read_text("utf-8")):
        try:
            parse(program, words)
        except click.UsageError as error:
            pytest.fail(f"{program} {' '.join(words)}: {error.format_message()}", pytrace=False)


@every_page
def test_files_tests_and_commands_that_are_named_are_there(page: Path) -> None:
    assert strange_names(page.read_text("utf-8")) == []


@every_page
def test_nothing_is_said_of_one_machine(page: Path) -> None:
    assert OF_A_MACHINE.findall(page.read_text("utf-8")) == []


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {
        (index.parent / match[1]).resolve() for match in LINK.finditer(index.read_text("utf-8"))
    }
    pages = {page for page in (ROOT / "docs").rglob("*.md") if page != index}
    assert sorted(named(page) for page in pages - linked) == []


def test_readme_can_be_read_in_one_go() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


def test_pages_speak_of_enough_commands_for_this_to_mean_something() -> None:
    said = {
        (program, words[0])
        for page in PAGES
        for program, words in commands(page.read_text("utf-8"))
        if words
    }
    assert {("qafila", "status"), ("qafila", "init"), ("qafila-central", "enrol")} <= said


def test_what_is_called_not_yet_is_not_there() -> None:
    assert not NOT_YET & set(cli.list_commands(click.Context(cli)))


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        ("[a](README.md)", []),
        ("[a](README.md#licence)", []),
        ("[a](README.md#nowhere)", ["README.md#nowhere"]),
        ("[a](docs/nowhere.md)", ["docs/nowhere.md"]),
        ("[a]: docs/nowhere.md", ["docs/nowhere.md"]),
        ("# Here it is\n[a](#here-it-is) [b](#not-here)", ["#not-here"]),
        ("[a](https://example.org/nowhere)", []),
        ("```text\n[a](nowhere.md)\n```", []),
    ],
)
def test_dead_links_are_noticed(text: str, dead: list[str]) -> None:
    assert dead_links(text, ROOT / "page.md") == dead


@pytest.mark.parametrize(
    "line",
    [
        "qafila nothing",
        "$ qafila status --no-such-option",
        "qafila snapshot",
        "qafila init a b",
        "sudo -u x true && /opt/qafila/current/bin/qafila readings --limit none",
        "qafila consultation open 1",
        "qafila-central enrol centre",
        "qafila \\\n  status --no-such-option",
        "cat a | qafila decode",
    ],
)
def test_wrong_commands_are_noticed(line: str) -> None:
    (found,) = commands(f"```sh\n{line}\n```\n")
    with pytest.raises(click.UsageError):
        parse(*found)


@pytest.mark.parametrize(
    ("text", "strange"),
    [
        ("`tests/test_docs.py` `tests/` `docs/decisions/0001-*.md`", []),
        ("`tests/no_such_test.py`", ["tests/no_such_test.py"]),
        ("`test_lines_are_short` `test_of_nothing`", ["test_of_nothing"]),
        ("`qafila status` `qafila doctor` `qafila --help`", []),
        ("`qafila heal` `qafila-central heal DIR`", ["qafila heal", "qafila-central heal DIR"]),
    ],
)
def test_strange_names_are_noticed(text: str, strange: list[str]) -> None:
    assert strange_names(text) == strange


@pytest.mark.parametrize("text", ["see /home/me", "in /tmp/x", "(/work/project)"])
def test_paths_of_a_machine_are_noticed(text: str) -> None:
    assert OF_A_MACHINE.search(text)
