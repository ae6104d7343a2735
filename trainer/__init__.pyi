from .config import (
    DiscriminatorConfig,
    GeneratorConfig,
    LossConfig,
    ScheduleConfig,
    TrainingConfig,
)
from .losses import gradient_penalty, real_fade
from .networks import Discriminator, Generator
from .presets import preset
from .schedule import TrainingSchedule

__all__ = [
    "Discriminator",
    "DiscriminatorConfig",
    "Generator",
    "GeneratorConfig",
    "LossConfig",
    "ScheduleConfig",
    "TrainingConfig",
    "TrainingSchedule",
    "gradient_penalty",
    "preset",
    "real_fade",
]
