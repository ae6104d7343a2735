"""The training schedule: kimg -> level of detail, minibatch size, learning rate. Pure arithmetic."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from trainer.configuration.config import ScheduleConfig


@dataclass(frozen=True)
class Phase:
    """The state of the schedule at one moment."""

    kimg: float
    lod: float
    """0 at the full resolution, 1 one octave below; the fraction is the fade."""
    resolution: int
    """That of the images: during a fade already the higher one."""
    minibatch: int
    """Images of all processes together."""
    learning_rate: float
    tick_kimg: float

    def resets_optimizer(self, previous: "Phase") -> bool:
        """Whether Adam starts anew on entering this phase: at the start and at the end of every fade."""
        return math.floor(self.lod) != math.floor(previous.lod) or math.ceil(self.lod) != math.ceil(
            previous.lod
        )


@dataclass(frozen=True)
class Stage:
    """One resolution's part of a whole run; `d_updates` minibatches are shown to D in it."""

    resolution: int
    fade_kimg: float
    """Where the fade into this resolution begins."""
    stable_kimg: float
    """Where it ends."""
    end_kimg: float
    minibatch: int
    learning_rate: float
    d_updates: int


class TrainingSchedule:
    """Progressive growing [Karras et al. 2018, section 2 and appendix A].

    The first resolution is trained for `train_kimg`; each further one fades in during `trans_kimg` and is
    then trained for `train_kimg`.
    """

    def __init__(self, config: ScheduleConfig) -> None:
        self.config = config

    def at(self, kimg: float) -> Phase:
        """The phase after `kimg` thousand real images.

        Args:
            kimg: Not negative; the original evaluates it before each group of `minibatch_repeats`.
        """
        config = self.config
        lod = self._lod(kimg)
        resolution = config.resolution >> math.floor(lod)
        rate = config.learning_rate_by_resolution.get(resolution, config.learning_rate)
        if kimg < config.rampup_kimg:
            rate *= math.exp(-5.0 * (1.0 - kimg / config.rampup_kimg) ** 2)
        return Phase(
            kimg=kimg,
            lod=lod,
            resolution=resolution,
            minibatch=config.minibatch_by_resolution.get(resolution, config.minibatch),
            learning_rate=rate,
            tick_kimg=config.tick_kimg_by_resolution.get(resolution, config.tick_kimg),
        )

    def _lod(self, kimg: float) -> float:
        config = self.config
        lod = math.log2(config.resolution / config.initial_resolution)
        phase_kimg = config.train_kimg + config.trans_kimg
        for step, train_kimg in self._own_train_kimg():
            if kimg < step * phase_kimg:
                break
            if kimg < step * phase_kimg + train_kimg:
                return lod - step
            kimg += config.train_kimg - train_kimg  # where a stage as long as the others would be
        if phase_kimg > 0:
            index = math.floor(kimg / phase_kimg)
            fading_kimg = max(kimg - index * phase_kimg - config.train_kimg, 0.0)
            lod -= index
            if fading_kimg > 0:
                lod -= fading_kimg / config.trans_kimg
        return max(lod, 0.0)

    def _own_train_kimg(self) -> list[tuple[int, float]]:
        """Stages with a length of their own: how many octaves above the first, and kimg; in order."""
        config = self.config
        table = sorted(config.train_kimg_by_resolution.items())
        return [
            (int(math.log2(resolution / config.initial_resolution)), kimg)
            for resolution, kimg in table
            if config.initial_resolution <= resolution <= config.resolution
        ]

    def stages(self, total_kimg: float, minibatch_repeats: int = 1) -> Iterator[Stage]:
        """The run resolution by resolution, with the exact number of minibatches.

        Args:
            total_kimg: The run ends as soon as this many images were shown.
            minibatch_repeats: Minibatches between two looks at the schedule; a stage ends only then.
        """
        config = self.config
        phase_kimg = config.train_kimg + config.trans_kimg
        steps = int(math.log2(config.resolution / config.initial_resolution))
        total = round(total_kimg * 1000)
        nimg, shift_kimg = 0, 0.0
        for step in range(steps + 1):
            resolution = config.initial_resolution << step
            if nimg >= total:
                return
            train_kimg = config.train_kimg_by_resolution.get(resolution, config.train_kimg)
            start_kimg = max(step * phase_kimg - config.trans_kimg, 0.0) + shift_kimg
            stable_kimg = step * phase_kimg + shift_kimg
            end_kimg = min(stable_kimg + train_kimg, total_kimg) if step < steps else total_kimg
            shift_kimg += train_kimg - config.train_kimg
            minibatch = config.minibatch_by_resolution.get(resolution, config.minibatch)
            group = minibatch * minibatch_repeats
            end = round(end_kimg * 1000)
            groups = max(math.ceil((end - nimg) / group), 0)
            if nimg + groups * group == end < total and self.at(end_kimg).resolution == resolution:
                groups += 1  # the fade begins behind this image, not at it
            nimg += groups * group
            yield Stage(
                resolution=resolution,
                fade_kimg=start_kimg,
                stable_kimg=stable_kimg,
                end_kimg=end_kimg,
                minibatch=minibatch,
                learning_rate=config.learning_rate_by_resolution.get(resolution, config.learning_rate),
                d_updates=groups * minibatch_repeats,
            )
