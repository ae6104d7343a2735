"""Many images as one picture."""

import numpy as np
from numpy.typing import NDArray


def image_grid(images: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Lay images out in rows, from the top left; what is left of the last row is black.

    Args:
        images: `[N, C, H, W]` uint8.
        columns: Images in a row.

    Returns:
        `(rows * H, columns * W, C)` uint8.
    """
    from skimage.util import montage

    rows = -(-len(images) // columns)
    grid: NDArray[np.uint8] = montage(
        images, fill=[0] * images.shape[1], grid_shape=(rows, columns), channel_axis=1
    )
    return grid
