import subprocess
import sys

import check_processors
import pytest


@pytest.mark.parametrize("name", check_processors.settings())
def test_the_libraries_listen_to_every_setting(name: str):
    variables = check_processors.settings()[name]
    result = subprocess.run(
        [sys.executable, "-c", check_processors.FOUND],
        env=check_processors.environment_of(variables),
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{variables['OMP_NUM_THREADS']} threads" in result.stdout
    if "ATEN_CPU_CAPABILITY" in variables:
        assert f"torch {variables['ATEN_CPU_CAPABILITY'].upper()} " in result.stdout
    assert not result.stderr  # OpenCV names there what it does not know


def test_the_numeric_tests_exist():
    for name in check_processors.NUMERIC:
        path, _, test = name.partition("::")
        assert (check_processors.ROOT / path).exists(), path
        assert not test or f"def {test}(" in (check_processors.ROOT / path).read_text(), test


def test_the_outcome_is_what_pytest_says(capfd: pytest.CaptureFixture[str]):
    outcome = check_processors.run({"OMP_NUM_THREADS": "1"}, ["-k", "a_tie_is_rounded_to_even", "-n", "0"])
    assert outcome.status == 0
    assert outcome.counts.startswith("1 passed, ")
    assert "torch" in capfd.readouterr().out
