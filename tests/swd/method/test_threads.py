import threading
import time

import pytest
import torch

from swd.method.threads import HeldSetting, in_threads


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


def test_a_fresh_thread_rounds_like_the_others():
    """Where products by two threads are rounded otherwise, as on processors with AVX2 alone."""
    torch.set_num_threads(2)
    rows, directions = torch.rand(2560, 147), torch.rand(147, 48)
    (alone,) = in_threads(lambda _: rows @ directions, [0], 1)
    for product in in_threads(lambda _: rows @ directions, range(20), 4):
        torch.testing.assert_close(product, alone, rtol=0, atol=0)


def test_one_worker_is_the_callers_thread():
    assert list(in_threads(lambda _: threading.get_ident(), [0], 1)) == [threading.get_ident()]


def test_overlapping_users_leave_the_setting_as_it_was():
    torch.set_num_threads(4)
    left = []

    def use(wait_sec, work_sec):
        time.sleep(wait_sec)
        list(in_threads(lambda _: time.sleep(work_sec), [0], 2))
        left.append(torch.get_num_threads())

    users = [threading.Thread(target=use, args=times) for times in ((0, 0.2), (0.1, 0.3))]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert [*left, torch.get_num_threads()] == [4, 4, 4]


def test_a_setting_is_held_until_its_last_user_goes():
    values = ["free"]
    setting = HeldSetting(lambda: values[-1], values.append, "held")
    first, second = setting.held(), setting.held()
    with first:
        second.__enter__()
        assert values[-1] == "held"
    assert values[-1] == "held"
    second.__exit__(None, None, None)
    assert values[-1] == "free"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_gradients_are_on_or_off_as_in_the_callers_thread(workers, mode):
    with mode():
        here = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        there = in_threads(
            lambda _: (torch.is_grad_enabled(), torch.is_inference_mode_enabled()), [0, 1], workers
        )
        assert list(there) == [here, here]
