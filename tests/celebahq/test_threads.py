import threading
import time

import pytest

from celebahq.threads import ordered_map


def test_results_keep_the_order():
    def slow_first(item):
        time.sleep(0.02 if item % 3 == 0 else 0)
        return item * 2

    assert list(ordered_map(slow_first, range(20))) == list(range(0, 40, 2))


@pytest.mark.parametrize("threads", [None, 2])
def test_results_do_not_pile_up(monkeypatch, threads):
    monkeypatch.setattr("celebahq.threads.processors", lambda: 2 if threads is None else 9)
    started = []
    results = ordered_map(started.append, range(1000), threads)
    next(results)
    time.sleep(0.05)
    assert len(started) <= 5
    results.close()


def test_an_error_is_raised_in_its_place():
    def fail_at_five(item):
        if item == 5:
            raise ValueError("five")
        return item

    results = ordered_map(fail_at_five, range(10))
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="five"):
        next(results)


def test_other_threads_do_the_work():
    assert threading.get_ident() not in set(ordered_map(lambda _: threading.get_ident(), range(4)))
