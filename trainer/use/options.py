"""What the commands on trained generators can be asked for, and what they do unless told.

The defaults are written here and nowhere else; this module imports nothing that takes time, for the commands
show them in their help.
"""

from dataclasses import dataclass

from celebahq.errors import ToolError


@dataclass(frozen=True)
class GridLayout:
    """How many images a grid shows."""

    columns: int = 8
    rows: int = 4


@dataclass(frozen=True)
class VideoLayout:
    """What a video looks like."""

    columns: int = 4
    rows: int = 3
    size: int | None = None
    """Side of each image in pixels; None: as the network makes them."""
    duration_sec: float = 60.0
    fps: float = 30.0
    smoothing_sec: float = 1.0
    """Standard deviation of the Gaussian that smooths a walk through latent space."""

    def side(self, resolution: int) -> int:
        """Side of the pictures of a network that makes images of `resolution`.

        Raises:
            ToolError: Its pixels cannot be repeated to the size that was asked for.
        """
        if self.size is None:
            return resolution
        if self.size % resolution:
            raise ToolError(f"--size {self.size}", f"must be a multiple of the network's {resolution} pixels")
        return self.size


@dataclass(frozen=True)
class ModeCount:
    """How modes are counted [Karras et al. 2018, appendix D]."""

    samples: int = 25_600
    """Images of one count."""
    repeats: int = 10
