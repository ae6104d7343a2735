"""`trainer run --config FILE.toml`: what a preset is, of one's own."""

import json

import pytest
from click.testing import CliRunner

from trainer.cli import main
from trainer.configuration.config import ConfigError
from trainer.configuration.presets import config_from_file, preset
from trainer.configuration.settings import to_dict

OWN = """
extends = "faces-64"
resolution = 32
[train]
total_kimg = 60
[schedule]
minibatch_by_resolution = { 32 = 8 }
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "portraits.toml"
    path.write_text(OWN)
    return path


def test_what_the_file_leaves_out_is_the_presets(file):
    config, base = config_from_file(file), preset("faces-64")
    assert config.name == "portraits"
    assert config.train.total_kimg == 60
    assert config.schedule.resolution == config.generator.resolution == config.discriminator.resolution == 32
    assert config.schedule.minibatch_by_resolution == {32: 8}
    assert config.generator.latent_size == base.generator.latent_size
    assert config.schedule.tick_kimg == base.schedule.tick_kimg


def test_a_variant_may_be_extended_and_the_name_be_given(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('extends = "mnist-rgb-1k+progression"\nname = "modes"\n')
    config = config_from_file(path)
    assert config.name == "modes"
    assert {**to_dict(config), "name": ""} == {**to_dict(preset("mnist-rgb-1k+progression")), "name": ""}


def test_the_command_takes_the_file_and_changes_to_it(file):
    result = CliRunner().invoke(
        main, ["run", "--config", str(file), "--set", "train.total_kimg=7", "--dry-run"]
    )
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert (found["name"], found["train"]["total_kimg"], found["schedule"]["resolution"]) == (
        "portraits",
        7,
        32,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train", "Expected '='"),
        ('extends = "smoke"\n[train]\ntotal_kimgs = 3', "train.total_kimg"),
        ("[train]\ntotal_kimg = 3", "extends must be the name of a preset"),
        ("", "extends must be the name of a preset"),
        ('extends = ""', "extends must be the name of a preset"),
        ('extends = "faces-65"', "did you mean faces-64"),
        ("extends = 3", "extends must be the name of a preset"),
        ("[variants.a]\nresolution = 8", "variants is for presets"),
        ("world_size = 3", "world_size is for presets"),
        ('extends = "smoke"\ntrain = 3', "train"),
        ("\x00", "portraits.toml"),
    ],
)
def test_a_mistake_in_the_file_is_wrong_usage_in_one_line(file, text, message):
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        config_from_file(file)
    result = CliRunner().invoke(main, ["run", "--config", str(file), "--dry-run"])
    assert result.exit_code == 2
    assert str(file) in result.stderr


def test_bytes_that_are_no_text_are_refused(file):
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"portraits\.toml"):
        config_from_file(file)


@pytest.mark.parametrize("both", [[], ["--preset", "smoke", "--config", "{file}"]])
def test_one_of_preset_and_config_is_needed(file, both):
    result = CliRunner().invoke(main, ["run", *(part.format(file=file) for part in both)])
    assert result.exit_code == 2
    assert "either --preset NAME or --config FILE.toml" in result.stderr
