"""Typed configurations: what is accepted, what is refused and how, and files."""

import dataclasses
import json
import typing

import pytest

from celebahq.errors import ToolError
from trainer.configuration.config import ConfigError, TrainingConfig
from trainer.configuration.presets import preset
from trainer.configuration.settings import load_config, override, save_config, to_dict


@pytest.fixture
def config():
    return preset("celebahq-1024", 8)


@pytest.mark.parametrize(
    ("assignment", "section", "field", "value"),
    [
        ("train.total_kimg=100", "train", "total_kimg", 100.0),
        ("train.d_repeats = 5", "train", "d_repeats", 5),
        ("loss.drift=1e-4", "loss", "drift", 1e-4),
        ("data.mirror=false", "data", "mirror", False),
        ("loss.kind=lsgan", "loss", "kind", "lsgan"),
        ("discriminator.mbstd_group_size=all", "discriminator", "mbstd_group_size", "all"),
        ("discriminator.mbstd_group_size=8", "discriminator", "mbstd_group_size", 8),
        ("schedule.minibatch_by_resolution={64 = 8}", "schedule", "minibatch_by_resolution", {64: 8}),
    ],
)
def test_a_field_takes_a_value_of_its_type(config, assignment, section, field, value):
    changed = override(config, [assignment])
    assert getattr(getattr(changed, section), field) == value
    assert type(getattr(getattr(changed, section), field)) is type(value)
    restored = {**vars(getattr(changed, section)), field: getattr(getattr(config, section), field)}
    assert restored == vars(getattr(config, section))  # and nothing else has changed


def test_one_entry_of_a_table_can_be_set(config):
    table = override(config, ["schedule.minibatch_by_resolution.1024=16"]).schedule.minibatch_by_resolution
    assert table == {**config.schedule.minibatch_by_resolution, 1024: 16}


def test_facts_of_the_data_reach_all_sections(config):
    changed = override(config, ["resolution=64", "channels=1", "label_size=10"])
    assert (
        changed.generator.resolution == changed.discriminator.resolution == changed.schedule.resolution == 64
    )
    assert changed.generator.channels == changed.discriminator.channels == 1
    assert changed.generator.label_size == changed.discriminator.label_size == 10


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.totl_kimg=1", "train.totl_kimg: no such field; did you mean train.total_kimg?"),
        ("total_kimg=1", "total_kimg: no such field; did you mean train.total_kimg?"),
        ("trian.total_kimg=1", "trian.total_kimg: no such field; did you mean train.total_kimg?"),
        ("zzz=1", "zzz: no such field; known are generator.resolution, "),
        ("train.total_kimg", "train.total_kimg: write it as FIELD=VALUE"),
        ("train.d_repeats=2.5", "train.d_repeats = 2.5: must be an integer"),
        ("train.d_repeats=true", "train.d_repeats = True: must be an integer"),
        ("data.mirror=1", "data.mirror = 1: must be true or false"),
        ("data.mirror=yes", "data.mirror = 'yes': must be true or false"),
        ("loss.kind=hinge", "loss.kind = 'hinge': must be 'wgan-gp' or 'lsgan'"),
        ("discriminator.mbstd_group_size=some", "must be an integer or 'all'"),
        ("schedule.minibatch_by_resolution=8", "must be a table {resolution = value, ...}"),
        ("schedule.minibatch_by_resolution.big=8", "the keys of this table are resolutions"),
        (
            "schedule.minibatch_by_resolution.8=many",
            "schedule.minibatch_by_resolution.8 = 'many': must be an",
        ),
        ("train.total_kimg.x=1", "no such field"),
        ("train=1", "train = 1: must be a section"),
        ("generator.resolution=64", "resolution: generator 64, discriminator 1024, schedule 1024"),
        ("resolution=100", "generator.resolution = 100: must be a power of two, at least 4"),
        ("schedule.initial_resolution=2048", "above the final 1024"),
    ],
)
def test_a_mistake_is_refused_in_one_line(config, assignment, message):
    with pytest.raises(ConfigError) as error:
        override(config, [assignment])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("schedule.learning_rate=-1", "schedule.learning_rate = -1.0: must be above 0"),
        ("schedule.learning_rate_by_resolution.64=0", "schedule.learning_rate = 0.0: must be above 0"),
        ("schedule.rampup_kimg=-1", "schedule.rampup_kimg = -1.0: must be at least 0"),
        ("schedule.minibatch_by_resolution.7=8", "schedule.minibatch_by_resolution.7: its key = 7: must be"),
        ("schedule.tick_kimg_by_resolution.2=8", "schedule.tick_kimg_by_resolution.2: its key = 2: must be"),
        ("runtime.minibatch_gpu.64=0", "runtime.minibatch_gpu = 0: must be above 0"),
        ("train.ema_beta=nan", "train.ema_beta = nan: must be a finite number"),
        ("train.ema_beta=1", "train.ema_beta = 1.0: must be at least 0 and below 1"),
        ("train.total_kimg=-5", "train.total_kimg = -5.0: must be above 0"),
        ("train.total_kimg=inf", "train.total_kimg = inf: must be a finite number"),
        ("train.total_kimg=1" + 400 * "0", "must be a finite number"),
        ("train.seed=1" + 5000 * "0", "must be an integer"),
        ("train.seed=9223372036854775808", "must be at least 0 and below 2^63"),
        ("train.seed=-1", "train.seed = -1: must be at least 0"),
        ("optimizer.beta1=1", "optimizer.beta1 = 1.0: must be at least 0 and below 1"),
        ("optimizer.epsilon=0", "optimizer.epsilon = 0.0: must be above 0"),
        ("loss.gp_weight=-10", "loss.gp_weight = -10.0: must be at least 0"),
        ("channels=0", "generator.channels = 0: must be at least 1"),
        ("label_size=-1", "generator.label_size = -1: must be at least 0"),
        ("generator.fmap_base=1", "generator: fmap_base = 1 and fmap_max = 512 leave no feature map at 1024"),
        ("discriminator.fmap_decay=9", "discriminator: fmap_base = 8192 and fmap_max = 512 leave no feature"),
        ("snapshot.keep_every=-1", "snapshot.keep_every = -1: must be at least 0"),
        ("snapshot.image_ticks=0", "snapshot.image_ticks = 0: must be at least 1"),
        ("name=../evil", "name = '../evil': names a folder"),
        ("train.seed=" + 2000 * "[", "must be an integer"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_in_one_line(config, assignment, message):
    with pytest.raises(ConfigError) as error:
        override(config, [assignment])
    assert message in str(error.value)
    assert len(str(error.value)) < 200
    assert "\n" not in str(error.value)


def test_a_configuration_survives_its_file(config, tmp_path):
    changed = override(config, ["schedule.tick_kimg_by_resolution.64=2.5"])
    save_config(changed, tmp_path / "config.json")
    assert load_config(tmp_path / "config.json") == changed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged, not JSON"),
        ("[1]", "not a JSON object"),
        ('{"train": {"seeds": 1}}', "did you mean train.seed?"),
        ('{"train": {"seed": "1"}}', "train.seed = '1': must be an integer"),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ToolError, match=rf"a\.json: .*{message.replace('?', '[?]')}"):
        load_config(tmp_path / "a.json")


def test_every_field_is_plain_data(config):
    values = to_dict(config)
    assert json.loads(json.dumps(values)) == values
    sections = [
        hint for hint in typing.get_type_hints(TrainingConfig).values() if dataclasses.is_dataclass(hint)
    ]
    assert len(sections) == 9
    for section in sections:
        assert section.__dataclass_params__.frozen
