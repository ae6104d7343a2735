"""The examples in docstrings work as they stand, and every public function has one."""

import doctest
import inspect
from importlib import import_module

import pytest

PACKAGES = ("celebahq", "swd", "trainer")
SHOWN_ELSEWHERE = {
    "celebahq.build_dataset": "docs/python.md",
    "celebahq.import_dataset": "docs/python.md",
    "celebahq.reconstruct_dataset": "needs the published delta files",
    "celebahq.legacy_align": "needs an in-the-wild photo of CelebA",
    "trainer.load_legacy_pickle": "needs a published pickle",
    "trainer.load_snapshot": "docs/python.md",
}
PUBLIC = {f"{package}.{name}": package for package in PACKAGES for name in import_module(package).__all__}


def find(name):
    package, member = name.split(".")
    return getattr(import_module(package), member)


@pytest.mark.parametrize("name", PUBLIC)
def test_the_examples_of_public_names_work(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS | doctest.REPORT_NDIFF)
    subject = find(name)
    tests = [test for test in doctest.DocTestFinder().find(subject, name, globs={}) if test.examples]
    if inspect.isfunction(subject):
        assert tests or name in SHOWN_ELSEWHERE, f"{name} needs an example"
    failures: list[str] = []
    for test in tests:
        runner.run(test, out=failures.append)
    assert not failures, "".join(failures)
