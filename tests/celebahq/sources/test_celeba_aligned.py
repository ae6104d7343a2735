import numpy as np
import pytest
from PIL import Image

from celebahq.errors import ToolError
from celebahq.sources.celeba_aligned import AlignedCelebA
from celebahq.sources.data_set import ImportOptions

PARTIAL = ImportOptions(partial=True)


def test_the_crop_is_centred_on_89_121(tmp_path):
    y, x = np.mgrid[0:218, 0:178]
    photo = np.stack([y, x, y * 0], axis=2).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "000001.png")
    image = AlignedCelebA(tmp_path, PARTIAL).read(0).image
    assert image.shape == (3, 128, 128)
    assert image[:2, 64, 64].tolist() == [121, 89]
    assert image[:2, 0, 0].tolist() == [57, 25]


def test_jpeg_folders_and_the_original_names(tmp_path):
    folder = tmp_path / "img_align_celeba"
    folder.mkdir()
    for name in ("000002.jpg", "000001.jpg", "thumbs.db"):
        Image.new("RGB", (178, 218)).save(folder / name, "jpeg")
    images = AlignedCelebA(tmp_path, PARTIAL)
    assert [images.image_name(i) for i in range(len(images))] == ["000001.jpg", "000002.jpg"]


def test_another_size_is_skipped_with_the_reason(tmp_path):
    Image.new("RGB", (180, 218)).save(tmp_path / "000001.png")
    with pytest.raises(ToolError, match=r"000001\.png: 180x218 pixels, not 178x218"):
        AlignedCelebA(tmp_path, PARTIAL).read(0)


def test_the_published_count_is_expected(tmp_path):
    Image.new("RGB", (178, 218)).save(tmp_path / "000001.png")
    with pytest.raises(ToolError, match="1 images, but the published set has 202,599"):
        AlignedCelebA(tmp_path, ImportOptions())
