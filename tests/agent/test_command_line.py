"""The command line: every command explains itself, and stands on its page as it is."""

from __future__ import annotations

import json
import re
import stat
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from agent import __version__
from agent.cli import cli
from drivers import DRIVERS

from .unit import ROOT, run_cli

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = ROOT / "docs" / "reference" / "cli.md"
_SECTION = re.compile(r"^## `qafila ([a-z -]+)`\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_ITEM = re.compile(r"^- `([^`]+)`:", re.MULTILINE)


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command by its words, groups before what is in them."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{before}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")


TREE = dict(commands(cli))


def spoken(parameter: click.Parameter) -> str:
    """What a person types or reads: `--json`, `SOURCE`."""
    if isinstance(parameter, click.Argument):
        return parameter.metavar or parameter.human_readable_name
    return parameter.opts[0]


@pytest.mark.parametrize("words", TREE)
def test_every_command_helps_and_explains_each_of_its_options(words: str) -> None:
    helped = CliRunner().invoke(cli, [*words.split(), "--help"])
    assert helped.exit_code == 0
    assert helped.output.startswith("Usage: ")
    command = TREE[words]
    assert command.get_short_help_str()
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{words} {parameter.name} says nothing of itself"


def test_overview_names_every_command() -> None:
    overview = CliRunner().invoke(cli, ["-h"]).output
    assert [name for name in TREE if " " not in name and name not in overview] == []


def test_page_has_every_command_with_every_option_and_no_other() -> None:
    page = {
        words: sorted(_ITEM.findall(text))
        for words, text in _SECTION.findall(PAGE.read_text("utf-8"))
    }
    assert page == {
        words: sorted(spoken(each) for each in command.params) for words, command in TREE.items()
    }


def test_page_names_the_defaults_that_the_commands_have() -> None:
    sections = dict(_SECTION.findall(PAGE.read_text("utf-8")))
    for words, command in TREE.items():
        for option in command.params:
            if isinstance(option.default, int | float) and option.default and option.opts:
                line = next(
                    each
                    for each in sections[words].splitlines()
                    if each.startswith(f"- `{spoken(option)}`")
                )
                assert f"{option.default:g} if not given" in line


def test_version_needs_no_installation() -> None:
    told = run_cli("--version")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == f"qafila, version {__version__}\n"


def test_unknown_command_is_a_usage_error() -> None:
    assert CliRunner().invoke(cli, ["telepathy"]).exit_code == 2


def test_init_makes_keys_for_their_owner_alone_and_never_again(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    made = run_cli("init", str(folder))
    assert (made.returncode, made.stderr) == (0, "")
    keys = {each.name: each for each in (folder / "keys").iterdir()}
    assert set(keys) == {"store.key", "unit.key", "unit.pub"}
    assert {stat.S_IMODE(keys[name].stat().st_mode) for name in ("store.key", "unit.key")} == {
        0o400
    }
    before = {name: path.read_bytes() for name, path in keys.items()}
    again = run_cli("init", str(folder))
    assert again.returncode == 1
    assert again.stderr.count("\n") == 1
    assert "store.key exists" in again.stderr
    assert {name: path.read_bytes() for name, path in keys.items()} == before
    for secret in (before["store.key"], before["unit.key"]):
        assert secret.decode().strip() not in made.stdout + made.stderr


def test_init_where_no_folder_can_be_made_says_so_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = run_cli("init", str(tmp_path / "file" / "state"))
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: ")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [("demo", "--once"), ("simulate", "{folder}")])
def test_without_the_extra_lab_its_commands_name_it(words: tuple[str, ...], tmp_path: Path) -> None:
    blocked = "import sys; sys.modules['bumble'] = None; from agent.cli import main; main()"
    told = run_cli(*(each.format(folder=tmp_path / "s") for each in words), code=blocked)
    assert told.returncode == 1
    assert told.stderr.startswith("Error: this needs bumble")
    assert "qafila[lab]" in told.stderr
    assert told.stderr.count("\n") == 1


def test_commands_that_ask_say_that_no_agent_runs(tmp_path: Path) -> None:
    settings = tmp_path / "unit.toml"
    settings.write_text(f'[unit]\nname = "a"\nstate = "{tmp_path}"\nruntime = "{tmp_path}"\n')
    for words in (
        ("consultation", "open", "1", "--patient", "p", "--actor", "a"),
        ("consultation", "close", "1"),
        ("snapshot", "camera"),
        ("reconnect",),
    ):
        told = CliRunner().invoke(cli, [*words, "--settings", str(settings)])
        assert (told.exit_code, told.stdout) == (1, "")
        assert told.stderr == "Error: the agent is not running: systemctl start qafila\n"


def test_commands_that_read_name_the_missing_key(tmp_path: Path) -> None:
    settings = tmp_path / "unit.toml"
    settings.write_text(f'[unit]\nname = "a"\nstate = "{tmp_path}"\nruntime = "{tmp_path}"\n')
    for words in (("readings",), ("pending",)):
        told = CliRunner().invoke(cli, [*words, "--settings", str(settings)])
        assert told.exit_code == 1
        assert "store.key does not exist: `qafila init` makes one" in told.stderr


def test_catalogue_lists_every_driver_without_a_unit() -> None:
    listed = CliRunner().invoke(cli, ["devices", "--catalogue", "--json"])
    assert listed.exit_code == 0
    assert list(json.loads(listed.stdout)) == list(DRIVERS)
    table = CliRunner().invoke(cli, ["devices", "--catalogue"]).stdout
    assert len(table.splitlines()) == len(DRIVERS) + 1
