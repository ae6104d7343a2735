"""The damage campaign: every format is read, and every kind of fault is recognised."""

import ctypes
import time
from dataclasses import replace

import fuzz
import numpy as np
import pytest
from click.testing import CliRunner
from fuzz_formats import FORMATS

from celebahq.errors import ToolError

NPY = FORMATS["npy"]


def outcomes(read, cases=3, **changes):
    """What the campaign says of a reader; it reads the undamaged file first."""
    calls = []

    def read_after_the_first(path):
        calls.append(path)
        return "whole" if len(calls) == 1 else read(path)

    return fuzz.fuzz(replace(NPY, read=read_after_the_first, **changes), cases, 0, None)


def test_some_cases_of_every_format_show_no_fault():
    result = CliRunner().invoke(fuzz.main, ["--cases", str(4 * len(FORMATS))])
    assert result.exit_code == 0, result.output
    *_, total = result.stdout.splitlines()
    counts = total.split()
    assert counts[:2] == ["all", str(4 * len(FORMATS))]
    assert sum(map(int, counts[2:5])) == 4 * len(FORMATS)


def refuse(path):
    raise ToolError(path, "damaged")


def divide(path):
    return str(1 / 0)


def crash(path):
    return ctypes.string_at(8).decode()


def take_memory(path):
    return str(np.ones(8 << 30, np.uint8).sum())


def wait(path):
    time.sleep(60)
    return ""


@pytest.mark.parametrize(
    ("read", "outcome"),
    [
        (refuse, "refused"),
        (divide, "traceback"),
        (crash, "crash"),
        (take_memory, "memory"),
        (wait, "hang"),
        (lambda _: "whole", "same"),
        (lambda _: "other", "silently other"),
    ],
)
def test_outcomes_are_told_apart(read, outcome, monkeypatch):
    monkeypatch.setattr(fuzz, "SECONDS", 3)
    assert outcomes(read, checked=True) == {outcome: 3}


def test_other_values_are_right_where_nothing_can_tell():
    assert outcomes(lambda _: "other", checked=False) == {"other values": 3}


def test_a_seed_gives_the_same_files():
    template = fuzz.Template(FORMATS["mnist"])
    files = [template.damaged(number, 5) for number in range(20)]
    assert files == [template.damaged(number, 5) for number in range(20)]
    assert files != [template.damaged(number, 6) for number in range(20)]
    assert {repaired for _, repaired in files} == {True, False}
