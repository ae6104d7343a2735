"""The faces in one photo, for those who call it from Python."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from celebahq.align.faces import Face, FaceFinder


def find_faces(photo: NDArray[np.uint8]) -> list[Face]:
    """Find the faces in a photo, the one with the widest eyes first.

    The detector is loaded at the first call.

    Args:
        photo: `(H, W, 3)` uint8 RGB, upright, as `load_photo` gives it.

    Raises:
        ToolError: The detector's model is not installed.
        ValueError: The photo is not such an array.

    >>> import celebahq, skimage
    >>> [face] = celebahq.find_faces(skimage.data.astronaut())
    >>> face.landmarks.shape
    (5, 2)
    """
    return _finder().find(photo)


@lru_cache(maxsize=1)
def _finder() -> FaceFinder:
    return FaceFinder()
