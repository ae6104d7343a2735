"""`celebahq import` as a person runs it, and that nothing is lost on the way there and back."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from celebahq.cli import main
from celebahq.importing import ImportTask, import_dataset
from celebahq.jobs.engine import InProcess
from celebahq.options import ImportOptions, ImportRequest, JobOptions
from celebahq.pyramid import PyramidReader, PyramidWriter
from celebahq.pyramid_tools.comparison import compare_pyramids
from celebahq.pyramid_tools.exporting import export_images
from celebahq.sources.catalogue import SOURCES


@pytest.fixture
def in_process(monkeypatch):
    """No worker processes: their start takes longer than these imports."""
    monkeypatch.setattr("celebahq.importing.choose_engine", lambda workers, cluster: InProcess())


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("labels", [None, np.eye(5)[np.arange(20) % 5], np.linspace(0, 1, 60).reshape(20, 3)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", ["folder", "zip", "tfrecord"])
def test_out_and_in_again_is_the_same_data(in_process, rng, tmp_path, labels, channels, form):
    original = tmp_path / "original.h5"
    with PyramidWriter(original, 16, channels) as writer:
        writer.append(rng.integers(0, 256, (20, channels, 16, 16), dtype=np.uint8), labels)
    export_images(PyramidReader(original), tmp_path / "exported", form)
    import_dataset(ImportRequest(form, tmp_path / "exported", tmp_path / "again.h5"))
    assert compare_pyramids(original, tmp_path / "again.h5").same_data


def test_folder_to_file_to_zip_to_file_is_equal(in_process, shared, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in sorted((shared / "data" / "ffhq256" / "real").iterdir())[:6]:
        (photos / path.name).write_bytes(path.read_bytes())
    import_dataset(ImportRequest("folder", photos, tmp_path / "a.h5"))
    export_images(PyramidReader(tmp_path / "a.h5"), tmp_path / "a.zip", "zip")
    import_dataset(ImportRequest("zip", tmp_path / "a.zip", tmp_path / "b.h5", job=JobOptions(codec="none")))
    assert compare_pyramids(tmp_path / "a.h5", tmp_path / "b.h5").same_data


def test_an_hdf5_file_keeps_its_facts(in_process, rng, tmp_path):
    with PyramidWriter(tmp_path / "a.h5", 16, provenance={"by": "hand"}) as writer:
        images = rng.integers(0, 256, (4, 3, 16, 16), dtype=np.uint8)
        writer.append(images, np.eye(4), {"source_name": list("wxyz"), "landmarks": np.ones((4, 5, 2))})
    import_dataset(ImportRequest("hdf5", tmp_path / "a.h5", tmp_path / "b.h5", job=JobOptions(codec="none")))
    comparison = compare_pyramids(tmp_path / "a.h5", tmp_path / "b.h5")
    assert comparison.same_data
    assert comparison.meta_differs == ["orig_idx"]  # new
    assert PyramidReader(tmp_path / "b.h5").provenance["data"]["provenance"] == {"by": "hand"}


def test_the_file_says_where_it_comes_from(in_process, writers, tmp_path):
    layout = writers["cifar10"](tmp_path / "cifar")
    report = import_dataset(
        ImportRequest("cifar10", tmp_path / "cifar", tmp_path / "a.h5", layout.options, 7)
    )
    reader = PyramidReader(tmp_path / "a.h5")
    assert len(reader) == 7
    assert reader.provenance["source"] == "cifar10"
    assert reader.provenance["options"] == {"partial": True, "split": "train"}
    assert len(reader.provenance["data"]["sha256"]) == 5
    assert str(tmp_path) not in json.dumps(reader.provenance)
    assert reader.meta("orig_idx").tolist() == list(range(7))
    assert len(set(reader.meta("source_name"))) == 7
    assert report.counts == {
        "images_in_the_source": 10,
        "tried": 7,
        "skipped_for_an_error": 0,
        "written": 7,
    }
    assert (tmp_path / "build-report.html").is_file()


def test_bad_images_are_counted_and_listed(in_process, writers, tmp_path):
    writers["folder"](tmp_path / "pictures")
    (tmp_path / "pictures" / "cat" / "2.png").write_bytes(b"")
    result = run("import", "folder", tmp_path / "pictures", "-o", tmp_path / "a.h5", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["counts"]["skipped_for_an_error"] == 1
    assert "skipped cat/2.png: an empty file" in result.stderr
    assert PyramidReader(tmp_path / "a.h5").meta("orig_idx").tolist() == [0, 1, 3, 4, 5]
    (skip,) = json.loads((tmp_path / "build-report.json").read_text())["skipped"]
    assert skip["name"] == "cat/2.png"


def test_the_library_is_silent_and_tells_whoever_asks(in_process, writers, tmp_path, capsys, caplog):
    from celebahq import ImportRequest, import_dataset

    writers["folder"](tmp_path / "pictures")
    steps = []
    with caplog.at_level("INFO", logger="celebahq"):
        request = ImportRequest("folder", tmp_path / "pictures", tmp_path / "a.h5")
        report = import_dataset(request, steps.append)
    assert len(PyramidReader(report.out)) == 6
    assert [step[:4] for step in steps] == [
        (stage, done, 6, 0) for stage in ("import", "write") for done in range(7)
    ]
    assert "6 images 16x16 RGB" in caplog.text
    assert capsys.readouterr() == ("", "")


def test_a_finished_import_is_completed_when_the_trouble_is_over(in_process, writers, tmp_path, monkeypatch):
    writers["folder"](tmp_path / "pictures")
    monkeypatch.setattr("celebahq.jobs.job.RETRY_WAITS_SEC", (0.0, 0.0))
    out, done = tmp_path / "a.h5", []
    command = ("import", "folder", tmp_path / "pictures", "--folder-labels", "-o", out)
    process = ImportTask.process

    def short_of_memory(task, index):
        done.append(index)
        if index == 2:
            raise MemoryError
        return process(task, index)

    with monkeypatch.context() as patched:
        patched.setattr(ImportTask, "process", short_of_memory)
        result = run(*command)
        assert result.exit_code == 3
        assert "skipped cat/2.png: out of memory" in result.stderr
        before = out.read_bytes()
        assert run(*command, "--retry-skipped").exit_code == 3  # it is not over: nothing changes
        assert out.read_bytes() == before
    assert done == [0, 1, 2, 3, 4, 5, 2, 2, 2] + [2] * 4  # the other five come from the file
    assert run(*command).exit_code == 1  # exists already
    assert run(*command, "--retry-skipped").exit_code == 0
    request = ImportRequest(
        "folder", tmp_path / "pictures", tmp_path / "new.h5", ImportOptions(folder_labels=True)
    )
    import_dataset(request)
    assert compare_pyramids(out, tmp_path / "new.h5").same_data
    assert out.read_bytes() == (tmp_path / "new.h5").read_bytes()
    result = run(*command, "--retry-skipped")
    assert "nothing was left out: there is nothing to try again" in result.stderr
    result = run(*command, "--retry-skipped", "--max-images", 5)
    assert "made with other parameters: --retry-skipped needs the same command" in result.stderr
    assert {path.name for path in tmp_path.iterdir() if "report" not in path.name} == {
        "pictures",
        "a.h5",
        "new.h5",
    }


@pytest.mark.slow
def test_worker_processes_give_the_same_bytes(writers, tmp_path):
    writers["zip"](tmp_path / "a.zip")
    for workers in (1, 2):
        out = tmp_path / f"{workers}.h5"
        result = run("import", "zip", tmp_path / "a.zip", "-o", out, "--workers", workers)
        assert result.exit_code == 0, result.stderr
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "2.h5").read_bytes()


def test_a_stopped_import_goes_on(in_process, writers, tmp_path, monkeypatch):
    layout = writers["mnist"](tmp_path / "digits")
    request = ImportRequest("mnist", tmp_path / "digits", tmp_path / "a.h5", layout.options)
    import_dataset(request)
    whole = (tmp_path / "a.h5").read_bytes()

    process = ImportTask.process

    def stop_at_seven(task, index):
        if index == 7:
            raise KeyboardInterrupt
        return process(task, index)

    request = ImportRequest("mnist", tmp_path / "digits", tmp_path / "b.h5", layout.options)
    monkeypatch.setattr(ImportTask, "process", stop_at_seven)
    with pytest.raises(KeyboardInterrupt):
        import_dataset(request)
    assert not (tmp_path / "b.h5").exists()
    monkeypatch.setattr(ImportTask, "process", process)
    import_dataset(request)
    assert (tmp_path / "b.h5").read_bytes() == whole


def test_help_says_what_each_source_expects():
    result = run("import", "--help")
    text = " ".join(result.stdout.split())
    for source in SOURCES.values():
        assert f" {source.name} SRC: {source.expects}. From: {source.origin}." in text


def test_help_imports_nothing_heavy():
    script = (
        "import sys; from celebahq.cli import main; main(['import', '--help'], standalone_mode=False);"
        "print(sorted({'torch', 'numpy', 'cv2', 'h5py', 'scipy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "NAME nothing: there are folder, celeba"),
        (["folder", "--split", "test"], "--split has no meaning with folder"),
        (["mnist", "--resolution", "64"], "--resolution has no meaning with mnist"),
    ],
)
def test_wrong_usage(tmp_path, arguments, message):
    name, *options = arguments
    result = run("import", name, tmp_path, "-o", tmp_path / "a.h5", *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_dry_run_writes_nothing(writers, tmp_path):
    writers["zip"](tmp_path / "a.zip")
    result = run("import", "zip", tmp_path / "a.zip", "-o", tmp_path / "a.h5", "--dry-run", "--max-images", 4)
    configuration = json.loads(result.stdout)
    assert (configuration["images"], configuration["resolution"], configuration["channels"]) == (4, 16, 1)
    assert configuration["cluster"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_dry_run_asks_the_cluster(writers, tmp_path):
    writers["zip"](tmp_path / "a.zip")
    nobody = ["--cluster", "tcp://127.0.0.1:9"]
    result = run("import", "zip", tmp_path / "a.zip", "-o", tmp_path / "a.h5", "--dry-run", *nobody)
    assert result.exit_code == 1
    assert "--cluster tcp://127.0.0.1:9: no scheduler answers there" in result.stderr


def test_an_existing_output_is_kept(in_process, writers, tmp_path):
    layout = writers["mnist"](tmp_path / "digits")
    (tmp_path / "a.h5").write_bytes(b"mine")
    result = run(
        "import", "mnist", tmp_path / "digits", "-o", tmp_path / "a.h5", "--split", "test", "--partial"
    )
    assert result.exit_code == 1
    assert layout.options == ImportOptions(split="test", partial=True)
    assert "exists already" in result.stderr
    assert (tmp_path / "a.h5").read_bytes() == b"mine"


def test_names_that_cannot_be_listed_cost_their_own_picture_only(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture = Image.new("RGB", (32, 32), "red")
    for name in (b"a.png", b"line\nbreak.png", b"caf\xe9.png"):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            picture.save(file, "PNG")
    out = tmp_path / "x.h5"
    result = CliRunner().invoke(main, ["import", "folder", str(folder), "-o", str(out), "--workers", "1"])
    assert result.exit_code == 3, result.stderr
    assert PyramidReader(out).meta("source_name").tolist() == ["a.png"]
    skipped = {
        skip["name"]: skip["reason"]
        for skip in json.loads((tmp_path / "build-report.json").read_text())["skipped"]
    }
    assert skipped.keys() == {"line\\nbreak.png", "caf\\xe9.png"}
    assert set(skipped.values()) == {"its name is not printable text in UTF-8; rename it"}


def test_pictures_of_any_size_are_resized_when_that_is_asked_for(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(small).save(folder / "a.png")
    Image.fromarray(small).resize((100, 100)).save(folder / "b.png")
    wide = np.pad(small, ((0, 0), (10, 10), (0, 0)))
    Image.fromarray(wide).save(folder / "c.png")
    arguments = ["import", "folder", str(folder), "--resize", "32", "--workers", "1"]
    result = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "x.h5")])
    assert result.exit_code == 3
    assert "skipped c.png: 52x32 pixels are no square; --center-crop takes the middle" in result.stderr
    result = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "y.h5"), "--center-crop"])
    assert result.exit_code == 0, result.stderr
    images = PyramidReader(tmp_path / "y.h5").read([0, 1, 2])
    for index in (0, 2):
        np.testing.assert_array_equal(images[index], small.transpose(2, 0, 1))
    expected = Image.fromarray(small).resize((100, 100)).resize((32, 32), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(images[1], np.asarray(expected).transpose(2, 0, 1))
    result = CliRunner().invoke(main, ["import", "folder", str(folder), "-o", "z.h5", "--center-crop"])
    assert result.exit_code == 2
    assert "--center-crop needs --resize" in result.stderr
