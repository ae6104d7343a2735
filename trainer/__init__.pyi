from .configuration.config import (
    DiscriminatorConfig,
    GeneratorConfig,
    LossConfig,
    ScheduleConfig,
    TrainingConfig,
)
from .configuration.presets import preset
from .configuration.schedule import TrainingSchedule
from .legacy.conversion import load_legacy_pickle
from .networks.progressive import Discriminator, Generator
from .training.losses import gradient_penalty, real_fade
from .training.session import train
from .use.snapshot import Snapshot, load_snapshot

__all__ = [
    "Discriminator",
    "DiscriminatorConfig",
    "Generator",
    "GeneratorConfig",
    "LossConfig",
    "ScheduleConfig",
    "Snapshot",
    "TrainingConfig",
    "TrainingSchedule",
    "gradient_penalty",
    "load_legacy_pickle",
    "load_snapshot",
    "preset",
    "real_fade",
    "train",
]

__version__: str
