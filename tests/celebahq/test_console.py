"""What every command shares: how failures are told, progress, device names."""

import logging

import click
import pytest
from click.testing import CliRunner

from celebahq import console
from celebahq.arguments import NEW_PNG, NEW_SAFETENSORS
from celebahq.console import (
    Progress,
    ToolGroup,
    emit_json,
    exit_if_skipped,
    format_duration,
    resolve_device,
    status,
    warn,
)
from celebahq.errors import ToolError
from celebahq.terminal import on_terminal


def run(body, *arguments):
    """A command that does `body`, as a person runs it."""

    @click.group(cls=ToolGroup)
    def main():
        pass

    @main.command()
    @click.option("--file", type=NEW_SAFETENSORS)
    @click.option("--png", type=NEW_PNG)
    def work(**options):
        body()

    return CliRunner().invoke(main, ["work", *arguments])


def raising(err):
    def body():
        raise err

    return body


@pytest.mark.parametrize(
    ("err", "line"),
    [
        (ToolError("a.h5: too small"), "Error: a.h5: too small"),
        (FileNotFoundError(2, "No such file or directory", "a.h5"), "Error: a.h5: No such file or directory"),
        (OSError(28, "No space left on device"), "Error: No space left on device"),
        (OSError("unable to read"), "Error: unable to read"),
        (MemoryError(), "Error: out of memory; ask for less at a time, or of fewer workers"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
            "Error: out of memory; ask for less at a time, or of fewer workers",
        ),
        (ToolError("a\nb.h5: too small"), r"Error: a\nb.h5: too small"),
    ],
)
def test_an_expected_failure_is_one_line_and_status_1(err, line):
    result = run(raising(err))
    assert result.exit_code == 1
    assert result.stderr == line + "\n"
    assert result.stdout == ""


@pytest.mark.parametrize("err", [ZeroDivisionError(), RuntimeError("expected a tensor")])
def test_a_fault_of_ours_keeps_its_traceback(err):
    assert run(raising(err)).exception is err


def test_ctrl_c_is_status_130():
    result = run(raising(KeyboardInterrupt()))
    assert result.exit_code == 130
    assert result.stderr.startswith("interrupted; nothing is half-written")


def test_quiet_leaves_warnings_errors_and_the_result():
    def body():
        status("working")
        warn("skipped a.jpg")
        with Progress("write", 3) as progress:
            progress.advance(3)
        emit_json({})
        raise ToolError("a.h5", "too small")

    loud, quiet = run(body), run(body, "-q")
    assert loud.stderr.splitlines()[0] == "working"
    assert quiet.stderr == "skipped a.jpg\nError: a.h5: too small\n"
    assert quiet.stdout == loud.stdout == "{}\n"


def test_verbose_says_where_an_error_comes_from_and_what_is_not_said_else():
    def body():
        with on_terminal("celebahq"):
            logging.getLogger("celebahq.jobs").debug("skipped a.jpg")
            logging.getLogger("celebahq.jobs").info("begun")
        raise ToolError("a.h5", "too small")

    assert run(body).stderr == "begun\nError: a.h5: too small\n"
    loud = run(body, "--verbose").stderr.splitlines()
    assert loud[:3] == ["skipped a.jpg", "begun", "Traceback (most recent call last):"]
    assert loud[-1] == "Error: a.h5: too small"


def test_skipped_items_are_status_3_and_stdout_is_the_result():
    def body():
        status("working")
        emit_json({"a": 1})
        exit_if_skipped(2)

    result = run(body)
    assert result.exit_code == 3
    assert result.stdout == '{\n  "a": 1\n}\n'
    assert result.stderr == "working\n"
    assert run(lambda: exit_if_skipped(0)).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--file", ""], "the name is empty"),
        (["--png", ""], "the name is empty"),
        (["--file", "."], "is a directory"),
        (["--png", "a.jpg"], "'a.jpg' does not end in .png"),
    ],
)
def test_names_that_cannot_be_are_wrong_usage(arguments, complaint):
    result = run(lambda: None, *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_a_pngs_ending_may_be_in_capitals():
    assert run(lambda: None, "--png", "A.PNG").exit_code == 0


def test_progress_counts_what_this_run_did(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with Progress("write", 1000, done=400) as progress:
        now[0] += 5
        progress.advance(50)  # too soon for a line
        now[0] += 5
        progress.advance(50, skipped=3)
        now[0] += 10
        progress.advance(500)
    assert capsys.readouterr().err.splitlines() == [
        "write: 500/1,000 images, 10 images/s, ETA 50s, 3 skipped",
        "write: 1,000/1,000 images, 30 images/s, 3 skipped",
    ]


@pytest.mark.parametrize(
    ("done", "count", "seconds", "line"),
    [
        (5, 0, 9, "write: 5/5 images"),  # all of it was there when it began
        (0, 5, 0.001, "write: 5/5 images"),  # nothing had to be done
        (0, 5, 2, "write: 5/5 images, 2.5 images/s"),
    ],
)
def test_no_rate_is_said_where_none_was_measured(monkeypatch, capsys, done, count, seconds, line):
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with Progress("write", 5, done=done) as progress:
        now[0] += seconds
        if count:
            progress.advance(count)
    assert capsys.readouterr().err == line + "\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (59.6, "1m 00s"), (185, "3m 05s"), (7620, "2h 07m"), (356_400, "4d 03h")],
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


def test_devices(capsys):
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type in ("cpu", "cuda")
    assert capsys.readouterr().err.startswith("device: ")
    for other in (
        "warp",
        "meta",
        "mps",
        "cuda:first",
    ):  # PyTorch knows some of them; nothing here is made for it
        with pytest.raises(ToolError, match=f"--device {other}: not a device; use auto, cpu"):
            resolve_device(other)
    with pytest.raises(ToolError, match=r"--device cuda:99: PyTorch finds \d+ CUDA devices"):
        resolve_device("cuda:99")


def test_a_stage_named_after_a_path_with_brackets_has_a_bar(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Progress("fakes[/x]", 2) as progress:
        progress.advance(2)
    assert "fakes[/x]" in capsys.readouterr().err
