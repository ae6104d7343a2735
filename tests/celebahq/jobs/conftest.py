"""Jobs in this process, on tasks that tests define."""

import pytest

from celebahq.jobs.engine import InProcess
from celebahq.jobs.job import image_job
from celebahq.jobs.merge import write_pyramid
from celebahq.jobs.options import JobOptions
from celebahq.jobs.scratch import scratch_for


@pytest.fixture
def run_job():
    """Do a task's items in this process and write the file; gives the job's report."""

    def run(task, out, keep=None, engine=None, resolution=32, **options):
        with scratch_for(out) as scratch:
            job = image_job(task, scratch, resolution, keep=keep, options=JobOptions(**options))
            job.run(engine or InProcess())
            return write_pyramid(job, out, resolution=resolution, engine=engine)

    return run


@pytest.fixture
def no_waits(monkeypatch):
    """What may pass is tried again at once."""
    monkeypatch.setattr("celebahq.jobs.job.RETRY_WAITS_SEC", (0.0, 0.0))
