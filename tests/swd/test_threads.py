import threading
import time

import pytest
import torch

from swd.threads import in_threads


def test_results_come_in_order():
    def late(number):
        time.sleep(0.02 * (number % 3 == 0))
        return number

    assert list(in_threads(late, range(20), 4)) == list(range(20))


def test_only_a_few_items_wait():
    started = []

    def work(number):
        started.append(number)
        return number

    for number in in_threads(work, range(50), 3):
        time.sleep(0.001)
        assert len(started) <= number + 2 * 3 + 2


def test_an_error_is_raised_where_its_result_is_due():
    results = in_threads(lambda number: 1 / number, [2, 1, 0, 3], 2)
    assert [next(results), next(results)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_torch_uses_one_thread_meanwhile():
    before = torch.get_num_threads()
    inside = list(in_threads(lambda _: (torch.get_num_threads(), threading.get_ident()), [0], 2))
    assert inside[0][0] == 1
    assert inside[0][1] != threading.get_ident()
    assert torch.get_num_threads() == before


def test_one_worker_is_the_callers_thread():
    assert list(in_threads(lambda _: threading.get_ident(), [0], 1)) == [threading.get_ident()]
