import json
from unittest.mock import Mock, patch

import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import save_file

from celebahq.errors import FormatError, ToolError
from celebahq.files import atomic_path
from swd.cli import main
from swd.comparison import make_cache
from swd.pipeline.cache import _metadata_crc32, load_cache
from swd.pipeline.resources import Resources

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cache(reals, tmp_path_factory):
    path = tmp_path_factory.mktemp("cache") / "reals.swd.safetensors"
    make_cache(reals.h5, path, images=6, resources=Resources(CPU))
    return path


def test_levels_are_normalised_descriptors(cache):
    with safe_open(cache, "pt") as file:
        assert {"level16", "level32"} <= set(file.keys())
        rows = file.get_tensor("level32")
    assert rows.shape == (6 * 128, 147)
    channels = rows.view(-1, 3, 49)
    torch.testing.assert_close(channels.mean((0, 2)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(channels.std((0, 2)), torch.ones(3), atol=1e-4, rtol=0)


def test_what_was_written_is_read(cache, reals):
    loaded = load_cache(cache, CPU)
    assert loaded.name == str(reals.h5)
    assert (loaded.protocol.images, loaded.protocol.resolution) == (6, 32)
    assert loaded.disjoint.images == 6
    assert list(loaded.fresh_patches.levels) == [32, 16]
    assert loaded.levels.load(1).shape == (6 * 128, 147)


def test_a_damaged_cache_is_named(cache, tmp_path):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(cache.read_bytes()[:-100])
    with pytest.raises(FormatError, match=r"cut\.safetensors: not a readable safetensors file"):
        load_cache(path, CPU)


def test_other_safetensors_files_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(FormatError, match="not made by `swd cache`"):
        load_cache(path, CPU)


def signed(metadata):
    """With the checksum that a writer of these would have given."""
    return metadata | {"crc32": _metadata_crc32(metadata)}


def test_later_versions_and_wrong_levels_are_refused(cache, tmp_path):
    with safe_open(cache, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    path = tmp_path / "x.safetensors"
    save_file(tensors, path, metadata | {"format_version": "99"})
    with pytest.raises(FormatError, match="later version"):
        load_cache(path, CPU)
    protocol = json.loads(metadata["protocol"]) | {"images": 7}
    save_file(tensors, path, signed(metadata | {"protocol": json.dumps(protocol)}))
    with pytest.raises(FormatError, match="levels are not those"):
        load_cache(path, CPU)


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": "one"},
        {"protocol": "{"},
        {"protocol": '{"unknown": 1}'},
        {"protocol": "[]"},
        {"fresh_patches": "{}"},
        {"disjoint": "[1]"},
    ],
)
def test_damaged_metadata_are_described(cache, tmp_path, change):
    with safe_open(cache, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        save_file(tensors, tmp_path / "x.safetensors", signed(file.metadata() | change))
        save_file(tensors, tmp_path / "y.safetensors", file.metadata() | change)
    with pytest.raises(FormatError, match=r"x\.safetensors: its metadata are damaged"):
        load_cache(tmp_path / "x.safetensors", CPU)
    with pytest.raises(FormatError, match=r"y\.safetensors: its metadata (have changed|are damaged)"):
        load_cache(tmp_path / "y.safetensors", CPU)


def test_a_changed_distance_among_the_metadata_is_found(cache, tmp_path):
    with safe_open(cache, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    other = metadata["fresh_patches"].replace('"value": ', '"value": 1', 1)
    assert other != metadata["fresh_patches"]
    save_file(tensors, tmp_path / "x.safetensors", metadata | {"fresh_patches": other})
    with pytest.raises(FormatError, match=r"x\.safetensors: its metadata have changed"):
        load_cache(tmp_path / "x.safetensors", CPU)


def test_a_missing_cache_is_named(tmp_path):
    with pytest.raises(ToolError, match="no such file"):
        load_cache(tmp_path / "x.safetensors", CPU)


def changed(path, target, offset, data=b"\x7e" * 4):
    """A copy with other bytes at an offset behind the header."""
    contents = bytearray(path.read_bytes())
    begin = 8 + int.from_bytes(contents[:8], "little") + offset
    contents[begin : begin + len(data)] = data
    target.write_bytes(contents)
    return target


@pytest.mark.parametrize("level", [0, 1])
def test_changed_descriptors_are_found_when_their_level_is_loaded(cache, tmp_path, level):
    offset = level * 6 * 128 * 147 * 4 + 5000
    loaded = load_cache(changed(cache, tmp_path / "flip.safetensors", offset), CPU)
    loaded.levels.load(1 - level)
    with pytest.raises(FormatError, match=rf"flip\.safetensors: the bytes of level{32 >> level} have"):
        loaded.levels.load(level)


def test_changed_facts_beside_them_are_found_at_once(cache, tmp_path):
    end = len(cache.read_bytes()) - 8 - int.from_bytes(cache.read_bytes()[:8], "little")
    path = changed(cache, tmp_path / "flip.safetensors", end - 200)
    with pytest.raises(FormatError, match=r"flip\.safetensors: the bytes of .* have changed"):
        load_cache(path, CPU)


def test_a_changed_cache_is_one_line_and_status_1(cache, fakes, tmp_path):
    path = changed(cache, tmp_path / "flip.safetensors", 5000)
    failed = CliRunner().invoke(main, ["compare", str(path), str(fakes.folder), "--device", "cpu"])
    assert failed.exit_code == 1
    assert failed.stderr.splitlines()[-1].startswith(f"Error: {path}: the bytes of level32")


def test_a_second_writer_of_one_cache_is_refused(reals, tmp_path):
    path = tmp_path / "reals.safetensors"
    read = Mock(side_effect=AssertionError("images were read before the refusal"))
    with (
        atomic_path(path),
        patch("swd.pipeline.reference.extract", read),
        pytest.raises(ToolError, match=r"reals\.safetensors: another process is writing it"),
    ):
        make_cache(reals.h5, path, images=6, resources=Resources(CPU))
    make_cache(reals.h5, path, images=6, overwrite=True, resources=Resources(CPU))
    assert [entry.name for entry in tmp_path.iterdir()] == ["reals.safetensors"]
