"""What holds for the command lines of all three packages alike."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
import skimage.data
from click.testing import CliRunner
from PIL import Image
from tiny_runs import start, tiny_config, write_pyramid

from celebahq.arguments import DATA_SET, DEVICE, NEW_DATA_SET, NEW_FOLDER

PACKAGES = ("celebahq", "swd", "trainer")
COMMANDS = {
    f"{package} {name}": command
    for package in PACKAGES
    for name, command in importlib.import_module(f"{package}.cli").main.commands.items()
}
OPTIONS = [
    (call, option)
    for call, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, click.Option)
]
OF_ONE_MEANING = (
    "--device",
    "--dry-run",
    "--json",
    "--overwrite",
    "--quiet",
    "--seed",
    "--verbose",
    "--workers",
)
SHORT = {"-n": "--dry-run", "-o": "--out", "-q": "--quiet", "-v": "--verbose"}
OWN_SEED = "trainer run"  # its presets have one already


def call(text: str, *more: object):
    package, name, *arguments = text.split()
    main = importlib.import_module(f"{package}.cli").main
    return CliRunner().invoke(main, [name, *arguments, *map(str, more)])


@pytest.mark.parametrize("name", OF_ONE_MEANING)
def test_an_option_means_the_same_everywhere(name):
    found = [(option.help, option.default, option.type) for _, option in OPTIONS if name in option.opts]
    if name == "--seed":
        found = [
            (option.help, option.default, option.type)
            for call, option in OPTIONS
            if name in option.opts and call != OWN_SEED
        ]
    assert len(found) > 1
    assert len(set(map(str, found))) == 1


def test_short_options_stand_for_the_same_everywhere():
    for call, option in OPTIONS:
        for short in (name for name in option.opts if not name.startswith("--")):
            assert SHORT[short] in option.opts, call


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_say_more_or_less(name):
    options = {text for option in COMMANDS[name].params for text in option.opts}
    assert {"-v", "-q"} <= options


@pytest.mark.parametrize(
    "name", [name for name, command in COMMANDS.items() if any(p.required for p in command.params)]
)
def test_who_leaves_something_out_gets_an_example(name):
    result = call(name)
    assert result.exit_code == 2
    assert f"For example: {name} " in result.stderr


def test_a_folder_alone_gets_the_command_that_was_meant(tmp_path):
    result = call(f"celebahq build {tmp_path}/")
    assert result.exit_code == 2
    assert f"celebahq build --photos {tmp_path} --out {tmp_path}.h5" in result.stderr


@pytest.mark.parametrize("name", [name for name, option in OPTIONS if option.type is NEW_DATA_SET])
@pytest.mark.parametrize("out", ["x.zip", "x", "x.png"])
def test_an_hdf5_file_is_called_one(name, out, tmp_path):
    with pytest.raises(
        click.BadParameter, match=r"does not end in \.h5 or \.hdf5; .* celebahq export makes a zip"
    ):
        NEW_DATA_SET.convert(str(tmp_path / out), None, None)
    option = next(option for option in COMMANDS[name].params if option.name == "out")
    assert option.type is NEW_DATA_SET


@pytest.mark.parametrize(
    "name", [name for name, command in COMMANDS.items() for p in command.params if "--device" in p.opts]
)
def test_a_name_of_no_device_is_wrong_usage(name):
    device = next(option for option in COMMANDS[name].params if "--device" in option.opts)
    assert device.type is DEVICE


@pytest.mark.parametrize("name", ["warp", "gpu", "mps", "cuda:", "cuda:first", ""])
def test_a_device_is_the_processor_or_a_gpu(name):
    with pytest.raises(click.BadParameter, match="is not a device; use auto, cpu, cuda or cuda:N"):
        DEVICE.convert(name, None, None)


@pytest.mark.parametrize("name", ["celebahq extract", "celebahq restore", "trainer run"])
def test_a_folder_is_not_called_a_file(name):
    option = next(option for option in COMMANDS[name].params if option.name in ("out", "outdir"))
    assert option.type is NEW_FOLDER
    with pytest.raises(click.BadParameter, match="a folder is written"):
        NEW_FOLDER.convert("x.png", None, None)
    assert NEW_FOLDER.convert("2026.11.28", None, None) == Path("2026.11.28")


@pytest.mark.parametrize(
    "name", sorted({name for name, command in COMMANDS.items() for p in command.params if p.type is DATA_SET})
)
def test_photos_in_the_place_of_a_data_set_point_to_what_makes_one(name, tmp_path):
    photo = tmp_path / "a.jpg"
    Image.fromarray(skimage.data.astronaut()).save(photo)
    (tmp_path / "b.zip").write_bytes(b"PK")
    parameter = next(parameter for parameter in COMMANDS[name].params if parameter.type is DATA_SET)
    before = [] if isinstance(parameter, click.Argument) else [parameter.opts[0]]
    for given, remedy in (
        (tmp_path, f"celebahq build --photos {tmp_path} -o FILE.h5"),
        (photo, f"celebahq import folder {tmp_path} -o FILE.h5"),
        (tmp_path / "b.zip", f"celebahq import zip {tmp_path / 'b.zip'} -o FILE.h5"),
    ):
        result = call(name, *before, given)
        assert result.exit_code == 2
        assert "not an HDF5 file" in result.stderr
        assert remedy in result.stderr


def test_photos_of_any_shape_given_to_swd_point_to_what_makes_squares(tmp_path):
    for name in ("real", "fake"):
        (tmp_path / name).mkdir()
        Image.fromarray(skimage.data.astronaut()[:400]).save(tmp_path / name / "a.png")
    result = call("swd compare", tmp_path / "real", tmp_path / "fake", "--device", "cpu")
    assert result.exit_code == 1
    assert "512x400 px" in result.stderr
    assert "celebahq build makes them" in result.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_as_a_module_says_its_version(package):
    result = subprocess.run([sys.executable, "-m", package, "--version"], capture_output=True, text=True)
    assert result.stdout.startswith(f"{package}, version ")


@pytest.mark.parametrize(("package", "begun"), [("celebahq", "bui"), ("swd", "com"), ("trainer", "gener")])
def test_a_shell_can_complete_commands(package, begun):
    """The way that README shows for bash: click answers when this variable is set."""
    environment = {
        **os.environ,
        f"_{package.upper()}_COMPLETE": "bash_complete",
        "COMP_WORDS": f"{package} {begun}",
        "COMP_CWORD": "1",
    }
    program = f"from {package}.cli import main; main(prog_name='{package}')"
    result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert result.stdout.split(",")[1].startswith(begun)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("json")
    write_pyramid(folder / "a.h5")
    write_pyramid(folder / "c.h5")
    run = start(tiny_config(train={"total_kimg": 0.05}), folder / "a.h5", folder / "runs")
    run.rename(folder / "run")
    return folder


@pytest.mark.parametrize(
    "text",
    [
        "celebahq inspect a.h5 --json",
        "celebahq verify a.h5 --json",
        "celebahq compare a.h5 a.h5 --json",
        "celebahq import hdf5 a.h5 -o b.h5 --json --workers 1",
        "celebahq status b.h5 --json",
        "swd compare a.h5 a.h5 --json --device cpu --metrics swd,msssim",
        "swd track a.h5 a.h5 c.h5 --json --device cpu",
        "trainer presets --json",
        "trainer status run --json",
        "trainer evaluate run --json --device cpu",
        "trainer bench --preset smoke --synthetic --resolution 4 --steps 1 --json --device cpu",
    ],
)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_keys_of_json_outputs_have_no_spaces(text, workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    result = call(text)
    assert result.exit_code == 0, result.output
    found = list(keys(json.loads(result.stdout)))
    assert found
    assert [key for key in found if " " in key] == []


def test_keys_of_a_report_have_no_spaces(workplace):
    report = json.loads((workplace / "build-report.json").read_text())
    assert [key for key in keys(report) if " " in key] == []


def keys(value):
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    for part in value if isinstance(value, list) else []:
        yield from keys(part)
