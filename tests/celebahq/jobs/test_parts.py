"""A data set of several files: the same images and bytes, whoever wrote them, through whatever kills."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from celebahq.errors import ToolError
from celebahq.jobs.parts import plan_parts
from celebahq.jobs.scratch import work_folder
from celebahq.jobs.task import Finished, Skipped, Task
from celebahq.pyramid import PyramidReader, encode_image
from celebahq.pyramid_tools.comparison import compare_pyramids
from celebahq.pyramid_tools.verification import verify_pyramid

TOY = Path(__file__).with_name("toy_job.py")
SIZE = 50_000 / 1e9  # of a toy's files: a dozen of its images


def run(out, *options):
    command = [sys.executable, str(TOY), "run", str(out), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """By options: the one file, and the bytes of the several."""
    folder = tmp_path_factory.mktemp("undisturbed")
    made = {}
    for name, options in {"all": (), "keep": ("--keep", 20)}.items():
        one, many = folder / f"{name}.h5", folder / name
        for out, more in ((one, ()), (many, ("--shard-size", SIZE))):
            result = run(out, "--workers", 0, *options, *more)
            assert result.returncode == 0, result.stderr
        made[name] = one, many
    return made


@pytest.mark.parametrize("name", ["all", "keep"])
def test_it_holds_what_the_one_file_holds(undisturbed, name):
    one, many = undisturbed[name]
    comparison = compare_pyramids(one, many)
    assert comparison.same_data
    assert not comparison.meta_differs
    assert comparison.provenance_equal
    assert verify_pyramid(many) == []
    parts = PyramidReader(many).files.manifest.parts
    assert len(parts) > 1
    assert all(part.bytes < 3 * 50_000 for part in parts)  # a small file is half structure


@pytest.mark.parametrize("options", [(), ("--keep", 20)], ids=["all", "keep"])
def test_killed_while_the_files_are_written_it_makes_the_same_bytes(tmp_path, undisturbed, options):
    out, calls = tmp_path / "toy", tmp_path / "calls"
    common = ("--shard-size", SIZE, "--workers", 0, "--calls", calls, *options)
    for images in (0, 5, 15):
        killed = run(out, *common, "--die-in-merge", images)
        assert killed.returncode == -9
        assert not out.exists()
    stored = sum(path.stat().st_size for path in work_folder(out).glob("shard-*"))
    expected = contents(undisturbed["keep" if options else "all"][1])
    assert stored < sum(map(len, expected.values()))  # what is in a file is in no log any more
    result = run(out, *common, "--die-in-finish")
    assert result.returncode == -9
    result = run(out, *common)
    assert result.returncode == 0, result.stderr
    assert contents(out) == expected
    assert len(calls.read_text().split()) == 60  # no item was done twice
    assert not work_folder(out).exists()


@pytest.mark.slow
def test_worker_processes_write_them_as_well(tmp_path, undisturbed):
    out = tmp_path / "toy"
    result = run(out, "--shard-size", SIZE, "--workers", 3, "--keep", 20)
    assert result.returncode == 0, result.stderr
    assert contents(out) == contents(undisturbed["keep"][1])


class Coloured(Task):
    """Images of one colour; some fail while the disk is away."""

    name = "coloured"

    def __init__(self, away=False):
        self.away = away

    def __len__(self):
        return 40

    def fingerprint(self):
        return {}

    def process(self, index):
        if self.away and index % 4 == 0:
            return Skipped("away")
        return Finished(
            encode_image(np.full((3, 32, 32), index, np.uint8)), self.known(index), score=index / 3
        )


def test_a_folder_that_is_there_is_completed_and_replaced(run_job, tmp_path):
    from celebahq.jobs.again import Again
    from celebahq.jobs.engine import InProcess
    from celebahq.jobs.job import image_job
    from celebahq.jobs.merge import write_pyramid
    from celebahq.jobs.options import JobOptions
    from celebahq.jobs.scratch import scratch_for

    out = tmp_path / "many"
    run_job(Coloured(away=True), out, shard_size=1e-6)
    assert len(PyramidReader(out)) == 30
    options = JobOptions(shard_size=1e-6, retry_skipped=True)
    with scratch_for(out, completing=True) as scratch:
        job = image_job(Again(Coloured(), out, "gzip", {}), scratch, 32, options=options)
        job.run(InProcess())
        write_pyramid(job, out, resolution=32)
    run_job(Coloured(), tmp_path / "afresh", shard_size=1e-6)
    assert contents(out) == contents(tmp_path / "afresh")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["afresh", "many"]


def test_a_damaged_log_is_named_and_nothing_is_published(run_job, tmp_path, monkeypatch):
    out = tmp_path / "many"

    def damaging(job, *arguments):
        log = sorted(job.scratch.folder.glob("shard-*.log"))[3]
        log.write_bytes(log.read_bytes()[:-1])
        return write_parts(job, *arguments)

    from celebahq.jobs.parts import write_parts

    monkeypatch.setattr("celebahq.jobs.merge.write_parts", damaging)
    with pytest.raises(ToolError, match=r"part-00003\.h5 cannot be: .*shard-00003\.log: damaged"):
        run_job(Coloured(), out, shard_size=1e-6)
    assert not out.exists()
    monkeypatch.undo()
    sorted(work_folder(out).glob("shard-*.log"))[3].unlink()
    run_job(Coloured(), out, shard_size=1e-6)
    run_job(Coloured(), tmp_path / "afresh", shard_size=1e-6)
    assert contents(out) == contents(tmp_path / "afresh")


def test_items_are_not_exchanged_while_the_files_are_written(run_job, tmp_path, monkeypatch):
    """Logs without images are of no use to another list of items."""
    out = tmp_path / "many"

    class Listed(Coloured):
        may_move = True
        listing = ("names",)

        def __init__(self, names):
            super().__init__()
            self.names = names

        def __len__(self):
            return len(self.names)

        def fingerprint(self):
            return {"names": self.names}

        def key(self, index):
            return self.names[index]

    names = [f"{i}.jpg" for i in range(40)]
    with monkeypatch.context() as patch:
        patch.setattr("celebahq.jobs.parts.write_manifest", lambda manifest: shutil.rmtree("/nowhere"))
        with pytest.raises(FileNotFoundError):
            run_job(Listed(names), out, shard_size=1e-6)
    with pytest.raises(ToolError, match="begun with other parameters"):
        run_job(Listed(names[1:]), out, shard_size=1e-6)
    run_job(Listed(names), out, shard_size=1e-6)
    assert len(PyramidReader(out)) == 40


def test_a_file_that_vanished_before_the_last_step_is_not_published(run_job, tmp_path, monkeypatch):
    out = tmp_path / "many"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("celebahq.jobs.parts.write_manifest", interrupted)
        run_job(Coloured(), out, shard_size=1e-6)
    (work_folder(out) / "parts" / "part-00002.h5").unlink()
    with pytest.raises(ToolError, match=r"part-00002\.h5 is gone .*; remove many\.work and begin anew"):
        run_job(Coloured(), out, shard_size=1e-6)
    assert not out.exists()


def interrupted(manifest):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("shards", "most", "ends"),
    [
        ([5, 5, 5, 5], 10, [2, 4]),
        ([5, 5, 5, 5], 9, [1, 2, 3, 4]),
        ([20, 1, 20], 10, [1, 2, 3]),
        ([0, 0, 4, 0, 8, 0], 10, [4, 6]),
        ([1], 10, [1]),
    ],
)
def test_files_are_runs_of_shards(shards, most, ends):
    assert plan_parts(shards, most) == ends
