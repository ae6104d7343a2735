"""Functions in the helper process: what they return, what they raise, and what becomes of those that crash.

The functions below are found by the helper through this module's name, which is on its path.
"""

import multiprocessing
import os
import sys
import tempfile
import threading

import numpy as np
import pytest

from celebahq.errors import FormatError, ToolError
from celebahq.readers import isolation
from celebahq.readers.isolation import run_apart

FUNCTIONS = """
import ctypes, os, time
import numpy as np
from celebahq.errors import FormatError, ToolError
from celebahq.readers.isolation import scratch

def echo(name, *args):
    return [name, *args]

def process(name):
    return os.getpid()

def values(name):
    array = scratch((2, 3), "i4")
    array[...] = np.arange(6).reshape(2, 3)
    eye = np.eye(2)[:, ::-1]
    return {"a": array, "b": b"bytes", "c": [1, None, "text", 0.5], "array": eye, "e": np.zeros(0)}

def large(name, size):
    return np.arange(size, dtype=np.uint8)

def read(file, name):
    return os.pread(file, 100, 0)

def fail(name, kind):
    raise {"format": FormatError, "tool": ToolError, "fault": ZeroDivisionError}[kind](name, "no good")

def crash(name):
    ctypes.string_at(8)

def crash_after_others(name, pid):
    if os.getpid() == pid:
        ctypes.string_at(8)
    return "good"

def take_memory(name):
    return np.ones(1 << 33, np.uint8).sum().item()

def loop(name):
    while True:
        pass
"""


@pytest.fixture(scope="module")
def functions(tmp_path_factory):
    """A module that both processes can import."""
    folder = tmp_path_factory.mktemp("functions")
    (folder / "apart_functions.py").write_text(FUNCTIONS)
    isolation._end_helper()  # the next one gets the path
    sys.path.insert(0, str(folder))
    import apart_functions

    yield apart_functions
    sys.path.remove(str(folder))
    isolation._end_helper()


def test_values_come_back_as_they_were(functions):
    assert run_apart(functions.echo, 1, "zwei", [3.5], name="a") == ["a", 1, "zwei", [3.5]]
    found = run_apart(functions.values, name="a")
    np.testing.assert_array_equal(found["a"], np.arange(6, dtype=np.int32).reshape(2, 3), strict=True)
    np.testing.assert_array_equal(found["array"], [[0, 1], [1, 0]])
    assert (found["b"], found["c"], found["e"].size) == (b"bytes", [1, None, "text", 0.5], 0)


def test_large_and_small_answers_in_turn(functions):
    for size in (10, isolation.KEPT_TRAY_BYTES + 5, 7, 1 << 20, 0):
        np.testing.assert_array_equal(
            run_apart(functions.large, size, name="a"), np.arange(size, dtype=np.uint8)
        )


def test_answers_are_copies(functions):
    first = run_apart(functions.large, 5, name="a")
    run_apart(functions.values, name="a")
    assert first.tolist() == [0, 1, 2, 3, 4]


def test_a_file_is_passed_by_its_descriptor(functions):
    with tempfile.TemporaryFile() as file:  # it has no name by which it could be opened
        file.write(b"content")
        file.flush()
        assert run_apart(functions.read, name="a", file=file.fileno()) == b"content"


@pytest.mark.parametrize(("kind", "error"), [("format", FormatError), ("tool", ToolError)])
def test_errors_for_people_pass(functions, kind, error):
    with pytest.raises(error, match=r"^a: no good$"):
        run_apart(functions.fail, kind, name="a")


def test_our_own_faults_keep_their_traceback(functions):
    with pytest.raises(RuntimeError, match=r"ZeroDivisionError: \('a', 'no good'\)"):
        run_apart(functions.fail, "fault", name="a")


def test_a_crash_is_one_line_that_names_the_file(functions):
    for _ in range(2):
        with pytest.raises(FormatError, match=r"^a\.h5: damaged: the library .* crashed on it \(SIGSEGV\)$"):
            run_apart(functions.crash, name="a.h5")
    assert run_apart(functions.echo, name="b") == ["b"]


def test_a_helper_hurt_by_another_file_is_not_this_files_fault(functions):
    pid = run_apart(functions.process, name="a")
    assert run_apart(functions.crash_after_others, pid, name="b") == "good"


def test_memory_is_limited(functions):
    with pytest.raises(ToolError, match=r"^a: reading it takes more memory .*\(at most 4 GiB are taken\)$"):
        run_apart(functions.take_memory, name="a")


def test_time_is_limited(functions):
    with pytest.raises(FormatError, match=r"^a: damaged: reading it took longer than 1 s$"):
        run_apart(functions.loop, name="a", seconds=1)
    assert run_apart(functions.echo, name="b") == ["b"]


def test_the_helper_can_be_ended(functions):
    pid = run_apart(functions.process, name="a")
    isolation._end_helper()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def ask(queue):
    import apart_functions

    queue.put(run_apart(apart_functions.process, name="a"))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_its_own(functions):
    pid = run_apart(functions.process, name="a")
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=ask, args=(queue,))
    child.start()
    assert queue.get() not in (pid, child.pid)
    child.join()
    assert run_apart(functions.process, name="a") == pid


def test_threads_take_turns(functions):
    results = []
    threads = [
        threading.Thread(target=lambda i=i: results.append(run_apart(functions.echo, i, name="a")))
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [["a", i] for i in range(8)]


def test_objects_in_an_answer_are_refused():
    with pytest.raises(FormatError, match="answered with no numbers"):
        isolation._unpacked({"array": [0, "|O", [1]]}, memoryview(bytes(8)))
