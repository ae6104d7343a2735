"""The count of kernels and traffic: `tools/count_step.py`."""

import pytest
import torch
from count_step import KernelCounter, distinct_bytes


def test_each_operation_reads_its_inputs_and_writes_its_result_once():
    a, b = torch.ones(8, 16), torch.ones(16)
    with KernelCounter() as counter:
        (a * b).t().view(16, 8)  # views cost nothing
    assert dict(counter.kernels) == {"mul": 1}
    assert counter.traffic["mul"] == 4 * (128 + 16 + 128)


def test_lists_of_tensors_are_one_kernel_in_place_too():
    values = [torch.ones(4), torch.ones(6)]
    with KernelCounter() as counter:
        torch._foreach_mul_(values, 2.0)
        torch._foreach_copy_([torch.empty(4), torch.empty(6)], values)
    assert dict(counter.kernels) == {"_foreach_mul_": 1, "_foreach_copy_": 1}
    assert counter.traffic["_foreach_copy_"] == pytest.approx(80)


def test_repeated_numbers_count_once():
    assert distinct_bytes(torch.ones(3, 1).expand(3, 100)) == 12
