"""Every command is documented, has an example, and the documentation names nothing that is not there."""

import importlib
import re
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("celebahq", "swd", "trainer")
COMMANDS = [
    (package, name)
    for package in PACKAGES
    for name in sorted(importlib.import_module(f"{package}.cli").main.commands)
]


def documents():
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def command(package, name):
    return importlib.import_module(f"{package}.cli").main.commands[name]


@pytest.mark.parametrize(("package", "name"), COMMANDS)
def test_a_command_is_documented(package, name):
    text = "\n".join(path.read_text() for path in documents() if path.name != "CONTRIBUTING.md")
    assert re.search(rf"\b{package} {name}\b", text), f"`{package} {name}` is in neither README.md nor docs/"


@pytest.mark.parametrize(("package", "name"), COMMANDS)
def test_a_commands_help_has_an_example_and_explains_its_options(package, name):
    documented = command(package, name)
    example = re.search(rf"^ *{package} {name} .*$", documented.help or "", re.MULTILINE)
    assert example, f"{package} {name} --help has no example"
    for option in documented.params:
        if isinstance(option, click.Option):
            assert option.help or option.metavar or option.show_default or option.required, option.name


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_commands_and_options_in_the_documentation_exist(path):
    groups = "|".join(PACKAGES)
    calls = re.findall(rf"(?:^|`)({groups}) ([a-z]+)((?: [^`\n]*)?)", path.read_text(), re.MULTILINE)
    for package, name, rest in calls:
        commands = importlib.import_module(f"{package}.cli").main.commands
        assert name in commands, f"{path.name}: `{package} {name}`"
        known = {option for parameter in commands[name].params for option in parameter.opts} | {"--help"}
        unknown = set(re.findall(r"(?<= )--[a-z0-9-]+", rest)) - known
        assert not unknown, f"{path.name}: `{package} {name}` has no {', '.join(sorted(unknown))}"


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(path):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text())
    missing = [link for link in links if not (path.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_the_tests_that_documentation_names_exist(path):
    files = list((ROOT / "tests").rglob("test_*.py"))
    tests = {name for file in files for name in re.findall(r"def (test_\w+)", file.read_text())}
    named = set(re.findall(r"`(test_\w+(?:\.py)?)`", path.read_text()))
    assert named <= tests | {file.name for file in files}


def test_the_map_in_contributing_shows_every_room():
    """Each folder with modules stands in CONTRIBUTING's table, and the table names no other."""
    listed = set(re.findall(r"`([a-z_]+/(?:[a-z_]+/)?)`(?=[^|]*\|)", (ROOT / "CONTRIBUTING.md").read_text()))
    modules = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    rooms = {f"{path.parent.relative_to(ROOT)}/" for path in modules}
    assert {room for room in listed if room.split("/")[0] in PACKAGES} == rooms
