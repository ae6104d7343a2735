"""What is measured: how many images, at which resolution, with which random choices."""

from dataclasses import dataclass

from torch import Tensor

from swd.method.descriptors import NHOOD_SIZE
from swd.method.laplacian import level_resolutions
from swd.method.randomness import image_order, random_directions

MAX_IMAGES = 16_384
"""Per set, as published; fewer are used when a set has fewer."""


@dataclass(frozen=True)
class Protocol:
    """Everything that determines the figures besides the images. Source: Karras et al. 2018, section 5."""

    images: int
    """Per set."""
    resolution: int
    """Side of the images in pixels."""
    channels: int = 3
    seed: int = 0
    patches: int = 128
    """Per image and level."""
    repeats: int = 4
    directions_per_repeat: int = 128

    @property
    def resolutions(self) -> list[int]:
        """Of the levels, finest first."""
        return level_resolutions(self.resolution)

    @property
    def descriptor_size(self) -> int:
        """Numbers in a descriptor."""
        return self.channels * NHOOD_SIZE**2

    def draw_directions(self) -> Tensor:
        """`[descriptor_size, repeats * directions_per_repeat]` float32, the same on every level."""
        return random_directions(
            self.descriptor_size, repeats=self.repeats, count=self.directions_per_repeat, seed=self.seed
        )

    def choose(self, available: int, set_id: int) -> list[int]:
        """The images of a set that are used, ascending."""
        return sorted(image_order(available, seed=self.seed, set_id=set_id)[: self.images].tolist())
