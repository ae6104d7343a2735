"""Builds that are continued: after a kill, and with other photos."""

import shutil
import subprocess
import sys

from building import NO_NETWORKS, build
from click.testing import CliRunner

from celebahq.cli import main
from celebahq.pyramid import PyramidReader


def test_workers_and_resuming_do_not_show_in_the_bytes(celeba, built_from_celeba, tmp_path):
    out = tmp_path / "celeba.h5"
    options = ["--labels", "attributes", "--labels", "identities", "--resolution", 256, *NO_NETWORKS]
    code = (
        "import os, sys; from celebahq.pyramid import PyramidWriter\n"
        "PyramidWriter.append_encoded = lambda *args, **kwargs: os.kill(os.getpid(), 9)\n"
        "from celebahq.cli import main; main(sys.argv[1:])"
    )
    arguments = ["build", "--celeba-dir", str(celeba), "--out", str(out), *map(str, options)]
    killed = subprocess.run([sys.executable, "-c", code, *arguments, "--workers", "2"], capture_output=True)
    assert killed.returncode == -9
    result = build(*arguments[1:])
    assert result.returncode == 3, result.stderr
    assert "build: 3 of 3 were done before" in result.stderr
    assert out.read_bytes() == built_from_celeba[0].read_bytes()


def test_photos_without_a_face_bind_the_next_build_to_nothing(photos, tmp_path):
    (tmp_path / "photos").mkdir()
    shutil.copy(photos / "sky.png", tmp_path / "photos")
    shutil.copy(photos / "b.png", tmp_path / "photos")
    (tmp_path / "photos" / "gone.jpg").symlink_to("nowhere.jpg")
    arguments = [
        "--photos",
        tmp_path / "photos",
        "--out",
        tmp_path / "x.h5",
        "--resolution",
        256,
        *NO_NETWORKS,
    ]
    result = build(*arguments, "--workers", 1, "--min-eye-distance", 500)
    assert result.returncode == 1
    said = result.stderr.splitlines()[-1]
    assert said.startswith(f"Error: {tmp_path / 'photos'}: no face to use in 3 photos: ")
    for reason in ("No such file or directory", "no face found", "too small (--min-eye-distance)"):
        assert reason in said
    assert not (tmp_path / "x.h5.work").exists()
    result = build(*arguments, "--workers", 1)
    assert result.returncode == 3, result.stderr
    assert "skipped gone.jpg: No such file or directory" in result.stderr


def test_a_grown_folder_does_the_new_photos_and_ends_in_the_bytes_of_a_build_from_scratch(photos, tmp_path):
    folder, out = tmp_path / "photos", tmp_path / "faces.h5"
    folder.mkdir()
    shutil.copy(photos / "a.jpg", folder / "m.jpg")
    arguments = ["--photos", folder, "--resolution", 64, "--workers", 1, *NO_NETWORKS]
    code = (
        "import os, sys; from celebahq.pyramid import PyramidWriter\n"
        "PyramidWriter.append_encoded = lambda *args, **kwargs: os.kill(os.getpid(), 9)\n"
        "from celebahq.cli import main; main(sys.argv[1:])"
    )
    begun = subprocess.run(
        [sys.executable, "-c", code, "build", "--out", str(out), *map(str, arguments)], capture_output=True
    )
    assert begun.returncode == -9
    shutil.copy(photos / "b.png", folder / "b.png")  # it comes before the one that is done
    grown = build("--out", out, *arguments)
    assert grown.returncode == 0, grown.stderr
    for stage in ("find faces", "build"):
        assert f"{stage}: there are other items than before; what was done is used" in grown.stderr
        assert f"{stage}: 1 of 2 were done before; going on" in grown.stderr
    anew = build("--out", tmp_path / "anew.h5", *arguments)
    assert anew.returncode == 0, anew.stderr
    assert out.read_bytes() == (tmp_path / "anew.h5").read_bytes()
    assert PyramidReader(out).meta("source_name").tolist() == ["b.png", "m.jpg"]


def test_a_finished_build_grows_by_what_is_new_in_its_folder(photos, tmp_path):
    folder, out = tmp_path / "photos", tmp_path / "faces.h5"
    folder.mkdir()
    shutil.copy(photos / "a.jpg", folder / "m.jpg")
    shutil.copy(photos / "sky.png", folder / "sky.png")

    def run(out, *more):
        arguments = ["--photos", folder, "--resolution", 64, "--workers", 1, *NO_NETWORKS, *more]
        return CliRunner().invoke(main, ["build", "--out", str(out), *map(str, arguments)])

    assert run(out).exit_code == 0
    again = run(out)
    assert again.exit_code == 1
    assert "faces.h5: exists already, and nothing was added since it was made" in again.stderr
    other = run(out, "--min-eye-distance", 20)
    assert "made with other parameters (min_eye_distance was 32.0, now 20.0)" in other.stderr

    shutil.copy(photos / "b.png", folder / "b.png")
    (folder / "m.jpg").rename(folder / "z.jpg")
    grown = run(out)
    assert grown.exit_code == 0, grown.stderr
    assert "find faces: 2 of 3 were done before; going on" in grown.stderr
    assert "build: 1 of 2 were done before; going on" in grown.stderr
    assert run(tmp_path / "anew.h5").exit_code == 0
    assert out.read_bytes() == (tmp_path / "anew.h5").read_bytes()
    assert PyramidReader(out).meta("source_name").tolist() == ["b.png", "z.jpg"]
    assert sorted(path.name for path in tmp_path.glob("faces*")) == ["faces.h5", "faces.h5.records"]

    def beside():
        files = [path for path in tmp_path.glob("*") if path.is_file()]
        return {path.name: path.read_bytes() for path in files}

    finished = beside()
    assert "build-report.html" in finished
    (folder / "z.jpg").unlink()
    shutil.copy(photos / "smaller.jpg", folder / "c.jpg")
    less = run(out)
    other = run(out, "--min-eye-distance", 20)
    assert less.exit_code == other.exit_code == 1
    assert "1 of its images are of photos that are not in" in less.stderr
    assert "(z.jpg, ...)" in less.stderr
    assert "made with other parameters" in other.stderr
    assert beside() == finished
    assert not (tmp_path / "faces.h5.work").exists()
    assert "faces.h5: finished" in CliRunner().invoke(main, ["status", str(out)]).stdout


def test_what_cannot_be_tried_again_is_refused_and_the_report_stays(photos, tmp_path):
    folder, out = tmp_path / "photos", tmp_path / "faces.h5"
    folder.mkdir()
    shutil.copy(photos / "a.jpg", folder / "a.jpg")
    shutil.copy(photos / "b.png", folder / "b.png")
    options = ["--resolution", 64, "--workers", 1, *NO_NETWORKS]
    arguments = ["build", "--photos", str(folder), "--out", str(out), *map(str, options)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    shutil.rmtree(tmp_path / "faces.h5.records")
    made = {name: (tmp_path / name).read_bytes() for name in ("faces.h5", "build-report.html")}

    def refused(*more: str) -> list[str]:
        again = CliRunner().invoke(main, [*arguments, "--retry-skipped", *more])
        assert again.exit_code == 1
        assert {name: (tmp_path / name).read_bytes() for name in made} == made
        assert not (tmp_path / "faces.h5.work").exists()
        return again.stderr.splitlines()

    assert refused()[-1] == f"Error: {out}: nothing was left out: there is nothing to try again"
    *before, said = refused("--resolution", "128")
    assert "made with other parameters" in said
    assert not any("find faces" in line for line in before)
    (folder / "b.png").unlink()
    *before, said = refused()
    assert "1 of its images are of photos that are not in" in said
    assert not any("find faces" in line for line in before)


def test_a_finished_build_of_several_files_is_left_alone(photos, tmp_path):
    folder, out = tmp_path / "photos", tmp_path / "faces"
    folder.mkdir()
    shutil.copy(photos / "a.jpg", folder / "a.jpg")
    options = ["--resolution", 64, "--workers", 1, "--shard-size", 1, *NO_NETWORKS]
    arguments = ["build", "--photos", str(folder), "--out", str(out), *map(str, options)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    finished = {path.name: path.read_bytes() for path in out.iterdir()}
    assert len(PyramidReader(out)) == 1

    shutil.copy(photos / "b.png", folder / "b.png")
    for more in ([], ["--dry-run"]):
        again = CliRunner().invoke(main, [*arguments, *more])
        assert again.exit_code == 1
        assert again.stderr.splitlines()[-1].startswith(f"Error: {out}: exists already; choose another name")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == finished
    assert not list(tmp_path.glob("faces.*records"))
    assert not list(tmp_path.glob("faces.work*"))
