import logging
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import swd
from celebahq.errors import FormatError, ToolError
from swd import compare
from swd.inputs import open_set


class Items(Dataset):
    """Images one by one, with a label, as data sets give them."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], index % 3


class Stream(IterableDataset):
    def __init__(self, images):
        self.images = images

    def __iter__(self):
        return iter(self.images)


FORMS = {
    "path": lambda forms: forms.h5,
    "string": lambda forms: str(forms.folder),
    "ImageSet": lambda forms: open_set(forms.zip),
    "array, planes first": lambda forms: forms.images,
    "array, planes last": lambda forms: forms.images.transpose(0, 2, 3, 1),
    "tensor": lambda forms: torch.from_numpy(forms.images),
    "data set": lambda forms: Items(forms.images),
    "data set of tensors": lambda forms: TensorDataset(torch.from_numpy(forms.images)),
    "iterable data set": lambda forms: Stream(forms.images),
    "loader": lambda forms: DataLoader(Items(forms.images), batch_size=7),
}


@pytest.fixture(scope="module")
def expected(reals, fakes):
    return compare(reals.folder, fakes.folder, device="cpu").rows


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_set_gives_the_same_figures(reals, fakes, expected, form):
    found = compare(FORMS[form](reals), FORMS[form](fakes), device="cpu").rows
    assert [(row.distance, row.corrected) for row in found] == [
        (row.distance, row.corrected) for row in expected
    ]


def test_one_set_several_and_named_ones(reals, fakes):
    several = compare(reals.images, [fakes.images, torch.from_numpy(reals.images[:20])], device="cpu")
    assert [row.name for row in several.fakes] == ["fake 1", "fake 2"]
    assert several.real == "real"
    named = compare(reals.images, {"early": fakes.images, "late": fakes.h5}, device="cpu")
    assert [row.name for row in named.fakes] == ["early", "late"]
    assert named.baseline == "early"


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((4, 3, 32, 32), np.float32),
        np.zeros((4, 5, 32, 32), np.uint8),
        np.zeros((32, 32), np.uint8),
        torch.zeros(4, 3, 32, 32),
        Items(np.zeros((4, 2, 32, 32), np.uint8)),
    ],
)
def test_other_arrays_are_refused_with_what_was_found(reals, images):
    with pytest.raises(FormatError, match=r"expected uint8 0\.\.255 of shape"):
        compare(reals.images, images, device="cpu")


@pytest.mark.parametrize("images", [3, object(), None])
def test_what_is_no_set_is_refused(reals, images):
    with pytest.raises(ToolError, match="not a set of images"):
        compare(reals.images, images)


@pytest.mark.parametrize("images", [[], {}, np.zeros((0, 3, 32, 32), np.uint8)])
def test_no_set_and_an_empty_one_are_refused(reals, images):
    with pytest.raises(ToolError, match=r"no set of images|no image in it"):
        compare(reals.images, images)


def test_items_of_another_size_are_named(reals):
    images = [*reals.images[:5], reals.images[5][:, :16, :16]]
    with pytest.raises(FormatError, match=r"item 5 is 16x16 px"):
        compare(reals.images, Items(images), device="cpu")


def test_the_library_says_nothing_by_itself(reals, fakes, capfd, caplog):
    stages = []
    with caplog.at_level(logging.INFO, "swd"):
        compare(reals.images, fakes.images, device="auto", on_progress=stages.append)
    assert capfd.readouterr() == ("", "")
    assert "20 images of each set are used" in caplog.text
    assert ("fake", 20, 20, 0, "images") in stages
    compare(reals.images, np.repeat(fakes.images[:4], 5, axis=0), device="cpu")
    assert capfd.readouterr() == ("", "")  # not even a warning


def test_one_of_several_processes_compares_alone(reals, fakes, expected, monkeypatch):
    # As rank 0 of a training does: to wait for the others would be to wait for ever.
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "0"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    never = Mock(side_effect=AssertionError("the other processes are asked"))
    monkeypatch.setattr("torch.distributed.init_process_group", never)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda *_: 2)
    monkeypatch.setattr("torch.distributed.all_reduce", never)
    found = compare(reals.images, fakes.images, device="cpu")
    assert found.rows[0].distance == expected[0].distance


def test_threads_are_as_before_afterwards(reals, fakes):
    before = torch.get_num_threads()
    compare(reals.images, fakes.images, device="cpu", threads=before + 1)
    assert torch.get_num_threads() == before


def test_the_version_is_that_of_the_installed_package():
    assert swd.__version__[0].isdigit()
