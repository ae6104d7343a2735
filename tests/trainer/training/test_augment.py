"""Augmentation: each image's own, against plain loops; differentiable; seen by every loss."""

import numpy as np
import pytest
import torch
from test_steps import FADING_KIMG, config_with, gradients, scaled
from tiny_runs import CPU, write_pyramid

from celebahq.processes import World
from trainer.configuration.config import AUGMENTATIONS, ConfigError, DataConfig
from trainer.configuration.presets import preset, preset_summaries
from trainer.configuration.schedule import TrainingSchedule
from trainer.training.augment import COLUMNS, augment, change_color, cut_out, translate
from trainer.training.data import TrainingData
from trainer.training.objectives import Objectives
from trainer.training.steps import Steps

ALL = ",".join(AUGMENTATIONS)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_pyramid(tmp_path_factory.mktemp("augment") / "data.h5")


def batch(rng, count=40, side=16):
    images = torch.rand(count, 3, side, side, generator=rng, dtype=torch.float64) * 2 - 1
    return images, torch.rand(count, COLUMNS, generator=rng, dtype=torch.float64)


def test_colour_is_brightness_saturation_contrast(rng):
    images, draws = batch(rng)
    changed = change_color(images, draws[:, :3])
    for image, found, (brightness, saturation, contrast) in zip(
        images.numpy(), changed.numpy(), draws[:, :3].numpy(), strict=True
    ):
        expected = image + brightness - 0.5
        grey = expected.mean(axis=0)
        expected = grey + (expected - grey) * 2 * saturation
        expected = expected.mean() + (expected - expected.mean()) * (0.5 + contrast)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("side", "most"), [(4, 1), (8, 1), (16, 2), (32, 4), (64, 8)])
def test_translation_shifts_whole_pixels_up_to_an_eighth(rng, side, most):
    images, draws = batch(rng, 200, side)
    changed = translate(images, draws[:, 3:5]).numpy()
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (most, most), (most, most)))
    seen = set()
    for image, found, (y, x) in zip(padded, changed, draws[:, 3:5].numpy(), strict=True):
        dy, dx = int(y * (2 * most + 1)) - most, int(x * (2 * most + 1)) - most
        top, left = most - dy, most - dx
        np.testing.assert_array_equal(found, image[:, top : top + side, left : left + side])
        seen |= {dy, dx}
    assert seen == set(range(-most, most + 1))  # each of at most 17 values in 400 draws


@pytest.mark.parametrize("side", [4, 16, 32])
def test_cutout_removes_a_square_of_half_the_side(rng, side):
    images, draws = batch(rng, 100, side)
    holes = (cut_out(images, draws[:, 5:7]) == 0).all(dim=1).numpy()
    for hole, (y, x) in zip(holes, draws[:, 5:7].numpy(), strict=True):
        top, left = (int(v * (side + 1 - side // 2 % 2)) - side // 4 for v in (y, x))
        expected = np.zeros((side, side), dtype=bool)
        expected[max(top, 0) : top + side // 2, max(left, 0) : left + side // 2] = True
        np.testing.assert_array_equal(hole, expected)
    assert holes.any(axis=(1, 2)).all()


def test_an_image_is_changed_alike_in_any_company(rng):
    images, draws = batch(rng)
    whole = augment(images, draws, AUGMENTATIONS)
    parts = [augment(images[i : i + 1], draws[i : i + 1], AUGMENTATIONS) for i in range(len(images))]
    assert torch.equal(torch.cat(parts), whole)


def test_gradients_pass_through(rng):
    images, draws = batch(rng, 3, 8)
    images.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment(x, draws, AUGMENTATIONS), (images,))


@pytest.mark.parametrize("loss", ["wgan-gp", "lsgan"])
def test_passes_do_not_change_what_is_seen(data, loss):
    sections = {"schedule": {"minibatch": 16}, "loss": {"kind": loss}, "data": {"augment": ALL}}
    two, four = config_with(8, **sections), config_with(4, **sections)
    state = scaled(two)
    expected, found = gradients(two, state, data), gradients(four, state, data)
    plain = gradients(config_with(8, **{**sections, "data": {}}), state, data)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-6)
    changed = [name for name in expected if not torch.allclose(expected[name], plain[name], rtol=1e-2)]
    assert "D.blocks.8.conv0.weight" in changed
    assert "G.dense.weight" in changed


def test_every_loss_sees_changed_images_and_the_penalty_is_taken_between_them(data, monkeypatch):
    config = config_with(8, data={"augment": "cutout"})
    seen = {}

    def watch(name):
        original = getattr(Objectives, name)

        def objective(self, *arguments):
            seen[name] = arguments
            return original(self, *arguments)

        monkeypatch.setattr(Objectives, name, objective)

    for name in ("discriminator_loss", "penalty"):
        watch(name)
    with TrainingData(data, seed=0, mirror=True, use_labels=False) as reals:
        steps = Steps(config, scaled(config), reals, CPU, World())
        steps.discriminator_gradients(steps.plan(TrainingSchedule(config.schedule).at(FADING_KIMG)))
    judged_reals, _, judged_fakes = seen["discriminator_loss"][:3]
    for images in (judged_reals, judged_fakes):
        assert (images == 0).all(dim=1).flatten(1).any(dim=1).all()  # each has its hole
    holes = [(images == 0).all(dim=1) for images in (judged_reals, judged_fakes)]
    assert not torch.equal(*holes)  # and another one
    assert torch.equal(seen["penalty"][0], judged_reals)
    assert torch.equal(seen["penalty"][1], judged_fakes)


def test_it_is_off_in_every_published_configuration():
    for summary in preset_summaries():
        assert preset(summary.name).data.augment == ""


def test_kinds_are_checked():
    assert DataConfig(augment="color, cutout").augmentations == ("color", "cutout")
    with pytest.raises(ConfigError, match="'rotation' is none of color, translation, cutout"):
        DataConfig(augment="color,rotation")
