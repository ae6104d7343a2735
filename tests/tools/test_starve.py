"""Memory runs out somewhere in every reader: that is named as the cause, and no file is called damaged."""

import random
from dataclasses import replace

import pytest
import starve
from click.testing import CliRunner
from fuzz_formats import FORMATS

from celebahq.errors import FormatError

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of callbacks

NPY = FORMATS["npy"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_reader_without_memory_says_so(name):
    calls, counts = starve.starve(FORMATS[name], 4, random.Random(name))
    assert counts.total() == min(4, calls)
    assert not set(counts) & set(starve.FAULTS), counts


def blames(path):
    try:
        return str(len(path.read_bytes()))
    except MemoryError as err:
        raise FormatError(path, "damaged") from err


def gives_less(path):
    try:
        return str(len(path.read_bytes()))
    except MemoryError:
        return "0"


def breaks(path):
    try:
        return str(len(path.read_bytes()))
    except MemoryError:
        return [][0]


@pytest.mark.parametrize(
    ("read", "fault"), [(blames, "blames the file"), (gives_less, "other values"), (breaks, "traceback")]
)
def test_each_kind_of_fault_is_recognised(read, fault):
    _, counts = starve.starve(replace(NPY, read=read), 1000, random.Random(0))
    assert counts[fault]


def test_the_command_prints_a_table_and_fails_on_a_fault(monkeypatch):
    good = CliRunner().invoke(starve.main, ["--formats", "npy", "--points", "5"])
    assert good.exit_code == 0, good.output
    assert good.stdout.splitlines()[-1].split()[:2] == ["all", "0"]
    monkeypatch.setitem(FORMATS, "npy", replace(NPY, read=blames))
    assert CliRunner().invoke(starve.main, ["--formats", "npy"]).exit_code == 1
