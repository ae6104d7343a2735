"""The recipes of docs/cluster.md as they stand there, run here: what starts processes is a stand-in."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from celebahq.jobs.scratch import work_folder

TOY = Path(__file__).with_name("toy_job.py")
PAGE = (Path(__file__).parents[3] / "docs" / "cluster.md").read_text()
DASK = Path(sys.executable).with_name("dask")
pytestmark = pytest.mark.slow


def recipe(title, language):
    """The first block of code of that language under a title."""
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    return re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)[1]


@pytest.fixture
def place(tmp_path):
    """Programs of the recipes' names, a port that is free, and an end to all that is started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = Place(tmp_path, port)
    yield place
    place.end()
    place.log.close()


class Place:
    def __init__(self, folder, port):
        self.folder, self.port, self.programs = folder, port, folder / "bin"
        self.programs.mkdir()
        self.out, self.calls = folder / "toy.h5", folder / "calls"
        self.started: list[subprocess.Popen] = []
        self.log = (folder / "log").open("w")
        # `celebahq build` is the toy job; all else is handed to it as it was given.
        build = f'shift; exec {sys.executable} {TOY} run {self.out} --calls {self.calls} --delay 0.1 "$@"'
        self.program("celebahq", build)
        self.program("hostname", "echo 127.0.0.1")
        self.program("dask", f'echo $$ >> {folder}/pids; exec {DASK} "$@"')

    def program(self, name, text):
        path = self.programs / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def here(self, text):
        """A recipe with this machine's names: folders, hosts, port."""
        text = text.replace("--photos /data/photos --out /data/faces.h5", "").replace(
            "/tmp/dask", str(self.folder)
        )
        # Not the variable of that name.
        text = re.sub(r"(?<!\$)\b(first|faces-scheduler)([:/])8786", r"127.0.0.1\g<2>8786", text)
        return text.replace("8786", str(self.port))

    def start(self, command, **environment):
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={
                **os.environ,
                "PATH": f"{self.programs}:{os.environ['PATH']}",
                "PYTHONPATH": os.pathsep.join(
                    [str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")]
                ),
                **environment,
            },
            stdout=self.log,  # what stays in the background would hold a pipe open
            stderr=self.log,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def end(self):
        groups = {process.pid for process in self.started}
        file = self.folder / "pids"
        groups |= set(map(int, file.read_text().split())) if file.exists() else set()
        for pid in groups:
            for kill in (os.killpg, os.kill):
                try:
                    kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        for process in self.started:
            process.wait()

    def finish(self, process):
        """Wait for a command to end well."""
        code = process.wait(300)
        assert code == 0, (self.folder / "log").read_text()

    def wait_for_scheduler(self):
        end = time.monotonic() + 300
        with socket.socket() as client:
            while client.connect_ex(("127.0.0.1", self.port)):
                assert time.monotonic() < end, (self.folder / "log").read_text()
                time.sleep(0.5)

    def wait_for_items(self, count):
        """Wait until so many items were begun."""
        end = time.monotonic() + 300
        while not self.calls.exists() or len(self.calls.read_text().split()) < count:
            assert time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.1)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The bytes of an undisturbed run here."""
    out = tmp_path_factory.mktemp("here") / "toy.h5"
    subprocess.run([sys.executable, TOY, "run", out, "--workers", "0"], check=True, capture_output=True)
    return out.read_bytes()


def test_plain_ssh(place, expected):
    place.program("ssh", 'shift; exec sh -c "$*"')
    script = place.here(recipe("Plain ssh", "sh")).replace("--nworkers 16", "--nworkers 1")
    process = place.start(["bash", "-c", script])
    place.finish(process)
    assert place.out.read_bytes() == expected


def test_slurm_ends_and_queues_again_before_its_time_is_over(place, expected):
    place.program("srun", '[ "$1" = --overlap ] && shift; "$@" & "$@" & wait')
    place.program("scontrol", f'echo "$@" >> {place.folder}/requeued')
    script = place.folder / "faces.sbatch"
    script.write_text(place.here(recipe("SLURM", "sh")))
    assert script.read_text().startswith("#!/bin/bash\n#SBATCH ")

    first = place.start(["bash", str(script)], SLURM_JOB_ID="71")
    place.wait_for_items(5)
    os.kill(first.pid, signal.SIGTERM)  # `--signal=B:TERM`: the script alone
    first.wait(60)
    assert (place.folder / "requeued").read_text() == "requeue 71\n"
    assert not place.out.exists()
    assert work_folder(place.out).exists()
    place.end()
    (place.folder / "pids").unlink()

    again = place.start(["bash", str(script)], SLURM_JOB_ID="71")
    place.finish(again)
    assert place.out.read_bytes() == expected
    # Two workers had an item each in hand, as a rule, when they were ended.
    assert len(place.calls.read_text().split()) <= 60 + 2 * 2


def test_slurm_by_dask_jobqueue(place, expected):
    pytest.importorskip("dask_jobqueue", reason="pip install dask-jobqueue")
    # The script is removed when `sbatch` is done, and that is when nobody holds its output.
    submit = 'script=$(mktemp); cp "${@: -1}" $script; bash $script > /dev/null 2>&1 &'
    place.program("sbatch", f'cd {place.folder}; export TMPDIR=$PWD; {submit} echo "Submitted batch job $!"')
    place.program("scancel", 'kill "$@"')
    program = place.folder / "program.py"
    text = place.here(recipe("SLURM", "python"))
    text = text.replace('"--photos", "/data/photos", "--out", "/data/faces.h5"', "")
    program.write_text(text.replace("maximum_jobs=160", "maximum_jobs=2"))
    process = place.start([sys.executable, str(program)])
    place.finish(process)
    assert place.out.read_bytes() == expected


def test_kubernetes(place, expected):
    yaml = pytest.importorskip("yaml")
    objects = list(yaml.safe_load_all(place.here(recipe("Kubernetes", "yaml"))))
    assert [each["kind"] for each in objects] == ["Service", "Deployment", "Deployment", "Job"]
    service, scheduler, worker, job = objects
    assert service["metadata"]["name"] == "faces-scheduler"  # the name that workers and the job look up
    for each in (scheduler, worker):
        assert each["spec"]["selector"]["matchLabels"] == each["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == scheduler["spec"]["template"]["metadata"]["labels"]
    for each in (scheduler, worker, worker, job):
        (container,) = each["spec"]["template"]["spec"]["containers"]
        command = [
            word for word in container["command"] if not word.startswith(("/data", "--photos", "--out"))
        ]
        if each is job:  # Kubernetes would start it again and again until the scheduler is there
            place.wait_for_scheduler()
        environment = {variable["name"]: variable["value"] for variable in container.get("env", [])}
        process = place.start(command, **environment)
    place.finish(process)
    assert place.out.read_bytes() == expected


def test_every_recipe_is_run():
    languages = re.findall(r"```(\w+)\n", PAGE)
    assert languages == ["sh", "sh", "python", "yaml"], json.dumps(languages)
