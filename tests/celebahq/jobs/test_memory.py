"""Workers are planned with the memory that is there."""

import pytest

from celebahq.jobs import memory
from celebahq.jobs.engine import choose_engine


def machine(root, available_kb, limit=None, used=0):
    """The files in which Linux tells."""
    (root / "proc").mkdir()
    (root / "proc" / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:  {available_kb} kB\n")
    if limit is not None:
        (root / "sys" / "fs" / "cgroup").mkdir(parents=True)
        (root / "sys" / "fs" / "cgroup" / "memory.max").write_text(f"{limit}\n")
        (root / "sys" / "fs" / "cgroup" / "memory.current").write_text(f"{used}\n")
    return root


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, 8000 * 1024), ("max", 8000 * 1024), (5_000_000, 4_000_000)]
)
def test_the_least_of_machine_and_container_counts(tmp_path, limit, expected):
    assert memory.available_memory(machine(tmp_path, 8000, limit, 1_000_000)) == expected


def test_without_such_files_half_of_the_memory_is_taken_to_be_free(tmp_path):
    assert memory.available_memory(tmp_path) > 10**8


@pytest.mark.parametrize(("available", "workers"), [(10**12, 16), (4_000_000_000, 4), (1, 1)])
def test_there_are_no_more_workers_than_memory_for_them(monkeypatch, available, workers):
    monkeypatch.setattr(memory, "processors", lambda: 16)
    monkeypatch.setattr(memory, "available_memory", lambda: available)
    assert choose_engine(None, None, 10**9).facts()["workers"] == workers
    assert choose_engine(12, None, 10**9).facts()["workers"] == 12  # as told


def test_where_workers_wait_there_are_more_than_processors(monkeypatch):
    monkeypatch.setattr(memory, "processors", lambda: 16)
    monkeypatch.setattr(memory, "available_memory", lambda: 20 * 10**9)
    assert choose_engine(None, None, 10**8, per_processor=2).facts()["workers"] == 32
    assert choose_engine(None, None, 10**9, per_processor=2).facts()["workers"] == 20
    assert choose_engine(5, None, 10**8, per_processor=2).facts()["workers"] == 5
