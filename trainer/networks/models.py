"""The networks that a configuration asks for."""

from trainer.configuration.config import TrainingConfig
from trainer.networks.crippled import CrippledDiscriminator, CrippledGenerator
from trainer.networks.progressive import Discriminator, Generator


def build_generator(config: TrainingConfig) -> Generator:
    """G, drawn from PyTorch's global generator."""
    network = CrippledGenerator if config.architecture == "mnist-1k" else Generator
    return network(config.generator)


def build_discriminator(config: TrainingConfig) -> Discriminator:
    """D, likewise."""
    network = CrippledDiscriminator if config.architecture == "mnist-1k" else Discriminator
    return network(config.discriminator)
