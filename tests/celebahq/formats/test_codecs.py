import builtins
import zlib

import numpy as np
import pytest

from celebahq.errors import MissingExtraError
from celebahq.formats.codecs import CODECS, codec_name, compress, dataset_options, inflate

SMOOTH = np.arange(64 * 64, dtype=np.uint8).reshape(1, 1, 64, 64) // 4


def test_gzip_is_a_zlib_stream():
    assert zlib.decompress(compress(SMOOTH, "gzip")) == SMOOTH.tobytes()


@pytest.mark.parametrize("codec", CODECS)
def test_what_does_not_shrink_is_kept_raw(codec, rng):
    noise = rng.integers(0, 256, (1, 1, 64, 64), dtype=np.uint8)
    assert compress(noise, codec) == noise.tobytes()


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != "none"])
def test_what_shrinks_is_compressed(codec):
    assert len(compress(SMOOTH, codec)) < SMOOTH.nbytes / 2


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != "lzf"])
def test_equal_pixels_give_equal_bytes(codec, rng):
    blob = compress(SMOOTH, codec)
    compress(rng.integers(0, 9, (1, 3, 128, 128), dtype=np.uint8), codec)  # leaves other things in memory
    assert compress(SMOOTH, codec) == blob


def test_damaged_data_are_refused():
    blob = bytearray(compress(SMOOTH, "gzip"))
    with pytest.raises(ValueError, match="damaged"):
        inflate(bytes(blob), SMOOTH.nbytes - 1)
    with pytest.raises(ValueError, match="hold 4,096 bytes, not 4,097"):
        inflate(bytes(blob), SMOOTH.nbytes + 1)
    blob[-1] ^= 1  # of the Adler-32
    with pytest.raises(ValueError, match="damaged"):
        inflate(bytes(blob), SMOOTH.nbytes)


def test_an_unknown_codec_is_named():
    with pytest.raises(ValueError, match=r"'zip'.*gzip, none"):
        dataset_options("zip")


@pytest.mark.parametrize("codec", ["blosc2", "bitshuffle"])
def test_without_the_extra_the_remedy_is_said(codec, monkeypatch):
    real_import = builtins.__import__

    def without_plugins(name, *args, **kwargs):
        if name == "hdf5plugin":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_plugins)
    with pytest.raises(MissingExtraError, match=rf"{codec}.*hdf5plugin.*celebahq-toolkit\[codecs\]"):
        dataset_options(codec)


def test_filters_have_names():
    assert codec_name([]) == "none"
    assert codec_name([1]) == "gzip"
    assert codec_name([2, 12345]) == "filter-2+filter-12345"
