"""The presets: each is complete, and differs from its neighbour as table 1 says."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from trainer.cli import main
from trainer.configuration.config import ConfigError, TrainingConfig
from trainer.configuration.presets import even_minibatch, preset, preset_summaries
from trainer.configuration.settings import from_dict, override
from trainer.networks.models import build_discriminator, build_generator
from trainer.networks.progressive import no_noise
from trainer.training.objectives import Objectives

PUBLISHED = [
    "celebahq-1024", "celebahq-1024-v1", "cifar10", "faces-64", "lsun-256", "mnist-rgb-1k", "smoke",
    "table1-a", "table1-b", "table1-c", "table1-d", "table1-e", "table1-e-star", "table1-f", "table1-g",
    "table1-h",
]  # fmt: skip


def differences(first, second, prefix=""):
    changed = {}
    for field in dataclasses.fields(first):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if dataclasses.is_dataclass(a):
            changed |= differences(a, b, f"{prefix}{field.name}.")
        elif a != b and field.name not in ("name", "description"):
            changed[prefix + field.name] = b
    return changed


def test_every_published_configuration_is_there_and_described():
    summaries = preset_summaries()
    assert [summary.name for summary in summaries] == PUBLISHED
    for summary in summaries:
        assert summary.description
        for variant in summary.variants:
            assert differences(preset(summary.name), preset(f"{summary.name}+{variant}"))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            "a",
            "b",
            {"schedule.initial_resolution": 4, "schedule.train_kimg": 800, "schedule.trans_kimg": 800},
        ),
        ("b", "c", {"schedule.minibatch": 16, "train.ema_beta": pytest.approx(0.999**5)}),
        (
            "c",
            "d",
            {
                "generator.latent_size": 512,
                "generator.normalize_latents": True,
                "generator.use_leakyrelu": True,
                "generator.use_batchnorm": False,
                "generator.use_tanh": False,
                "discriminator.use_layernorm": False,
                "loss.drift": 0.001,
                "optimizer.beta2": 0.99,
                "train.d_repeats": 1,
                "train.ema_beta": 0.999,
            },
        ),
        ("d", "e", {"discriminator.mbstd_group_size": "all"}),
        ("d", "e-star", {"discriminator.mbdisc_kernels": 100}),
        (
            "e",
            "f",
            {"generator.use_wscale": True, "discriminator.use_wscale": True, "schedule.learning_rate": 0.001},
        ),
        ("f", "g", {"generator.use_pixelnorm": True}),
        ("g", "h", {"generator.fmap_base": 8192, "discriminator.fmap_base": 8192, "train.total_kimg": 20000}),
    ],
)
def test_rows_of_table_1_differ_in_what_they_name(first, second, expected):
    assert differences(preset(f"table1-{first}"), preset(f"table1-{second}")) == expected


def test_row_a_is_gulrajani_et_al():
    config = preset("table1-a")
    assert config.schedule.initial_resolution == config.generator.resolution == 128
    assert (config.schedule.minibatch, config.train.d_repeats, config.schedule.learning_rate) == (64, 5, 1e-4)
    assert config.optimizer.beta2 == 0.9
    assert config.train.ema_beta == pytest.approx(0.999**20)
    assert (config.generator.latent_size, config.generator.fmap_base, config.loss.drift) == (128, 2048, 0.0)


def test_cifar_has_its_own_target_and_a_joint_step():
    config = preset("cifar10")
    assert (config.loss.gp_target, config.train.joint_step, config.data.mirror) == (750.0, True, False)
    assert config.schedule.rampup_kimg == 0


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("k2", {"discriminator.fmap_base": 64}),
        ("mbstddev", {"discriminator.mbstd_group_size": "all"}),
        (
            "progression",
            {
                "schedule.initial_resolution": 4,
                "schedule.train_kimg": 500.0,
                "schedule.trans_kimg": 2000.0,
                "train.total_kimg": 15000.0,
            },
        ),
    ],
)
def test_variants_of_the_mode_test(name, changes):
    assert differences(preset("mnist-rgb-1k"), preset(f"mnist-rgb-1k+{name}")) == changes


@pytest.mark.parametrize("variant", ["", "+ournorm", "+mbstddev", "+progression", "+k2"])
def test_every_row_of_the_mode_test_normalises_latents_and_averages_alike(variant):
    config = preset(f"mnist-rgb-1k{variant}")
    assert (config.generator.normalize_latents, config.train.ema_beta) == (True, 0.999)


def test_variants_combine():
    config = preset("mnist-rgb-1k+ournorm+k2")
    assert config.name == "mnist-rgb-1k+ournorm+k2"
    assert (config.generator.use_batchnorm, config.discriminator.fmap_base) == (False, 64)


@pytest.mark.parametrize(
    ("world_size", "published", "minibatch_4px", "minibatch_1024px"),
    [(3, 2, 252, 6), (5, 4, 500, 15), (7, 4, 504, 14), (16, 8, 512, 32)],
)
def test_other_numbers_of_processes_take_the_next_smaller_published_one_and_say_so(
    caplog, world_size, published, minibatch_4px, minibatch_1024px
):
    caplog.set_level("INFO", logger="trainer")
    config = preset("celebahq-1024", world_size)
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert f"nothing was published for {world_size} processes; takes the minibatches of {published}" in said
    schedule = config.schedule
    table = {4 << i: schedule.minibatch_by_resolution.get(4 << i, schedule.minibatch) for i in range(9)}
    assert (table[4], table[1024]) == (minibatch_4px, minibatch_1024px)
    assert (
        schedule.learning_rate_by_resolution
        == preset("celebahq-1024", published).schedule.learning_rate_by_resolution
    )
    for resolution, minibatch in table.items():
        share, rest = divmod(minibatch, world_size)
        assert rest == 0
        assert share % min(4, share) == 0
        if minibatch != preset("celebahq-1024", published).schedule.minibatch_by_resolution.get(
            resolution, 4 * published
        ):
            assert f"at {resolution}x{resolution} becomes {minibatch}" in said


@pytest.mark.parametrize("world_size", [1, 2, 4, 8])
def test_published_numbers_of_processes_are_taken_silently(caplog, world_size):
    caplog.set_level("INFO", logger="trainer")
    preset("celebahq-1024", world_size)
    assert not caplog.records


@pytest.mark.parametrize(
    ("minibatch", "world_size", "group", "expected"),
    [(64, 4, 4, 64), (512, 3, 4, 504), (8, 3, 4, 6), (14, 1, 1, 14), (3, 2, 1, 2), (7, 2, 0, 6)],
)
def test_minibatches_divide_over_processes_and_groups(minibatch, world_size, group, expected):
    assert even_minibatch(minibatch, world_size, group) == expected


@pytest.mark.parametrize(
    ("name", "world_size", "message"),
    [
        ("celebahq", 1, "preset 'celebahq': there is none; did you mean celebahq-1024?"),
        ("table1-i", 1, "did you mean table1-"),
        ("../config", 1, "preset '../config': there is none"),
        ("mnist-rgb-1k+ournrom", 1, "variant 'ournrom': there is none; did you mean ournorm?"),
        ("smoke", 17, "a minibatch of 16: cannot feed 17 processes"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_nearest_name(name, world_size, message):
    with pytest.raises(ConfigError, match=message.replace("?", "[?]")):
        preset(name, world_size)


def shrunk(name):
    """A preset's networks with few feature maps, at 8x8 where they can be."""
    config = preset(name)
    widths = [
        "generator.fmap_base=32",
        "generator.fmap_max=8",
        "discriminator.fmap_base=32",
        "discriminator.fmap_max=8",
    ]
    if config.architecture == "mnist-1k":
        return config, 32
    return override(config, ["schedule.initial_resolution=8", "resolution=8", *widths]), 8


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", [*PUBLISHED, "mnist-rgb-1k+ournorm+mbstddev+k2"])
def test_every_preset_takes_a_step_in_which_all_weights_of_the_resolution_learn(name, precision, rng):
    config, resolution = shrunk(name)
    config = override(config, [f"runtime.precision={precision}"])
    torch.manual_seed(0)
    G, D = build_generator(config), build_discriminator(config)
    objectives = Objectives(config, G, D, torch.device("cpu"))
    latents = torch.randn(8, config.generator.latent_size, generator=rng)
    reals = torch.rand(8, 3, resolution, resolution, generator=rng) * 2 - 1
    D.initialize_from_reals(reals, 0.0)
    fakes = objectives.fakes(latents, None, resolution, 0.5)
    loss, *_ = objectives.discriminator_loss(reals, None, fakes, None, resolution, 0.5, no_noise, no_noise)
    factors = torch.rand(8, 1, 1, 1, generator=rng)
    (loss + objectives.penalty(reals, fakes, factors, resolution, 0.5, no_noise)).backward()
    objectives.generator_loss(latents, None, resolution, 0.5, no_noise).backward()
    below_the_faded = ("fromrgb.4.", "fromrgb.8.", "torgb.4.", "torgb.8.") if resolution == 32 else ()
    for network in (G, D):
        for parameter_name, parameter in network.named_parameters():
            if not parameter_name.startswith(below_the_faded):
                assert parameter.grad is not None, parameter_name
                assert torch.isfinite(parameter.grad).all(), parameter_name
                assert parameter.grad.any(), parameter_name


def test_the_example_in_the_documentation_runs():
    text = (Path(__file__).parents[3] / "docs" / "trainer-presets.md").read_text()
    names = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1), names)
    assert names["images"].shape == (4, 3, 16, 16)
    assert names["penalty"].shape == ()


def test_the_documentation_names_every_preset_and_variant():
    text = (Path(__file__).parents[3] / "docs" / "trainer-presets.md").read_text()
    table_1 = re.compile(r"table1-[b-g]")  # named by their ends
    for summary in preset_summaries():
        assert f"`{summary.name}`" in text or table_1.fullmatch(summary.name)
        for variant in summary.variants:
            assert f"`+{variant}`" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "smok"], "preset 'smok': there is none; did you mean smoke?"),
        (["--preset", "smoke", "--set", "train.totl_kimg=1"], "did you mean train.total_kimg?"),
    ],
)
@pytest.mark.parametrize("command", [["run", "--dry-run"], ["bench", "--synthetic"]])
def test_a_mistake_on_the_command_line_is_wrong_usage(command, arguments, message):
    result = CliRunner().invoke(main, [*command, *arguments])
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_dry_run_prints_the_configuration_and_the_schedule():
    changes = ["--set", "resolution=16", "--set", "train.total_kimg=4"]
    result = CliRunner().invoke(main, ["run", "--dry-run", "--preset", "smoke", *changes])
    assert result.exit_code == 0, result.output
    config = from_dict(TrainingConfig, json.loads(result.stdout))
    assert config == override(preset("smoke"), ["resolution=16", "train.total_kimg=4"])
    assert [line.split()[0] for line in result.stderr.splitlines()[-3:]] == ["4x4", "8x8", "16x16"]


def test_the_list_as_json():
    result = CliRunner().invoke(main, ["presets", "--json"])
    assert [summary["name"] for summary in json.loads(result.stdout)] == PUBLISHED
