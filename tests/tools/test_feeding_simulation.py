"""Twice as many workers as processors keep either side busy to 90 %."""

import pytest
from feeding_simulation import simulate


def test_without_spread_and_queues_the_rates_are_arithmetic(monkeypatch):
    monkeypatch.setattr("feeding_simulation.SPREAD", 0.0)
    rate, processors, gpu = simulate(1, 16, 1, 80.0, annotated=False, photos=100)
    assert rate == pytest.approx(1 / (0.236 + 1.19 / 80))
    assert processors == pytest.approx(rate * 0.236 / 16)
    assert gpu == pytest.approx(rate * 1.19 / 80)


@pytest.mark.parametrize("annotated", [False, True])
@pytest.mark.parametrize("gpus", [1, 2])
def test_one_side_is_busy_to_90_percent(annotated, gpus):
    _, processors, gpu = simulate(32, 16, gpus, 80.0, annotated=annotated)
    assert max(processors, gpu) > 0.9


def test_where_both_sides_have_as_much_to_do_both_are_busy():
    _, processors, gpu = simulate(32, 16, 1, 80.0, annotated=False)
    assert min(processors, gpu) > 0.9
