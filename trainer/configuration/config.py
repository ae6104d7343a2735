"""Everything that determines a training run, as frozen dataclasses.

The defaults are those of the 1024x1024 networks; `presets/*.toml` holds each published configuration.
`settings.py` reads, writes and overrides these classes.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from celebahq.errors import ToolError


class ConfigError(ToolError, ValueError):
    """A field of the configuration is unknown, has the wrong type, or contradicts another."""


def _require(condition: bool, subject: str, reason: str) -> None:
    if not condition:
        raise ConfigError(subject, reason)


def _require_power_of_two(name: str, value: int) -> None:
    _require(
        value >= 4 and value & (value - 1) == 0, f"{name} = {value}", "must be a power of two, at least 4"
    )


def _require_at_least(least: float, section: str, **values: float) -> None:
    for name, value in values.items():
        _require(value >= least, f"{section}.{name} = {value}", f"must be at least {least:g}")


def _require_positive(name: str, values: Iterable[float]) -> None:
    for value in values:
        _require(value > 0, f"{name} = {value}", "must be above 0")


def _require_table(name: str, table: dict[int, int] | dict[int, float]) -> None:
    for resolution in table:
        _require_power_of_two(f"{name}.{resolution}: its key", resolution)


@dataclass(frozen=True)
class NetworkConfig:
    """What G and D have in common.

    A layer at resolution 2^r has `min(floor(fmap_base / 2^((r - 1) * fmap_decay)), fmap_max)` feature maps.
    """

    resolution: int = 1024
    channels: int = 3
    label_size: int = 0
    fmap_base: int = 8192
    fmap_decay: float = 1.0
    fmap_max: int = 512

    section: ClassVar[str]

    def __post_init__(self) -> None:
        _require_power_of_two(f"{self.section}.resolution", self.resolution)
        _require_at_least(1, self.section, channels=self.channels)
        _require_at_least(0, self.section, label_size=self.label_size, fmap_decay=self.fmap_decay)
        stage = math.log2(self.resolution) - 1
        narrowest = min(int(self.fmap_base / 2 ** (stage * self.fmap_decay)), self.fmap_max)
        _require(
            narrowest >= 1,
            self.section,
            f"fmap_base = {self.fmap_base} and fmap_max = {self.fmap_max} leave no feature "
            f"map at {self.resolution}x{self.resolution}",
        )


@dataclass(frozen=True)
class GeneratorConfig(NetworkConfig):
    """The generator G."""

    section = "generator"

    latent_size: int = 512
    normalize_latents: bool = True
    use_wscale: bool = True
    """Equalized learning rate."""
    use_pixelnorm: bool = True
    use_leakyrelu: bool = True
    """False: plain ReLU."""
    use_batchnorm: bool = False
    use_tanh: bool = False
    """On the output images."""
    fused_scale: bool = False
    """Upscale and convolve in one step: the same result."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_at_least(1, "generator", latent_size=self.latent_size)


@dataclass(frozen=True)
class DiscriminatorConfig(NetworkConfig):
    """The discriminator D."""

    section = "discriminator"

    mbstd_group_size: int | Literal["all"] = 4
    """Minibatch standard deviation: 0 is off."""
    mbdisc_kernels: int = 0
    """Minibatch discrimination (Salimans et al. 2016): 0 is off, 100 in table 1."""
    use_wscale: bool = True
    """Equalized learning rate."""
    use_layernorm: bool = False
    use_batchnorm: bool = False
    fused_scale: bool = False
    """Convolve and downscale in one step: activation after pooling, not the same."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_at_least(0, "discriminator", mbdisc_kernels=self.mbdisc_kernels)
        _require(
            self.mbstd_group_size == "all" or self.mbstd_group_size >= 0,
            f"discriminator.mbstd_group_size = {self.mbstd_group_size}",
            'must be 0 (off), a group size, or "all"',
        )
        _require(
            not (self.use_layernorm and self.use_batchnorm),
            "discriminator",
            "use_layernorm and use_batchnorm exclude each other",
        )


@dataclass(frozen=True)
class ScheduleConfig:
    """What changes while the networks grow. Minibatches count the images of all processes together."""

    resolution: int = 1024
    initial_resolution: int = 4
    train_kimg: float = 600.0
    """Stable training of each resolution."""
    train_kimg_by_resolution: dict[int, float] = field(default_factory=dict)
    trans_kimg: float = 600.0
    """Fade from one resolution to the next; both 0: no growing."""
    minibatch: int = 16
    minibatch_by_resolution: dict[int, int] = field(default_factory=dict)
    learning_rate: float = 0.001
    learning_rate_by_resolution: dict[int, float] = field(default_factory=dict)
    rampup_kimg: float = 0.0
    tick_kimg: float = 160.0
    tick_kimg_by_resolution: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_power_of_two("schedule.resolution", self.resolution)
        _require_power_of_two("schedule.initial_resolution", self.initial_resolution)
        _require(
            self.initial_resolution <= self.resolution,
            f"schedule.initial_resolution = {self.initial_resolution}",
            f"above the final {self.resolution}",
        )
        _require(
            self.train_kimg >= 0 and self.trans_kimg >= 0,
            "schedule",
            "train_kimg and trans_kimg must be >= 0",
        )
        _require(
            self.initial_resolution == self.resolution or self.train_kimg + self.trans_kimg > 0,
            "schedule",
            "train_kimg and trans_kimg are both 0, so the networks never reach "
            f"{self.resolution}; set schedule.initial_resolution={self.resolution}",
        )
        for name, table in (
            ("train_kimg_by_resolution", self.train_kimg_by_resolution),
            ("minibatch_by_resolution", self.minibatch_by_resolution),
            ("learning_rate_by_resolution", self.learning_rate_by_resolution),
            ("tick_kimg_by_resolution", self.tick_kimg_by_resolution),
        ):
            _require_table(f"schedule.{name}", table)
        _require_positive("schedule.minibatch", [self.minibatch, *self.minibatch_by_resolution.values()])
        rates = [self.learning_rate, *self.learning_rate_by_resolution.values()]
        _require_positive("schedule.learning_rate", rates)
        _require_positive("schedule.tick_kimg", [self.tick_kimg, *self.tick_kimg_by_resolution.values()])
        _require_at_least(0, "schedule", rampup_kimg=self.rampup_kimg)
        for resolution, kimg in self.train_kimg_by_resolution.items():
            _require_at_least(0, "schedule.train_kimg_by_resolution", **{str(resolution): kimg})


@dataclass(frozen=True)
class LossConfig:
    """What G and D minimise; see `losses.py`."""

    kind: Literal["wgan-gp", "lsgan"] = "wgan-gp"
    gp_weight: float = 10.0
    gp_target: float = 1.0
    gp_norm_at: Literal["full", "current"] = "full"
    """Resolution at which the gradient norm is taken."""
    drift: float = 0.001
    label_weight: float = 1.0
    """AC-GAN, for networks with labels."""
    gdrop_coefficient: float = 0.0
    """Multiplicative noise in D, for LSGAN: 0.2."""

    def __post_init__(self) -> None:
        _require_positive("loss.gp_target", [self.gp_target])
        _require_at_least(
            0,
            "loss",
            gp_weight=self.gp_weight,
            drift=self.drift,
            label_weight=self.label_weight,
            gdrop_coefficient=self.gdrop_coefficient,
        )


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam, for G and D alike."""

    beta1: float = 0.0
    beta2: float = 0.99
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        for name, beta in (("beta1", self.beta1), ("beta2", self.beta2)):
            _require(0 <= beta < 1, f"optimizer.{name} = {beta}", "must be at least 0 and below 1")
        _require_positive("optimizer.epsilon", [self.epsilon])


@dataclass(frozen=True)
class TrainConfig:
    """The loop around the steps."""

    total_kimg: float = 12000.0
    minibatch_repeats: int = 1
    """Minibatches between two looks at the schedule."""
    d_repeats: int = 1
    """D steps per G step."""
    joint_step: bool = False
    """One step of both networks on the same fakes."""
    reset_optimizers: bool = True
    """Forget Adam's moments at both ends of every fade."""
    ema_beta: float = 0.999
    """Decay of Gs per G step."""
    seed: int = 0
    on_nan: Literal["stop", "skip"] = "stop"

    def __post_init__(self) -> None:
        _require_positive("train.total_kimg", [self.total_kimg])
        _require_at_least(1, "train", minibatch_repeats=self.minibatch_repeats, d_repeats=self.d_repeats)
        _require(
            0 <= self.ema_beta < 1, f"train.ema_beta = {self.ema_beta}", "must be at least 0 and below 1"
        )
        _require(0 <= self.seed < 2**63, f"train.seed = {self.seed}", "must be at least 0 and below 2^63")


AUGMENTATIONS = ("color", "translation", "cutout")


@dataclass(frozen=True)
class DataConfig:
    """What happens to the training images."""

    mirror: bool = True
    """Flip each image left to right with probability 1/2."""
    augment: str = ""
    """What D sees is changed by some of "color,translation,cutout"; for few images."""

    def __post_init__(self) -> None:
        for kind in self.augmentations:
            _require(
                kind in AUGMENTATIONS,
                f"data.augment = {self.augment!r}",
                f"{kind!r} is none of {', '.join(AUGMENTATIONS)}",
            )

    @property
    def augmentations(self) -> tuple[str, ...]:
        """The kinds by name."""
        return tuple(kind.strip() for kind in self.augment.split(",")) if self.augment else ()


@dataclass(frozen=True)
class RuntimeConfig:
    """How the steps are computed; only rounding depends on it."""

    precision: Literal["fp32", "bf16"] = "fp32"
    tf32: bool = False
    compile: bool = False
    channels_last: bool = False
    """NHWC in memory: for bf16 on GPUs; slower on CPUs."""
    deterministic: bool = False
    minibatch_gpu: dict[int, int] = field(default_factory=dict)
    """Images per pass; chosen at the start."""

    def __post_init__(self) -> None:
        _require_table("runtime.minibatch_gpu", self.minibatch_gpu)
        _require_positive("runtime.minibatch_gpu", self.minibatch_gpu.values())


@dataclass(frozen=True)
class SnapshotConfig:
    """What a run leaves behind; intervals in ticks."""

    image_ticks: int = 1
    network_ticks: int = 10
    state_ticks: int = 1
    """Training states, from which a run continues."""
    keep_last: int = 2
    """Of these, the newest are kept."""
    keep_every: int = 0
    """And each one of so many; 0: none."""
    metric_images: int = 0
    """For SWD and MS-SSIM of every network snapshot; 0: off."""

    def __post_init__(self) -> None:
        _require_at_least(
            1,
            "snapshot",
            image_ticks=self.image_ticks,
            network_ticks=self.network_ticks,
            state_ticks=self.state_ticks,
            keep_last=self.keep_last,
        )
        _require_at_least(0, "snapshot", keep_every=self.keep_every, metric_images=self.metric_images)


@dataclass(frozen=True)
class TrainingConfig:
    """One whole run."""

    name: str = "custom"
    description: str = ""
    architecture: Literal["paper", "mnist-1k"] = "paper"
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    data: DataConfig = field(default_factory=DataConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    snapshot: SnapshotConfig = field(default_factory=SnapshotConfig)

    def __post_init__(self) -> None:
        g, d = self.generator, self.discriminator
        _require(
            re.fullmatch(r"\w[\w.+-]{0,99}", self.name) is not None,
            f"name = {self.name!r}",
            "names a folder; letters, digits and . + - _ only",
        )
        _require(
            g.resolution == d.resolution == self.schedule.resolution,
            "resolution",
            f"generator {g.resolution}, discriminator {d.resolution}, "
            f"schedule {self.schedule.resolution}; resolution=R sets all three",
        )
        _require(g.channels == d.channels, "channels", f"generator {g.channels}, discriminator {d.channels}")
        _require(
            g.label_size == d.label_size,
            "label_size",
            f"generator {g.label_size}, discriminator {d.label_size}",
        )

    @property
    def needs_whole_minibatch(self) -> bool:
        """Whether a statistic spans the whole minibatch, so that it cannot be computed in parts."""
        d = self.discriminator
        whole = d.mbstd_group_size == "all" or d.mbdisc_kernels > 0 or d.use_batchnorm
        return whole or self.generator.use_batchnorm
